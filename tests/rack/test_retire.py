"""A builder leaves the fleet in the middle of its work, and comes back."""

from collections.abc import Iterator, Mapping

import pytest

from tests.rack.fleet import Fleet
from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play
from tests.rack.upstream import Release, Upstream, serving
from tests.rack.violations import violations

#: Only trixie's Python is new enough.
RELEASES = [Release(f"retire-{number}", seconds=3, requires_python=">=3.12") for number in range(6)]
_STANDING = "SELECT json_object_agg(name, standing) FROM builder"


@pytest.fixture
def upstream(rack: Mapping[str, Host]) -> Iterator[Upstream]:
    gateway = rack["index"].address.gateway_ipv4
    assert gateway
    with serving(gateway) as upstream:
        upstream.offer(*RELEASES)
        yield upstream


def test_what_a_retired_builder_had_is_built_all_the_same(provisioned: Run, rack: Mapping[str, Host], upstream: Upstream) -> None:
    assert provisioned
    fleet, trixie = Fleet(rack["index"]), rack["trixie"]
    projects = [release.project for release in RELEASES]
    wishes = {"fleet_projects": projects, "fleet_upstream": upstream.url, "fleet_build_policy": "all"}
    play("build.yml", extra={**wishes, "fleet_converge": "round"}).succeeded()

    key = trixie.must("cat", "/etc/piwheels-builder/client.key"), trixie.must("cat", "/etc/piwheels-builder/client.pem")
    retired = play("retire.yml", extra={"retire": "trixie"}).succeeded()
    assert "trixie is retired" in retired.output
    assert fleet.ask(_STANDING)["trixie"] == "retired"
    assert fleet.ask("SELECT count(*) FROM queue JOIN builder USING (builder_id) WHERE name = 'trixie'") == 0
    assert trixie.run("systemctl", "is-active", "piwheels-builder.service").output.strip() != "active"
    assert trixie.run("test", "-e", "/etc/piwheels-builder/client.key").status != 0
    # Whoever kept a copy of the key is not let in with it.
    for name, text in zip(("key", "pem"), key, strict=True):
        trixie.must("sh", "-c", f"umask 077; cat > /root/kept.{name}", stdin=text)
    login = "host=index dbname=piwheels user=builder_trixie sslmode=require sslcert=/root/kept.pem sslkey=/root/kept.key"
    done = trixie.run("/opt/piwheels-builder/venv/bin/python", "-c", f"import psycopg2; psycopg2.connect({login!r})")
    assert "not permitted to log in" in done.errors

    play("provision.yml", options=("--limit", "index,trixie")).succeeded()
    assert fleet.ask(_STANDING)["trixie"] == "active"
    play("build.yml", extra=wishes).succeeded()
    assert violations(fleet, RELEASES) == []
