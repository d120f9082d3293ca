"""The real build.yml while dispatch is paused: it says so, and does not pass for a success."""

from collections.abc import Iterator

import pytest

from tests.support.trial import Trial, trial_fleet


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    with trial_fleet(fleet_projects=["docopt==0.6.2"]) as fleet:
        assert fleet.play("provision.yml").exit_code == 0
        yield fleet


@pytest.mark.parametrize(("whom", "words"), [("--all", "all dispatch was paused by"), ("localhost", "no builder is active")])
@pytest.mark.parametrize("form", ["round", "drained"])
def test_a_run_that_hands_out_nothing_says_why_and_fails(trial: Trial, whom: str, words: str, form: str) -> None:
    paused = trial.command("piwheels-builder", "pause", whom, "--reason", "a new card")
    assert paused.returncode == 0, paused.stderr
    played = trial.play("build.yml", fleet_converge=form)
    told = " ".join(played.output.split())
    assert played.exit_code != 0, played.output
    assert words in told
    assert "a new card" in told
    assert f"piwheels-builder resume {'--all' if whom == '--all' else 'BUILDER'}" in told
    assert [build["state"] for build in trial.report("docopt")] == ["pending"]
    resumed = trial.command("piwheels-builder", "resume", whom)
    assert resumed.returncode == 0, resumed.stderr
