"""Wheels made for a test, honest unless told otherwise."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path


def record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}\n"


def wheel_files(
    name: str = "demo", version: str = "1.0", tag: str = "py3-none-any", content: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """The files of a wheel but RECORD, by name."""
    info = f"{name}-{version}.dist-info"
    return {
        **(content if content is not None else {"demo.py": b"ANSWER = 42\n"}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.8\n\nText\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }


def pack(path: Path, files: Mapping[str, bytes], record: str | None = None) -> Path:
    """Write a wheel; ``record`` instead of the right RECORD."""
    info = next(name.partition("/")[0] for name in files if ".dist-info/" in name)
    lines = "".join(record_line(name, content) for name, content in files.items()) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, f"{info}/RECORD": (lines if record is None else record).encode()}.items():
            # The same content makes the same bytes, at any time.
            member = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


def make_wheel(
    directory: Path, name: str = "demo", version: str = "1.0", tag: str = "py3-none-any", content: Mapping[str, bytes] | None = None
) -> Path:
    return pack(directory / f"{name}-{version}-{tag}.whl", wheel_files(name, version, tag, content))
