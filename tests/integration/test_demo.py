"""`make demo`, from provisioning to pip, as a user runs it; the set-up alone is left out, since the tests have an environment."""

import os
import subprocess

import pytest

from tests.support.trial import ROOT, Trial, trial_fleet


def demo(trial: Trial, projects: str) -> "subprocess.CompletedProcess[str]":
    environment = {**trial.environment, "PROJECTS": projects, "LISTEN": trial.variables["index_listen"], "COLUMNS": "200"}
    return subprocess.run([ROOT / "scripts/demo"], env=environment, capture_output=True, text=True, check=False)


def test_a_pure_and_a_compiled_release_travel_the_whole_way_once() -> None:
    with trial_fleet() as trial:
        first = demo(trial, "docopt==0.6.2 spidev")
        assert first.returncode == 0, first.stdout + first.stderr
        assert "2 of 2 done" in first.stdout
        for installed in ("import docopt: ok", "import spidev: ok"):
            assert installed in first.stdout
        assert f"pip install --index-url {trial.index_url}/simple/" in first.stdout
        assert f"Look at it:        {trial.index_url}/" in first.stdout
        built = {build["project"]: build["build_id"] for build in trial.report()}
        attempts = sorted(path.name for path in (trial.state_dir / "published/wheels").glob("*/*/*.whl"))
        assert len(attempts) == 2

        second = demo(trial, "docopt==0.6.2 spidev")
        assert second.returncode == 0, second.stdout + second.stderr
        assert "building" not in second.stdout
        assert {build["project"]: build["build_id"] for build in trial.report()} == built
        assert sorted(path.name for path in (trial.state_dir / "published/wheels").glob("*/*/*.whl")) == attempts

        unknown = demo(trial, "docopt==0.6.2 no-such-project-as-this-one-here")
        assert unknown.returncode != 0
        assert "no-such-project-as-this-one-here" in unknown.stdout
        assert "not everything that was asked for" in unknown.stderr


@pytest.mark.parametrize("projects", ["docopt>=0.6", "docopt==", "-x", "a;b", "do*pt"])
def test_projects_that_are_none_are_refused_before_anything_is_made(projects: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts/demo"],
        env={**os.environ, "PROJECTS": projects, "FLEET_STATE_DIR": "/nonexistent/fleet"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64
    assert f"{projects} is not a project" in done.stderr
