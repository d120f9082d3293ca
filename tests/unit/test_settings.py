"""Configuration files: what is wrong is named with the file it stands in."""

from pathlib import Path

import pytest

from piwheels_builder.errors import BadInput
from piwheels_builder.settings import configuration_dir, load_builder, load_fleet

FLEET = """
database: {reader: "host=/run/fleet dbname=piwheels user=piwheels_reader"}
projects: [docopt, "spidev==3.6"]
"""
BUILDER = """
name: pi1
database: "host=/run/fleet dbname=piwheels user=builder_pi1"
state_dir: /var/lib/piwheels-builder/builder
pythons: {cp311: /usr/bin/python3.11}
architecture: armv7l
os_release: bookworm
"""


def written(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


def test_fleet_settings(tmp_path: Path) -> None:
    settings = load_fleet(written(tmp_path, "fleet.yml", FLEET))
    assert settings.database["reader"].endswith("user=piwheels_reader")
    assert settings.projects == ("docopt", "spidev==3.6")
    assert settings.build_policy == "missing"


@pytest.mark.parametrize("database", ["{reader: x}", "5", "[dispatcher]"])
def test_a_role_without_a_connection_is_named(tmp_path: Path, database: str) -> None:
    with pytest.raises(BadInput, match="no database connection for the dispatcher"):
        load_fleet(written(tmp_path, "fleet.yml", f"database: {database}\n")).conninfo("dispatcher")


def test_builder_settings(tmp_path: Path) -> None:
    settings = load_builder(written(tmp_path, "builder.yml", BUILDER))
    assert settings.pythons == {"cp311": Path("/usr/bin/python3.11")}


@pytest.mark.parametrize(("said", "meant"), [("off", "off"), ("'off'", "off"), ("bubblewrap", "bubblewrap"), (None, "bubblewrap")])
def test_whether_there_is_a_sandbox(tmp_path: Path, said: str | None, meant: str) -> None:
    text = BUILDER + (f"sandbox: {said}" if said else "")
    assert load_builder(written(tmp_path, "builder.yml", text)).sandbox == meant


@pytest.mark.parametrize(
    ("said", "meant"), [("[Foo.Bar, baz]", ("foo-bar", "baz")), ("[all]", ("all",)), ("all", ("all",)), ("[]", ()), ("", ())]
)
def test_whose_failing_imports_are_published(tmp_path: Path, said: str, meant: tuple[str, ...]) -> None:
    text = BUILDER + f"publish_failing_imports: {said}\n"
    assert load_builder(written(tmp_path, "builder.yml", text)).publish_failing_imports == meant


def test_where_libraries_of_wheels_are(tmp_path: Path) -> None:
    assert load_builder(written(tmp_path, "builder.yml", BUILDER)).wheel_libraries == "system"
    assert load_builder(written(tmp_path, "builder.yml", BUILDER + "wheel_libraries: bundled")).wheel_libraries == "bundled"
    with pytest.raises(BadInput, match="system or bundled"):
        load_builder(written(tmp_path, "builder.yml", BUILDER + "wheel_libraries: static"))


@pytest.mark.parametrize("said", ["on", "none", "0", "''", "[off]"])
def test_what_is_no_sandbox_is_refused(tmp_path: Path, said: str) -> None:
    with pytest.raises(BadInput, match="bubblewrap or off"):
        load_builder(written(tmp_path, "builder.yml", BUILDER + f"sandbox: {said}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list", "one `name: value` a line"),
        ("{", "is not YAML"),
        (FLEET + "colour: red", "colour"),
        ("projects: []", "database"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_fleet(written(tmp_path, "fleet.yml", text))


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"provision\.yml"):
        load_builder(tmp_path / "builder.yml")


def test_a_named_directory_is_the_only_place_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))
    assert configuration_dir() == tmp_path
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path / "missing"))
    with pytest.raises(BadInput, match=r"missing: run `ansible-playbook provision\.yml`"):
        configuration_dir()
