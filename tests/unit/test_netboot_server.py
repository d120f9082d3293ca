"""What a file server of netbooted machines decides without any: whom it serves what, what it refuses, when it is full."""

import json
import lzma
import os
from pathlib import Path
from typing import Any

import pytest

from piwheels_builder.errors import BadInput
from piwheels_builder.netboot import boot_files, image_files, prepare, room
from piwheels_builder.netboot.boot_files import Link
from piwheels_builder.netboot.command_line import command_line, exports
from piwheels_builder.netboot.converge import Rack
from piwheels_builder.netboot.machines import Machine, Server, read
from piwheels_builder.netboot.roots import Image, Roots

SETTINGS = prepare.Settings(("ssh-ed25519 AAAA me",), ("10.9.0.254",), "#!/bin/sh\n")
FOUR = {
    "name": "four",
    "mac": "DC-A6-32-01-02-03",
    "address": "10.9.0.4",
    "model": "4",
    "serial": "100000001A2B3C4D",
    "image": "os",
}


def server(directory: str = "/srv/netboot", **other: str) -> Server:
    given = {"address": "10.9.0.1", "network": "10.9.0.0/24", "router": "", "directory": directory}
    return Server.from_mapping({**given, **other})


def machine(**other: str) -> Machine:
    return Machine.from_mapping({**FOUR, **other})


