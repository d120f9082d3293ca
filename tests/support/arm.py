"""Files for 32-bit ARM from the cross compiler, without start files or a C library: Debian's own for armhf are v7."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

_COMPILER, _EMULATOR = "arm-linux-gnueabihf-gcc", "qemu-arm-static"
_PACKAGES = "gcc-arm-linux-gnueabihf qemu-user-static"
#: What Raspberry Pi OS's gcc is set to.
ARMV6 = ("-march=armv6", "-mfpu=vfp", "-marm", "-mfloat-abi=hard")
_BARE = ("-O1", "-ffreestanding", "-nostdlib", "-nostartfiles")

LIBRARY = "double half(double x) { return x * 0.5; }\n"
#: Writes "whole". The large constant is a MOVW and MOVT where the processor is said to have them.
PROGRAM = """
static long call(long number, long a, long b, long c) {
    register long r7 __asm__("r7") = number;
    register long r0 __asm__("r0") = a;
    register long r1 __asm__("r1") = b;
    register long r2 __asm__("r2") = c;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r7) : "memory");
    return r0;
}
void _start(void) {
    volatile unsigned large = 0x12345678;
    volatile double half = 0.5;
    if (large * half == 0x91a2b3c) call(4, 1, (long)"whole", 5);
    call(1, 0, 0, 0);
}
"""


def library(place: Path, *options: str) -> bytes:
    """A shared library of one function."""
    return _compiled(place, LIBRARY, "-shared", "-fPIC", *options)


def program(place: Path, *options: str) -> bytes:
    """A static program."""
    return _compiled(place, PROGRAM, "-static", *options)


def static_library(place: Path, *options: str) -> bytes:
    """A static library of one object."""
    (place / "part.o").write_bytes(_compiled(place, LIBRARY, "-c", *options))
    subprocess.run([found("arm-linux-gnueabihf-ar"), "rcs", "made.a", "part.o"], cwd=place, check=True)
    return (place / "made.a").read_bytes()


def run(place: Path, program: bytes, processor: str) -> "subprocess.CompletedProcess[str]":
    """Run a program on an emulated processor."""
    (place / "program").write_bytes(program)
    (place / "program").chmod(0o755)
    return subprocess.run(
        [found(_EMULATOR), "-cpu", processor, place / "program"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )


def found(name: str) -> str:
    """The whole path of a program. As root, who can install it, its absence is an error."""
    path = shutil.which(name)
    if path is None and os.geteuid() != 0:
        pytest.skip(f"{name} is missing, and only root can install it: apt-get install {_PACKAGES}")
    assert path is not None, f"{name} is missing, and the tests need it: apt-get install {_PACKAGES}"
    return path


def _compiled(place: Path, source: str, *options: str) -> bytes:
    (place / "made.c").write_text(source)
    libraries = [] if "-c" in options else ["-lgcc"]
    subprocess.run([found(_COMPILER), *_BARE, *options, "-o", "made", "made.c", *libraries], cwd=place, check=True)
    return (place / "made").read_bytes()
