"""Backends that leave a wheel which is not what it says, or is no wheel at all."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, Make, Places, files
from tests.support.wheelmaking import pack, record_line, wheel_files

_PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "ready"\nbackend-path = ["."]\n'
#: Leaves the files below wheels/ as they are, and then does ``body``.
_BACKEND = """
import os, shutil
def build_wheel(directory, config_settings=None, metadata_directory=None):
    for name in os.listdir('wheels') if os.path.isdir('wheels') else []:
        shutil.copy('wheels/' + name, directory)
    W = directory
    {body}
    return 'demo-1.0-py3-none-any.whl'
"""
_NAME = "demo-1.0-py3-none-any.whl"


def _leaving(wheels: Mapping[str, bytes], body: str = "pass") -> Make:
    backend = _BACKEND.format(body=body)
    return files({"pyproject.toml": _PYPROJECT, "ready.py": backend, **{f"wheels/{name}": data for name, data in wheels.items()}})


def _lies(name: str, tries: str, make: Make, *ends: Outcome) -> Attack:
    return Attack(name, tries, make, ends or (Outcome.BAD_WHEEL,))


def _wheel(
    content: Mapping[str, bytes] | None = None,
    record: str | None = None,
    name: str = "demo",
    version: str = "1.0",
    tag: str = "py3-none-any",
) -> bytes:
    """``content`` over the files of an honest wheel; None removes."""
    honest = wheel_files(name, version, tag)
    changed = {**honest, **(content or {})}
    with TemporaryDirectory() as place:
        return pack(Path(place) / _NAME, {name: data for name, data in changed.items() if data is not None}, record).read_bytes()


def _changed(**info: bytes) -> bytes:
    return _wheel({f"demo-1.0.dist-info/{name}": data for name, data in info.items()})


def _without(name: str) -> bytes:
    honest = wheel_files()
    del honest[f"demo-1.0.dist-info/{name}"]
    with TemporaryDirectory() as place:
        return pack(Path(place) / _NAME, honest).read_bytes()


def _with_member(name: str, mode: int, content: bytes) -> bytes:
    """A member with these bits of its mode, in RECORD as it should be."""
    made = io.BytesIO()
    honest = {**wheel_files(), name: content}
    with zipfile.ZipFile(made, "w") as archive:
        for member, data in honest.items():
            info = zipfile.ZipInfo(member)
            info.external_attr = (mode if member == name else 0o100644) << 16
            archive.writestr(info, data)
        lines = "".join(record_line(member, data) for member, data in honest.items())
        archive.writestr("demo-1.0.dist-info/RECORD", lines + "demo-1.0.dist-info/RECORD,,\n")
    return made.getvalue()


def _bomb(_: Places) -> bytes:
    """Five GiB of zeros, in 5 MiB."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("demo.py", b"")
        with archive.open("zeros", "w", force_zip64=True) as member:
            for _piece in range(64):
                member.write(b"\0" * 2**20)
    return _leaving({_NAME: _say_larger(made.getvalue())})(_)


def _say_larger(wheel: bytes) -> bytes:
    """The same, whose list of members says that there are 4 GiB in it."""
    size = (64 * 2**20).to_bytes(4, "little")
    return wheel.replace(size, (2**32 - 2).to_bytes(4, "little"))


_RUN = "print('tampered')\n"
_TAGS = "py3.$(reboot)-none-any", "py3.<script>alert(1)-none-any", "py3.a\nb-none-any", "py3. -none-any"