def test_a_machine_is_told_apart_however_it_is_written() -> None:
    (found,) = read([FOUR], server(), ["os"])
    assert (found.mac, found.serial, found.directory, found.shared) == ("dc:a6:32:01:02:03", "1a2b3c4d", "dc-a6-32-01-02-03", False)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mac": "dc:a6:32:01:02"}, "netboot_mac"),
        ({"model": "2"}, "netboot_model"),
        ({"serial": "12g"}, "netboot_serial"),
        ({"root": "both"}, "netboot_root"),
        ({"name": "a b"}, "its name"),
        ({"address": "10.9.1.4"}, "choose a free one"),
        ({"address": "10.9.0.1"}, "choose a free one"),
        ({"address": "10.9.0.254"}, "choose a free one"),
        ({"address": "10.9.0.255"}, "choose a free one"),
        ({"address": ""}, "no IPv4 address"),
        ({"image": "other"}, "netboot_image"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(wrong: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        read([{**FOUR, **wrong}], server(router="10.9.0.254"), ["os"])
    assert str(refused.value).startswith(wrong.get("name", "four"))


@pytest.mark.parametrize("same", ["mac", "address", "serial"])
def test_no_two_machines_are_one(same: str) -> None:
    other = {"name": "five", "mac": "d8:3a:dd:00:00:05", "address": "10.9.0.5", "model": "5", "serial": "5", "image": "os"}
    other |= {"serial": "00000005", same: FOUR[same]}
    with pytest.raises(BadInput, match=f"five and four have the same netboot_{same}"):
        read([FOUR, other], server(), ["os"])


@pytest.mark.parametrize("wrong", [{"network": "10.9.0.0/33"}, {"address": "10.8.0.1"}, {"router": "here"}, {"directory": "/a b"}])
def test_a_server_that_machines_could_not_reach_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="netboot_server_"):
        server(**wrong)


def test_an_own_root_is_written_and_a_shared_one_is_not() -> None:
    own = command_line(machine(), server(router="10.9.0.254"), "3", ["quiet"]).split()
    assert "nfsroot=10.9.0.1:/srv/netboot/hosts/four/root,vers=3,proto=tcp,nolock,rsize=131072,wsize=131072" in own
    assert "ip=10.9.0.4:10.9.0.1:10.9.0.254:255.255.255.0:four:eth0:off" in own
    assert "rw" in own
    assert own[-1] == "quiet"
    assert {"cgroup_enable=memory", "cgroup_memory=1", "psi=1"} <= set(own)
    shared = command_line(machine(root="shared"), server(), "4.1").split()
    assert {"ro", "init=/.piwheels/init", "piwheels.host=10.9.0.1:/srv/netboot/hosts/four"} <= set(shared)
    assert any(word.startswith("nfsroot=10.9.0.1:/srv/netboot/images/os,vers=4.1,") for word in shared)


def test_each_machine_may_mount_its_own_and_the_shared_root_only() -> None:
    other = machine(name="five", address="10.9.0.5", root="shared")
    found = {
        export.path: (export.clients, export.writable)
        for export in exports([machine(root="shared"), other, machine(name="a")], server())
    }
    assert found == {
        "/srv/netboot/images/os": (("10.9.0.4", "10.9.0.5"), False),
        "/srv/netboot/hosts/four/layer": (("10.9.0.4",), False),
        "/srv/netboot/hosts/four/state": (("10.9.0.4",), True),
        "/srv/netboot/hosts/five/layer": (("10.9.0.5",), False),
        "/srv/netboot/hosts/five/state": (("10.9.0.5",), True),
        "/srv/netboot/hosts/a/root": (("10.9.0.4",), True),
    }


def test_handles_of_an_export_outlive_a_new_machine() -> None:
    def numbers(machines: list[Machine]) -> dict[str, tuple[int, str]]:
        return {export.path: (export.number, export.uuid) for export in exports(machines, server())}

    few = numbers([machine()])
    many = numbers([machine(name=f"pi{number}", address=f"10.9.0.{number + 10}") for number in range(200)] + [machine()])
    assert few.items() <= many.items()
    assert len({number for number, _ in many.values()}) == len(many) == 201


def boot_of(place: Path, *names: str) -> None:
    for name in names:
        place.joinpath("os", name).parent.mkdir(parents=True, exist_ok=True)
        place.joinpath("os", name).write_text(name)


def test_the_same_files_are_found_under_every_prefix(tmp_path: Path) -> None:
    boot, tftp = tmp_path / "boot", tmp_path / "tftp"
    boot_of(boot, "start4.elf", "fixup4.dat", "config.txt", "cmdline.txt", "overlays/a.dtbo")
    tftp.mkdir()
    entries = boot_files.wanted([machine()], boot, {"four": "root=/dev/nfs"})
    boot_files.put(tftp, entries, boot_files.differences(tftp, entries))
    for prefix in ("dc-a6-32-01-02-03/", "1a2b3c4d/", "dc-a6-32-01-02-03/1a2b3c4d/", "dc-a6-32-01-02-03/dc-a6-32-01-02-03/"):
        assert (tftp / prefix / "start4.elf").read_text() == "start4.elf"
        assert (tftp / prefix / "overlays/a.dtbo").read_text() == "overlays/a.dtbo"
        assert (tftp / prefix / "cmdline.txt").read_text() == "root=/dev/nfs\n"
    assert boot_files.differences(tftp, entries) == []


def test_a_machine_that_left_is_served_no_more(tmp_path: Path) -> None:
    boot, tftp = tmp_path / "boot", tmp_path / "tftp"
    boot_of(boot, "bootcode.bin", "start.elf", "fixup.dat", "config.txt", "start4.elf", "fixup4.dat", "boot.scr.uimg")
    tftp.mkdir()
    three = machine(name="three", model="3B", mac="b8:27:eb:00:00:03", serial="00000003")
    board = machine(name="board", model="u-boot", mac="02:00:00:00:00:06", serial="")
    both = boot_files.wanted([three, board], boot, {"three": "a", "board": "b"})
    boot_files.put(tftp, both, boot_files.differences(tftp, both))
    assert (tftp / "bootcode.bin").read_text() == "bootcode.bin"
    assert (tftp / "02-00-00-00-00-06/bootargs.env").read_text() == "bootargs=b\n"
    left = boot_files.wanted([board], boot, {"board": "b"})
    boot_files.put(tftp, left, boot_files.differences(tftp, left))
    assert [place.name for place in tftp.iterdir()] == ["02-00-00-00-00-06"]


def test_an_image_without_a_model_s_firmware_is_refused(tmp_path: Path) -> None:
    boot_of(tmp_path, "start4.elf", "config.txt")
    with pytest.raises(BadInput, match=r"four: the image os has no fixup4\.dat"):
        boot_files.wanted([machine()], tmp_path, {"four": ""})


@pytest.mark.parametrize(
    ("free", "inodes", "was_full", "is_full"),
    [(100, 1, False, False), (99, 1, False, True), (110, 1, True, True), (125, 1, True, False), (1000, 0.01, False, True)],
)
def test_when_it_is_full(free: float, inodes: float, was_full: bool, is_full: bool) -> None:
    assert room.is_full(free, inodes, 100, was_full=was_full) is is_full


def test_every_root_is_told_and_told_again(tmp_path: Path) -> None:
    told = [tmp_path / place for place in ("images/os", "hosts/a/root", "hosts/b/state/lib")]
    for place in told:
        (place / ".piwheels").mkdir(parents=True)
    (tmp_path / "images/.os/.piwheels").mkdir(parents=True)
    assert room.watch(tmp_path, 2**62)
    assert room.watch(tmp_path, 2**62)
    assert all((place / ".piwheels" / room.FLAG).exists() for place in told)
    assert not (tmp_path / "images/.os/.piwheels" / room.FLAG).exists()
    assert not room.watch(tmp_path, 0)
    assert not any((place / ".piwheels" / room.FLAG).exists() for place in told)


def test_a_machine_cannot_lead_the_flag_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "hosts" / name / "root").mkdir(parents=True)
    (tmp_path / "hosts/a/root/.piwheels").symlink_to(elsewhere)
    (tmp_path / "hosts/b/root/.piwheels").mkdir()
    (tmp_path / "hosts/b/root/.piwheels" / room.FLAG).symlink_to(elsewhere / "made")
    (tmp_path / "hosts/c/root/.piwheels").mkdir()
    room.watch(tmp_path, 2**62)
    assert list(elsewhere.iterdir()) == []
    assert (tmp_path / "hosts/c/root/.piwheels" / room.FLAG).exists()


