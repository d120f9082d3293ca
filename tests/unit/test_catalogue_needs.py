"""What is wanted and why not, in the order in which objections count."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from piwheels_builder.catalogue.facts import KnownFile, KnownProject, KnownRelease
from piwheels_builder.catalogue.filenames import FileKind
from piwheels_builder.catalogue.needs import BACK_CATALOGUE, FORCED, NEWEST, Need, NotWanted, Wanted, hastened, need, serves_sibling
from piwheels_builder.catalogue.policy import Choice, Policy
from piwheels_builder.catalogue.wanting import MOST_SECONDS, guess_seconds
from piwheels_builder.errors import BadInput
from piwheels_builder.settings import FleetSettings
from piwheels_builder.targets import Target

BULLSEYE = Target("cp39", "armv7l", "bullseye")
BOOKWORM = Target("cp311", "armv7l", "bookworm")
SDIST = KnownFile("demo-1.0.tar.gz", FileKind.SDIST)
LISTED = Policy.read("missing", ["demo"], 1)


def wheel(name: str, **fields: Any) -> KnownFile:
    return KnownFile(f"demo-1.0-{name}.whl", FileKind.WHEEL, **fields)


def decide(*files: KnownFile, policy: Policy = LISTED, target: Target = BOOKWORM, project: Any = None, **release: Any) -> Need:
    fields = {"release_id": 1, "project": "demo", "version": "1", "spelling": "1.0", "newest_first": 1, "files": files, **release}
    return need(KnownProject("demo", **(project or {})), KnownRelease(**fields), target, policy)


def reason(*files: KnownFile, **others: Any) -> str:
    decided = decide(*files, **others)
    assert isinstance(decided, NotWanted)
    return decided.reason


def test_an_sdist_of_a_listed_project_is_wanted() -> None:
    assert decide(SDIST) == Wanted(1)


def test_objections_count_in_their_order() -> None:
    """Everything stands against this release; one objection after the other is taken away."""
    unwilling: dict[str, Any] = {
        "project": {"opted_out": "please not", "status": "quarantined", "status_reason": "malware"},
        "policy": Policy.read("missing", ["other"], 1),
        "instruction": "skip",
        "why": "kills Pis",
        "newest_first": 2,
    }
    files: tuple[KnownFile, ...] = ()
    assert reason(*files, **unwilling) == "its maintainer opted out: please not"
    unwilling["project"].pop("opted_out")
    assert reason(*files, **unwilling) == "the operator skips it: kills Pis"
    unwilling["instruction"] = None
    assert reason(*files, **unwilling) == "its project is quarantined: malware"
    unwilling["project"].pop("status")
    assert reason(*files, **unwilling) == "not in fleet_projects"
    unwilling["policy"] = LISTED
    assert "fleet_releases is 1" in reason(*files, **unwilling)
    unwilling["policy"] = Policy.read("missing", ["demo"], 2)
    assert reason(*files, **unwilling) == "no files"
    files = (KnownFile("demo-1.0.tar.gz", FileKind.SDIST, requires_python=">=3.12", yanked=True), wheel("py3-none-any"))
    assert reason(*files, **unwilling) == "yanked upstream"
    files = (replace(files[0], yanked=False), files[1])
    assert reason(*files, **unwilling) == "requires Python >=3.12"
    files = (replace(files[0], requires_python=None), files[1])
    assert reason(*files, **unwilling) == "upstream's demo-1.0-py3-none-any.whl serves it"
    assert decide(files[0], **unwilling) == Wanted(2)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((wheel("py3-none-any"),), "no sdist, only wheels"),
        ((KnownFile("demo-1.0-py2.7.egg", FileKind.REFUSED, "an egg"),), "demo-1.0-py2.7.egg is refused (an egg)"),
    ],
)
def test_nothing_can_be_built(files: tuple[KnownFile, ...], words: str) -> None:
    assert words in reason(*files)
    assert words in reason(*files, instruction="force", why="try")


def test_one_sdist_that_is_not_yanked_is_enough() -> None:
    assert decide(replace(SDIST, yanked=True), KnownFile("demo-1.0.zip", FileKind.SDIST)) == Wanted(1)


def test_requires_python_is_asked_per_target() -> None:
    sdist = replace(SDIST, requires_python=">=3.10")
    assert decide(sdist) == Wanted(1)
    assert decide(sdist, target=BULLSEYE) == NotWanted("requires Python >=3.10")


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        (["py3-none-any"], False),
        (["py2.py3-none-any"], False),
        (["py2-none-any"], True),
        (["cp311-cp311-manylinux_2_31_armv7l"], False),
        (["cp311-cp311-manylinux_2_39_armv7l"], True),
        (["cp38-abi3-manylinux_2_31_armv7l"], False),
        (["py3-none-linux_armv7l"], False),
        (["cp310-cp310-manylinux_2_31_armv7l"], True),
        (["cp311-cp311-win_amd64", "cp311-cp311-manylinux_2_31_x86_64"], True),
        # A pure wheel beside platform wheels is the slow fallback.
        (["py3-none-any", "cp311-cp311-win_amd64"], True),
        (["py3-none-any", "cp311-cp311-manylinux_2_31_armv7l"], False),
    ],
)
def test_upstream_wheels(tags: list[str], wanted: bool) -> None:
    wheels = [wheel(tag) for tag in tags]
    assert isinstance(decide(SDIST, *wheels), Wanted) is wanted
    assert decide(SDIST, *wheels, policy=Policy.read("all", ["demo"], 1)) == Wanted(1)


@pytest.mark.parametrize("field", [{"yanked": True}, {"requires_python": "<3.11"}])
def test_upstream_wheels_that_pip_would_not_take_do_not_serve(field: dict[str, Any]) -> None:
    assert decide(SDIST, wheel("py3-none-any", **field)) == Wanted(1)


@pytest.mark.parametrize("files", [(SDIST,), (replace(SDIST, yanked=True),), (SDIST, wheel("py3-none-any"))])
def test_force_overrides_policy(files: tuple[KnownFile, ...]) -> None:
    others: dict[str, Any] = {"policy": Policy.read("missing", [], 1), "project": {"status": "gone"}, "newest_first": 9}
    assert isinstance(decide(*files, **others), NotWanted)
    assert decide(*files, instruction="force", why="asked for", **others) == Wanted(0)


def test_an_opt_out_beats_force() -> None:
    assert "opted out" in reason(SDIST, instruction="force", why="x", project={"opted_out": "no"})


@pytest.mark.parametrize(
    ("projects", "releases", "newest_first", "wanted"),
    [
        (["demo"], "latest", 1, True),
        (["demo"], "latest", 2, False),
        (["Demo"], 2, 2, True),
        (["demo"], "all", 99, True),
        (["demo==1.0.0"], "latest", 99, True),
        (["demo==2"], "latest", 1, False),
        (["demo", "demo==1"], "latest", 99, True),
        ("all", "1", 1, True),
        ("all", 1, 2, False),
        ([], "all", 1, False),
    ],
)
def test_lists_and_depths(projects: Any, releases: Any, newest_first: int, wanted: bool) -> None:
    decided = decide(SDIST, policy=Policy.read("missing", projects, releases), newest_first=newest_first)
    assert isinstance(decided, Wanted) is wanted


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"build_policy": "some"}, "build_policy"),
        ({"projects": "demo"}, "projects is 'demo'"),
        ({"projects": 5}, "projects is 5"),
        ({"projects": ["de mo"]}, "'de mo'"),
        ({"projects": ["demo=="]}, "no version"),
        ({"projects": ["demo==x"]}, "no version"),
        ({"projects": ["demo>=1"]}, "'demo>=1'"),
        ({"releases": 0}, "releases"),
        ({"releases": "many"}, "releases"),
        ({"releases": 1.5}, "releases"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Policy.of(FleetSettings(**{"database": {}, **settings}))


def test_a_choice_is_normalized() -> None:
    assert str(Choice.parse("RPi.GPIO == 0.7.0")) == "rpi-gpio==0.7"
    assert str(Choice.parse("RPi.GPIO")) == "rpi-gpio"


@pytest.mark.parametrize(
    ("tags", "made_for", "target", "serves"),
    [
        ("py3-none-any", BOOKWORM, BULLSEYE, True),
        ("cp39-abi3-linux_armv7l", BULLSEYE, BOOKWORM, True),
        ("cp39-abi3-linux_armv7l", BOOKWORM, BULLSEYE, False),
        ("cp311-cp311-linux_armv7l", BOOKWORM, BULLSEYE, False),
        ("py3-none-linux_armv7l", BULLSEYE, replace(BOOKWORM, architecture="aarch64"), False),
    ],
)
def test_our_own_wheels(tags: str, made_for: Target, target: Target, serves: bool) -> None:
    assert serves_sibling(f"demo-1.0-{tags}.whl", made_for, target) is serves


def test_guesses_grow_with_the_sdist_and_end() -> None:
    assert 0 < guess_seconds(0) < guess_seconds(100_000) < guess_seconds(10_000_000) < guess_seconds(10**12) == MOST_SECONDS
    assert guess_seconds(None) > 0


@pytest.mark.parametrize(
    ("uploaded", "priority", "expected"),
    [
        (timedelta(minutes=-1), NEWEST, FORCED),
        (timedelta(hours=-23), NEWEST, FORCED),
        (timedelta(hours=-25), NEWEST, NEWEST),
        (timedelta(minutes=-1), BACK_CATALOGUE, BACK_CATALOGUE),
        (timedelta(minutes=30), NEWEST, FORCED),
        (timedelta(days=900), NEWEST, NEWEST),
        (None, NEWEST, NEWEST),
    ],
)
def test_a_fresh_newest_release_goes_first(uploaded: timedelta | None, priority: int, expected: int) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    sdist = replace(SDIST, upload_time=None if uploaded is None else now + uploaded)
    assert hastened(priority, KnownRelease(1, "demo", "1", "1.0", 1, (sdist,)), now) == expected
    assert hastened(priority, KnownRelease(1, "demo", "1", "1.0", 1, (wheel("py3-none-any"),)), now) == priority
