"""What Prometheus reads of the fleet, who may, and that its alerts fire on what they are for and on nothing else."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import fresh_database
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, nginx_serving, public_directory
from tests.support.site import furnish, refresh_site

RULES = Path(__file__).parents[2] / "roles/index/files/piwheels.rules.yml"
BOOKWORM = "cp311-armv7l-bookworm"


@pytest.fixture(scope="module")
def shown(database_server: EmbeddedDatabase) -> Iterator[IndexHost]:
    """With something of everything."""
    with fresh_database(database_server) as database, public_directory() as place:
        made = IndexHost(Fleet(database), place)
        furnish(made)
        refresh_site(made)
        yield made


def scraped(url: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and its labels' values."""
    answered = requests.get(f"{url}/metrics", timeout=10)
    assert answered.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answered.text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def asked(fleet: Fleet, query: str) -> float:
    return float(fleet.ask(query)[0][0])


def test_every_number_is_the_databases(shown: IndexHost) -> None:
    fleet = shown.fleet
    with nginx_serving(shown.tree, shown.place, "https://upstream.example/simple") as url:
        told = scraped(url)
    free = "SELECT count(*) FROM queue JOIN target USING (target_id) WHERE lease_id IS NULL AND held IS NULL AND waits_for IS NULL"
    assert told["piwheels_queue_builds", "free", BOOKWORM] == asked(fleet, f"{free} AND os_release = 'bookworm'") > 0
    assert sum(value for key, value in told.items() if key[:2] == ("piwheels_queue_builds", "held")) == 1
    ended = "SELECT count(*) FROM attempt WHERE outcome = 'compile_error'"
    assert told["piwheels_attempts_total", "release", "compile_error", BOOKWORM] == asked(fleet, ended) == 2
    heard = asked(fleet, "SELECT extract(epoch FROM last_seen_at) FROM builder WHERE name = 'pi1'")
    assert told["piwheels_builder_last_seen_timestamp_seconds", "pi1"] == pytest.approx(heard, abs=0.01)
    assert ("piwheels_builder_last_seen_timestamp_seconds", "pi3") not in told, "which was never heard of"
    assert told["piwheels_builder_building_builds", "pi1"] == 1
    assert told["piwheels_builder_standing", "pi3", "active"] == 1
    assert told["piwheels_builder_temperature_celsius", "pi1"] == 83.2
    assert told["piwheels_builder_throttled", "pi1"] == 1
    assert told["piwheels_builder_under_voltage", "pi1"] == 0
    assert told["piwheels_builder_memory_free_bytes", "pi1"] == 1_230_000_000
    assert told["piwheels_builder_memory_size_bytes", "pi1"] == 3_977_601_024
    assert told["piwheels_builder_disk_free_bytes", "pi1"] == 12_000_000_000
    assert ("piwheels_builder_temperature_celsius", "pi2") not in told, "which has no sensor"
    followed = asked(fleet, "SELECT extract(epoch FROM followed_at) FROM upstream_state")
    assert told["piwheels_catalogue_followed_timestamp_seconds",] == pytest.approx(followed, abs=0.01)
    assert told["piwheels_published_disk_size_bytes",] == shutil.disk_usage(shown.tree).total


def test_only_those_who_are_named_may_read_them(shown: IndexHost) -> None:
    with nginx_serving(shown.tree, shown.place, "https://upstream.example/simple", index_metrics_from=["192.0.2.7"]) as url:
        assert requests.get(f"{url}/metrics", timeout=10).status_code == 403
        assert requests.get(f"{url}/site/live/metrics.txt", timeout=10).status_code == 404
        assert requests.get(f"{url}/live/metrics.txt", timeout=10).status_code == 404
        assert requests.get(f"{url}/", timeout=10).status_code == 200


def promtool(*arguments: str, given: str = "") -> str:
    program = shutil.which("promtool")
    if program is None and os.geteuid() != 0:
        pytest.skip("promtool is missing, and only root can install it: apt-get install prometheus")
    assert program is not None, "promtool is missing, and the tests need it: apt-get install prometheus"
    done = subprocess.run([program, *arguments], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_is_written_keeps_to_prometheus_conventions(shown: IndexHost) -> None:
    with nginx_serving(shown.tree, shown.place, "https://upstream.example/simple") as url:
        text = requests.get(f"{url}/metrics", timeout=10).text
    assert promtool("check", "metrics", given=text) == ""


def test_every_alert_fires_on_what_it_is_for_and_on_nothing_else() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(Path(__file__).with_name("alerts.yml")))


def test_alerts_ask_for_nothing_that_is_not_written(shown: IndexHost) -> None:
    with nginx_serving(shown.tree, shown.place, "https://upstream.example/simple") as url:
        names = {key[0] for key in scraped(url)}
    wanted = set(re.findall(r"piwheels_[a-z_]+", RULES.read_text()))
    assert wanted <= names
    assert len(wanted) > 8
