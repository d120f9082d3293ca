"""What each Pi's firmware says and asks for, in its order. Sources: Raspberry Pi's documentation of its boot modes, its issues at
raspberrypi/firmware, and logs of TFTP servers; nothing here was seen on hardware."""

from dataclasses import dataclass

#: Firmware of Raspberry Pi OS from bookworm on: a 64-bit kernel and its initramfs for all of these models.
_KERNEL = ("kernel8.img", "initramfs8")


@dataclass(frozen=True)
class Ask:
    """A file that firmware asks for. One that is not ``needed`` may be missing, if the server says so."""

    name: str
    needed: bool = True


@dataclass(frozen=True)
class Model:
    """A kind of Pi.

    ``rom``: what its mask ROM asks for, without a prefix and in blocks of 512 bytes. ``probes``: files of which one must lie under
    the prefix, else it is dropped. ``files``: what follows. ``words``: what option 43 must hold. ``deaf_seconds``: how long after
    its DISCOVER it hears no answer. ``requests``: whether it ever sends a DHCPREQUEST. ``arp``: whether it answers ARP while
    it loads.
    """

    name: str
    rom: tuple[Ask, ...]
    probes: tuple[str, ...]
    files: tuple[Ask, ...]
    words: bytes
    deaf_seconds: float
    requests: bool
    arp: bool

    def uuid(self, mac: bytes, serial: bytes) -> bytes:
        """Option 97: a constant from a mask ROM; who it is from an EEPROM."""
        if self.rom:
            return b"\0" + b"\x44" * 16
        return b"\0" + b"RPi" + self.name.encode() + b"\xc0\x31\x11\x14" + mac[2:] + serial


def _maybe(*names: str) -> tuple[Ask, ...]:
    return tuple(Ask(name, needed=False) for name in names)


def _needed(*names: str) -> tuple[Ask, ...]:
    return tuple(Ask(name) for name in names)


def _pi3(dtb: str) -> tuple[Ask, ...]:
    return (
        *_maybe("autoboot.txt"),
        *_needed("config.txt"),
        *_maybe("recovery.elf"),
        *_needed("start.elf", "fixup.dat"),
        *_maybe("recovery.elf"),
        *_needed("config.txt"),
        *_maybe("dt-blob.bin", "bootcfg.txt"),
        *_needed(dtb),
        *_maybe("overlays/overlay_map.dtb"),
        *_needed("config.txt", "overlays/vc4-kms-v3d.dtbo", "cmdline.txt"),
        *_maybe("recovery8.img"),
        *_needed(*_KERNEL),
        *_maybe("armstub8.bin"),
    )


_ROM = (*_needed("bootcode.bin"), *_maybe("bootsig.bin"))
MODELS = {
    model.name: model
    for model in (
        # Its ROM also wants three blanks, takes an offer for a promise, and answers no ARP once it loads.
        Model("3B", _ROM, ("start.elf",), _pi3("bcm2710-rpi-3-b.dtb"), b"Raspberry Pi Boot   ", 0.9, requests=False, arp=False),
        Model("3B+", _ROM, ("start.elf",), _pi3("bcm2710-rpi-3-b-plus.dtb"), b"Raspberry Pi Boot", 0.9, requests=True, arp=True),
        Model(
            "4",
            (),
            ("start4.elf", "start.elf"),
            (
                *_maybe("pieeprom.sig", "recover4.elf", "recovery.elf"),
                *_needed("config.txt", "start4.elf", "fixup4.dat"),
                *_maybe("recovery.elf"),
                *_needed("config.txt"),
                *_maybe("dt-blob.bin", "bootcfg.txt"),
                *_needed("initramfs8", "bcm2711-rpi-4-b.dtb"),
                *_maybe("overlays/overlay_map.dtb"),
                *_needed("overlays/vc4-kms-v3d.dtbo", "cmdline.txt", "kernel8.img"),
                *_maybe("armstub8-gic.bin"),
            ),
            b"Raspberry Pi Boot",
            0.0,
            requests=True,
            arp=True,
        ),
        Model(
            "5",
            (),
            ("start4.elf", "start.elf", "config.txt"),
            (
                *_maybe("autoboot.txt"),
                *_needed("config.txt"),
                *_maybe("pieeprom.upd"),
                *_needed("kernel_2712.img", "initramfs_2712", "bcm2712-rpi-5-b.dtb"),
                *_maybe("overlays/overlay_map.dtb"),
                *_needed("overlays/vc4-kms-v3d.dtbo", "cmdline.txt"),
                *_maybe("armstub8-2712.bin"),
            ),
            b"Raspberry Pi Boot",
            0.0,
            requests=True,
            arp=True,
        ),
    )
}