def tree(place: Path) -> Path:
    for name in ("usr/lib/systemd", "usr/bin", "usr/sbin", "etc/ssh", "root"):
        place.joinpath(name).mkdir(parents=True)
    place.joinpath("usr/lib/systemd/systemd").touch()
    return place


def test_a_root_forgets_its_card_and_whose_it_was(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    outside = tmp_path / "outside"
    outside.write_text("mine\n")
    root.joinpath("etc/fstab").write_text("PARTUUID=1 / ext4\n")
    root.joinpath("etc/resolv.conf").symlink_to(outside)
    root.joinpath("etc/ssh/ssh_host_rsa_key").write_text("everybody's")
    root.joinpath("var/lib/piwheels-builder/spool").mkdir(parents=True)
    prepare.prepare(root, SETTINGS)
    assert "PARTUUID" not in root.joinpath("etc/fstab").read_text()
    assert root.joinpath("etc/resolv.conf").read_text() == "nameserver 10.9.0.254\n"
    assert outside.read_text() == "mine\n"
    assert not root.joinpath("etc/ssh/ssh_host_rsa_key").exists()
    assert list(root.joinpath("var/lib/piwheels-builder").iterdir()) == []
    assert root.joinpath("etc/systemd/system/dphys-swapfile.service").readlink() == Path("/dev/null")
    assert root.joinpath("root/.ssh/authorized_keys").stat().st_mode & 0o777 == 0o600
    assert os.access(root / ".piwheels/init", os.X_OK)
    assert prepare.changing(root, SETTINGS) == []
    other = prepare.Settings(("ssh-ed25519 BBBB",), ("10.9.0.254",), "#!/bin/sh\n")
    assert prepare.changing(root, other) == ["root/.ssh/authorized_keys"]


def test_nothing_is_written_through_a_link_out_of_the_tree(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "etc/network").symlink_to(outside)
    with pytest.raises(BadInput, match="leads out of the tree"):
        prepare.prepare(root, SETTINGS)
    assert list(outside.iterdir()) == []


def test_another_tree_is_none(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    with pytest.raises(BadInput, match="no systemd"):
        prepare.prepare(tmp_path, SETTINGS)


def rack(place: Path, source: Path, *machines: Machine) -> Rack:
    its = server(str(place))
    image = Image.from_mapping("os", {"source": str(source)})
    return Rack(Roots(place, SETTINGS), (image,), machines, {one.name: command_line(one, its, "3") for one in machines})


def source(place: Path) -> Path:
    tree(place)
    for name in ("boot/firmware", "bin", "sbin"):
        place.joinpath(name).mkdir(parents=True)
    for name in ("mount", "umount", "mountpoint", "pivot_root", "chroot", "modprobe", "sh"):
        place.joinpath("bin", name).touch()
    for name in ("start4.elf", "fixup4.dat", "config.txt"):
        place.joinpath("boot/firmware", name).write_text(name)
    return place


def done(its: Rack) -> list[str]:
    found = []
    for step in its.steps():
        step.do()
        found.append(step.what)
    return found


def test_what_is_made_is_made_once(tmp_path: Path) -> None:
    its = rack(tmp_path / "all", source(tmp_path / "source"), machine(), machine(name="five", address="10.9.0.5", root="shared"))
    first = done(its)
    assert {"make the image os of " + str(tmp_path / "source"), "make a root of four", "make the layer of five"} <= set(first)
    host = tmp_path / "all/hosts"
    assert (host / "four/root/etc/hostname").read_text() == "four\n"
    assert (host / "five/layer/etc/hostname").read_text() == "five\n"
    keys = [(host / place / "etc/ssh/ssh_host_ed25519_key.pub").read_text() for place in ("four/root", "five/layer")]
    assert keys[0] != keys[1]
    assert done(its) == []


def test_what_was_interrupted_is_made_anew(tmp_path: Path) -> None:
    its = rack(tmp_path / "all", source(tmp_path / "source"), machine())
    done(its)
    for note in (tmp_path / "all/images/os.made", tmp_path / "all/hosts/four/root.made"):
        note.unlink()
    (tmp_path / "all/images/os/etc/half").touch()
    (tmp_path / "all/images/.os").mkdir()
    assert done(its) == [f"make the image os of {tmp_path / 'source'}", "make a root of four"]
    assert not (tmp_path / "all/images/os/etc/half").exists()


def test_machines_keep_the_root_that_they_run_from(tmp_path: Path) -> None:
    its = rack(tmp_path / "all", source(tmp_path / "source"), machine())
    done(its)
    (tmp_path / "all/images/os.made").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(BadInput, match="give the new one a name of its own"):
        done(its)
    with pytest.raises(BadInput, match="four has a root of the image os, not new"):
        its.roots.machine_is_due(machine(image="new"))


@pytest.mark.parametrize("given", [{"source": "os.img"}, {"source": ""}, {}])
def test_a_source_is_a_path_of_the_file_server(given: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="write the path"):
        Image.from_mapping("os", given)


def test_an_image_is_more_than_a_path() -> None:
    with pytest.raises(BadInput, match=r"write \{source: /root/os\.img, sha256"):
        Image.from_mapping("os", "/root/os.img")  # type: ignore[arg-type]


def test_an_image_is_the_one_that_was_meant(tmp_path: Path) -> None:
    image = tmp_path / "os.img"
    image.write_bytes(b"something else")
    with pytest.raises(BadInput, match="fetch it again"):
        image_files.check(image, "0" * 64)
    with pytest.raises(BadInput, match="takes a whole card"):
        image_files.partitions(image)


def test_half_an_image_is_none(tmp_path: Path) -> None:
    packed = tmp_path / "os.img.xz"
    packed.write_bytes(lzma.compress(os.urandom(2**20))[:-1000])
    with pytest.raises(BadInput, match="no whole"), image_files.unpacked(packed, tmp_path):
        pass
    assert list(tmp_path.glob(".*")) == []


def test_empty_blocks_of_an_image_take_no_room(tmp_path: Path) -> None:
    packed = tmp_path / "os.img.xz"
    packed.write_bytes(lzma.compress(b"begin" + bytes(2**23)))
    with image_files.unpacked(packed, tmp_path) as whole:
        assert whole.stat().st_size == 2**23 + 5
        assert whole.stat().st_blocks * 512 < 2**22


def test_links_are_compared_by_where_they_lead(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    assert boot_files.differences(tmp_path, {"a": Link("b")}) == []
    assert boot_files.differences(tmp_path, {"a": Link("c"), "d": "text"}) == ["a", "d"]
