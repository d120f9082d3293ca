"""The stations between fetching and building, with a runner that plays uv and the sandbox."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from piwheels_builder.builder.build_system import BuildSystem, check_requirements, read_build_system
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.environment import Environments
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.log import BuildLog, plain
from piwheels_builder.builder.process import Ended, Output, Watch
from piwheels_builder.builder.resolution import FRESH, Resolution, Resolver, uv_failure
from piwheels_builder.builder.trial import this_target
from piwheels_builder.builder.uv import Uv
from piwheels_builder.states import Outcome
from tests.support.sdists import Yard, make_yard, setup_py

LEGACY = BuildSystem(("setuptools>=40.8.0", "wheel"), "setuptools.build_meta:__legacy__")


@dataclass
class Player:
    """A runner that does what ``play`` says for each command, and remembers the commands."""

    play: Callable[[Sequence[str]], int] = lambda _: 0
    commands: list[Sequence[str]] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)
    says: str = ""

    def __call__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: Output,
        seconds: float,
        output_bytes: int,
        watch: Watch | None = None,  # noqa: ARG002 - of the protocol
    ) -> Ended:
        assert seconds > 0 < output_bytes
        self.commands.append(command)
        self.environments.append(environment)
        output.write(self.says.encode())
        return Ended(self.play(command))


def after(command: Sequence[str], option: str) -> Path:
    return Path(command[command.index(option) + 1])


@pytest.fixture
def log(tmp_path: Path) -> Iterator[BuildLog]:
    with BuildLog(tmp_path / "log.txt") as log:
        yield log


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, LEGACY),
        ("[tool.black]\n", LEGACY),
        ('[build-system]\nrequires = ["setuptools", "Cython<3; python_version>\'3\'"]\n',
         BuildSystem(("setuptools", 'Cython<3; python_version > "3"'), LEGACY.backend)),
        ('[build-system]\nrequires = []\nbuild-backend = "a.b:c"\nbackend-path = ["x"]\n', BuildSystem((), "a.b:c", ("x",))),
    ],
)  # fmt: skip
def test_build_systems(tmp_path: Path, text: str | None, expected: BuildSystem) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert read_build_system(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("[build-system", Outcome.BAD_SDIST),
        ("a = " + "[" * 10000, Outcome.BAD_SDIST),
        ("build-system = 3", Outcome.BAD_SDIST),
        ('[build-system]\nbuild-backend = "x"\n', Outcome.BAD_SDIST),
        ('[build-system]\nrequires = "setuptools"\n', Outcome.BAD_SDIST),
        ("[build-system]\nrequires = [1]\n", Outcome.BAD_SDIST),
        ("[build-system]\nrequires = []\nbuild-backend = 1\n", Outcome.BAD_SDIST),
        ('[build-system]\nrequires = []\nbackend-path = "x"\n', Outcome.BAD_SDIST),
        ('[build-system]\nrequires = ["a b c"]\n', Outcome.REQUIREMENT_UNAVAILABLE),
        ('[build-system]\nrequires = ["a @ git+ssh://host.invalid/x"]\n', Outcome.REQUIREMENT_UNAVAILABLE),
        ("#" * (2**20 + 1), Outcome.BAD_SDIST),
    ],
    ids=range(11),
)
def test_build_systems_that_are_none(tmp_path: Path, text: str, outcome: Outcome) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(BuildEnded) as ended:
        read_build_system(tmp_path)
    assert ended.value.outcome is outcome


@pytest.mark.parametrize(
    "text", ["-r /etc/passwd", "--index-url http://x", "-e .", "./local", "a\n--find-links x", "a #b", "${HOME}"]
)
def test_requirements_are_never_options(text: str) -> None:
    with pytest.raises(BuildEnded):
        check_requirements([text])


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("cause: Because only setuptools<=84 is available\nerror: No solution found", Outcome.REQUIREMENT_UNAVAILABLE),
        ("error: No solution found\n cause: x was not found in the package registry", Outcome.REQUIREMENT_UNAVAILABLE),
        ("cause: Because all versions of docopt have no usable wheels\n", Outcome.REQUIREMENT_WITHOUT_WHEEL),
        ("No solution found\nhint: building from source is disabled for all packages", Outcome.REQUIREMENT_WITHOUT_WHEEL),
        ("error: Request failed after 3 retries\n cause: Failed to fetch: http://x", Outcome.NETWORK_AWAY),
        ("error: HTTP status server error (503 Service Unavailable)", Outcome.NETWORK_AWAY),
        ("error: failed to write\n cause: No space left on device (os error 28)", Outcome.DISK_FULL),
        ("error: unexpected argument '--no-build'", Outcome.BUILDER_FAULT),
        ("", Outcome.BUILDER_FAULT),
    ],
)  # fmt: skip
def test_why_uv_failed(said: str, outcome: Outcome) -> None:
    assert uv_failure(said).outcome is outcome


def test_uv_gets_what_it_needs_and_no_more(tmp_path: Path, log: BuildLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL", "AWS_SECRET", "SSL_CERT_FILE", "https_proxy"):
        monkeypatch.setenv(name, "x")
    player = Player()
    Uv(tmp_path / "cache", "https://user:password@index.invalid/simple/", player).run("version", log=log)
    given, command = player.environments[0], player.commands[0]
    assert {"UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL", "AWS_SECRET"}.isdisjoint(given)
    assert {"SSL_CERT_FILE", "https_proxy", "UV_DEFAULT_INDEX", "UV_CACHE_DIR"} <= given.keys()
    assert "--no-config" in command
    assert not any("password" in word for word in command)


def resolving(player: Player, tmp_path: Path) -> Resolver:
    return Resolver(Uv(tmp_path / "uv", "http://index.invalid/", player), tmp_path / "resolutions", tmp_path)


def test_a_resolution_is_remembered_for_an_hour(tmp_path: Path, log: BuildLog) -> None:
    def play(command: Sequence[str]) -> int:
        after(command, "--output-file").write_text("wheel==0.45\nSetup.Tools==80.1\n")
        return 0

    player, python = Player(play), describe(Path(sys.executable))
    first = resolving(player, tmp_path).resolve(["setuptools", "wheel"], python, log)
    assert first.versions == {"wheel": "0.45", "setup-tools": "80.1"}
    assert resolving(player, tmp_path).resolve(["wheel", "setuptools", "wheel"], python, log) == first
    assert len(player.commands) == 1
    assert {"--no-build", "compile"} <= set(player.commands[0])
    remembered = next((tmp_path / "resolutions").iterdir())
    os.utime(remembered, (0, remembered.stat().st_mtime - FRESH - 1))
    resolving(player, tmp_path).resolve(["setuptools", "wheel"], python, log)
    resolving(player, tmp_path).resolve(["setuptools"], python, log)
    assert len(player.commands) == 3


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda whole: whole[:-3], lambda whole: bytes(len(whole)), lambda whole: b"\xff" + whole]
)
def test_a_damaged_resolution_is_asked_for_again(tmp_path: Path, log: BuildLog, damage: Callable[[bytes], bytes]) -> None:
    def play(command: Sequence[str]) -> int:
        after(command, "--output-file").write_text("wheel==0.45.1\n")
        return 0

    player, python = Player(play), describe(Path(sys.executable))
    first = resolving(player, tmp_path).resolve(["wheel"], python, log)
    remembered = next((tmp_path / "resolutions").iterdir())
    remembered.write_bytes(damage(remembered.read_bytes()))
    for _ in range(2):
        assert resolving(player, tmp_path).resolve(["wheel"], python, log) == first
    assert len(player.commands) == 2


def test_nothing_required_is_nothing_asked(tmp_path: Path, log: BuildLog) -> None:
    player = Player()
    assert resolving(player, tmp_path).resolve([], describe(Path(sys.executable)), log) == Resolution(())
    assert player.commands == []


def test_a_failed_resolution_is_not_remembered(tmp_path: Path, log: BuildLog) -> None:
    player = Player(lambda _: 1, says="error: No solution found\n")
    for _ in range(2):
        with pytest.raises(BuildEnded) as ended:
            resolving(player, tmp_path).resolve(["x"], describe(Path(sys.executable)), log)
        assert ended.value.outcome is Outcome.REQUIREMENT_UNAVAILABLE
    assert len(player.commands) == 2


def environments(tmp_path: Path, player: Player, most_kept: int = 9) -> Environments:
    return Environments(tmp_path / "environments", Uv(tmp_path / "uv", "http://index.invalid/", player), most_kept)


def make_directory(command: Sequence[str]) -> int:
    if "venv" in command:
        Path(command[command.index("--python") + 2]).mkdir()
    return 0


def test_an_environment_is_made_once_and_by_nothing_that_runs_its_packages(tmp_path: Path, log: BuildLog) -> None:
    player, python = Player(make_directory), describe(Path(sys.executable))
    for _ in range(2):
        with environments(tmp_path, player).holding(Resolution(("a==1",)), python, log) as environment:
            assert environment.path.is_dir()
    venv, install, compiling = player.commands
    assert "--relocatable" in venv
    assert {"--no-deps", "--no-build", "copy"} <= set(install)
    assert "--compile-bytecode" not in install
    assert Path(compiling[compiling.index("--") + 1]) == python.executable
    assert {"-I", "-S"} <= set(compiling)


def test_an_environment_that_could_not_be_made_is_not_there(tmp_path: Path, log: BuildLog) -> None:
    def play(command: Sequence[str]) -> int:
        make_directory(command)
        return int("install" in command)

    player = Player(play, says="error: Failed to fetch: x\n")
    with (
        pytest.raises(BuildEnded) as ended,
        environments(tmp_path, player).holding(Resolution(("a==1",)), describe(Path(sys.executable)), log),
    ):
        pass
    assert ended.value.outcome is Outcome.NETWORK_AWAY
    assert list((tmp_path / "environments").iterdir()) == []


def test_environments_in_use_are_kept_and_the_oldest_others_go(tmp_path: Path, log: BuildLog) -> None:
    player, python = Player(make_directory), describe(Path(sys.executable))
    rooms = environments(tmp_path, player, most_kept=2)
    with rooms.holding(Resolution(("a==1",)), python, log) as used:
        for number, pin in enumerate(("b==1", "c==1", "d==1")):
            with rooms.holding(Resolution((pin,)), python, log) as made:
                path = made.path
            os.utime(path, (0, 1000 + number))
        os.utime(used.path, (0, 1))
        with rooms.holding(Resolution(("e==1",)), python, log) as newest:
            pass
        assert used.path.is_dir()
        assert newest.path.is_dir()
        assert not path.is_dir()


def test_text_of_strangers_is_made_plain() -> None:
    assert plain(b"\x1b[31mred\x1b[0m \x00\x07\xff\r\nline\x1b]0;title\x07") == "red \ufffd\nline"


def test_this_machine_is_a_target() -> None:
    assert this_target(describe(Path(sys.executable))).python == f"cp{sys.version_info[0]}{sys.version_info[1]}"


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return make_yard(tmp_path)


def test_a_full_disk_is_infrastructure(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (28, 122):
        monkeypatch.setattr(
            "piwheels_builder.builder.build.unpack", lambda *_, code=code: (_ for _ in ()).throw(OSError(code, "full"))
        )
        assert yard.build(setup_py()).attempt.outcome is Outcome.DISK_FULL


def test_our_own_faults_are_ours_with_a_traceback(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piwheels_builder.builder.build.unpack", lambda *_: 1 / 0)
    built = yard.build(setup_py())
    assert built.attempt.outcome is Outcome.BUILDER_FAULT
    assert built.attempt.error_line == "ZeroDivisionError: division by zero"
    assert "Traceback" in built.log
    assert json.loads(built.attempt.to_json())["wheel"] is None


def test_a_python_nobody_has(yard: Yard) -> None:
    assert yard.build(setup_py(), pythons={}).attempt.outcome is Outcome.BUILDER_FAULT


def test_a_bad_sdist_is_the_releases_own(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "broken.tar.gz").write_bytes(b"x" * 100)
    attempt = yard.build_file(tmp_path / "broken.tar.gz").attempt
    assert attempt.outcome is Outcome.BAD_SDIST
    assert "not a whole archive" in (attempt.log_tail or "")