ATTACKS: tuple[Attack, ...] = (
    _lies(
        "another_project",
        "makes a wheel of another project",
        _leaving({"requests-1.0-py3-none-any.whl": _wheel(name="requests")}),
        Outcome.VERSION_MISMATCH,
    ),
    _lies(
        "another_version",
        "makes a wheel of a version to come",
        _leaving({"demo-9.9-py3-none-any.whl": _wheel(version="9.9")}),
        Outcome.VERSION_MISMATCH,
    ),
    _lies(
        "metadata_of_another",
        "names its wheel after itself, and has the METADATA of another project in it",
        _leaving({_NAME: _changed(METADATA=b"Metadata-Version: 2.1\nName: requests\nVersion: 1.0\n")}),
        Outcome.VERSION_MISMATCH,
    ),
    _lies(
        "other_tags",
        "is tagged for another Python and another machine",
        _leaving({"demo-1.0-cp27-cp27mu-win32.whl": _wheel(tag="cp27-cp27mu-win32")}),
    ),
    _lies("tags_that_differ", "has other tags in its name than in it", _leaving({_NAME: _wheel(tag="cp311-cp311-linux_x86_64")})),
    _lies(
        "two_wheels",
        "makes two wheels",
        _leaving({_NAME: _wheel(), "demo-1.0-py2-none-any.whl": _wheel(tag="py2-none-any")}),
        Outcome.NO_WHEEL_MADE,
    ),
    _lies("no_wheel", "says that it made a wheel, and made none", _leaving({}), Outcome.NO_WHEEL_MADE),
    _lies(
        "wrong_record",
        "has other contents than its RECORD says",
        _leaving({_NAME: _wheel(record="".join(record_line(name, b"x") for name in wheel_files()))}),
    ),
    _lies("no_record", "has an empty RECORD", _leaving({_NAME: _wheel(record="")})),
    _lies("no_metadata", "has no METADATA", _leaving({_NAME: _without("METADATA")})),
    _lies("no_tags", "has no WHEEL file", _leaving({_NAME: _without("WHEEL")})),
    _lies("absolute_paths", "has a file with an absolute path", _leaving({_NAME: _wheel({"/etc/cron.d/evil": b"x"})})),
    _lies("climbing_paths", "has a file whose path climbs out", _leaving({_NAME: _wheel({"../../../etc/cron.d/evil": b"x"})})),
    _lies(
        "data_that_climbs",
        "has data files whose path climbs out of where they go",
        _leaving({_NAME: _wheel({"demo-1.0.data/data/../../../evil": b"x"})}),
    ),
    _lies("symlink_in_it", "has a symbolic link in it", _leaving({_NAME: _with_member("link", 0o120777, b"/etc/passwd")})),
    _lies(
        "setuid_in_it",
        "has a file that is setuid in it",
        _leaving({_NAME: _with_member("sh", 0o104755, b"#!/bin/sh\n")}),
        Outcome.BAD_WHEEL,
        Outcome.BUILT,
    ),
    _lies(
        "executable_data",
        "has module files with executable bits, as many honest ones have",
        _leaving({_NAME: _with_member("run.py", 0o100777, b"")}),
        Outcome.BUILT,
    ),
    _lies(
        "confusable_name",
        "spells its name with letters that look the same",
        _leaving({"d\u0435mo-1.0-py3-none-any.whl": _wheel()}),
        Outcome.BAD_WHEEL,
        Outcome.VERSION_MISMATCH,
    ),
    _lies(
        "name_by_normalization",
        "spells its name otherwise in the file name, which is the same project, and otherwise again in its METADATA",
        _leaving({"DEMO-1.0-py3-none-any.whl": _changed(METADATA=b"Metadata-Version: 2.1\nName: De.Mo\nVersion: 1.0\n")}),
        Outcome.VERSION_MISMATCH,
        Outcome.BAD_WHEEL,
    ),
    *(
        _lies(
            f"tag_{number}",
            f"has a tag that is a command, markup or a line: {tag!a}",
            _leaving({f"demo-1.0-{tag}.whl": _wheel(tag=tag)}),
        )
        for number, tag in enumerate(_TAGS)
    ),
    _lies("zip_bomb_in_it", "says that it unpacks to more than a disk holds", _bomb),
    _lies("no_zip", "is no zip file", _leaving({_NAME: b"no zip"})),
    _lies(
        "huge",
        "is larger than a wheel may be, as a file with holes",
        _leaving({}, "open(W + '/demo-1.0-py3-none-any.whl', 'wb').truncate(3 * 2**30)"),
    ),
    _lies(
        "link_as_wheel",
        "leaves a link to a file of the host as its wheel",
        _leaving({}, "os.symlink('/etc/passwd', W + '/demo-1.0-py3-none-any.whl')"),
    ),
    _lies("pipe_as_wheel", "leaves a pipe as its wheel", _leaving({}, "os.mkfifo(W + '/demo-1.0-py3-none-any.whl')")),
    _lies("directory_as_wheel", "leaves a directory as its wheel", _leaving({}, "os.mkdir(W + '/demo-1.0-py3-none-any.whl')")),
    _lies(
        "link_as_directory",
        "leaves a link to /etc in the place of the directory for its wheel",
        _leaving({}, "os.rmdir(W); os.symlink('/etc', W)"),
        Outcome.NO_WHEEL_MADE,
    ),
    _lies(
        "link_above",
        "leaves a link in the place of all of its directories",
        _leaving(
            {}, "os.chmod('/build', 0o700); os.rename('/build/wheels', '/build/old'); os.symlink('/build/old', '/build/wheels')"
        ),
        Outcome.NO_WHEEL_MADE,
    ),
    _lies(
        "result_is_a_link",
        "leaves a link as the driver's result",
        _leaving({}, "os.symlink('/etc/passwd', '/build/result.json'); os._exit(90)"),
        Outcome.BUILD_ERROR,
    ),
    _lies(
        "result_is_a_pipe",
        "leaves a pipe as the driver's result",
        _leaving({}, "os.mkfifo('/build/result.json'); os._exit(90)"),
        Outcome.BUILD_ERROR,
    ),
    _lies(
        "result_is_deep",
        "leaves a result that no parser bears",
        _leaving({}, "open('/build/result.json', 'w').write('[' * 1000000); os._exit(90)"),
        Outcome.BUILD_ERROR,
    ),
    _lies(
        "result_is_odd",
        "leaves a result of other types, with numbers of 100,000 digits",
        _leaving(
            {}, "open('/build/result.json', 'w').write('{\"requires\": [1], \"peak_memory\": %s}' % ('9' * 100000)); os._exit(90)"
        ),
        Outcome.BUILD_ERROR,
    ),
    _lies(
        "result_asks_for_options",
        "asks for a requirement that is an option of the installer",
        _leaving({}, "open('/build/result.json', 'w').write('{\"requires\": [\"--config-file=/etc/passwd\"]}'); os._exit(90)"),
        Outcome.REQUIREMENT_UNAVAILABLE,
    ),
)
