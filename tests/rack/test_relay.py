"""A private upstream's password stays on the index host: builders build what it has, and hold nothing that reads it."""

import os
from collections.abc import Iterator, Mapping

import pytest

from tests.rack.fleet import Fleet
from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play
from tests.rack.upstream import Release, serving

PASSWORD = "kept-on-the-index-host"
#: Where a password could lie on a builder; its own certificate's key is no secret of the index host's.
_PLACES = ("/etc", "/opt", "/root", "/home", "/tmp", "/var", "/run")


@pytest.fixture(scope="module")
def built(provisioned: Run, rack: Mapping[str, Host]) -> Iterator[Release]:
    assert provisioned
    gateway = rack["index"].address.gateway_ipv4
    assert gateway
    release = Release(f"private-{os.getpid()}", requires_python="<3.12")
    with serving(gateway) as upstream:
        upstream.login = f"reader:{PASSWORD}"
        upstream.offer(release)
        wishes = {"fleet_upstream": upstream.secret_url, "fleet_projects": [release.project], "fleet_build_policy": "all"}
        only = ("--limit", "index,bookworm")
        play("provision.yml", extra=wishes, options=only).succeeded()
        again = play("provision.yml", extra=wishes, options=only).succeeded()
        assert set(again.changed.values()) == {0}, again.output
        play("build.yml", extra=wishes, options=only).succeeded()
        yield release
    play("provision.yml", options=only).succeeded()


def test_a_builder_builds_what_it_has_no_password_for(built: Release, rack: Mapping[str, Host]) -> None:
    builds = Fleet(rack["index"]).builds([built.project])
    assert "published" in {build["state"] for build in builds}, builds
    assert "password" not in rack["bookworm"].must("cat", "/etc/piwheels-builder/builder.yml")
    found = rack["bookworm"].run("grep", "-rls", "--binary-files=text", "--devices=skip", PASSWORD, *_PLACES)
    assert found.output.strip() == "", found
    # The index host, which reads upstream, has it: what is looked for can be found.
    assert "fleet.yml" in rack["index"].run("grep", "-rls", PASSWORD, "/etc/piwheels-builder").output


def test_nobody_else_gets_anything(built: Release, rack: Mapping[str, Host]) -> None:
    url = f"https://index:8443/simple/{built.project}/"
    curl = ("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", "/etc/piwheels-builder/ca.pem")
    own = ("--cert", "/etc/piwheels-builder/client.pem", "--key", "/etc/piwheels-builder/client.key")
    if rack["bookworm"].run("which", "curl").status:
        rack["bookworm"].must("apt-get", "install", "-qy", "--no-install-recommends", "curl", seconds=300)
    assert rack["bookworm"].must(*curl, *own, url) == "200"
    assert rack["bookworm"].run(*curl, url).status != 0
    with Fleet(rack["index"]).without("bookworm"):
        rack["index"].must("systemctl", "restart", "piwheels-relay.service")
        rack["index"].must("sh", "-c", "for _ in $(seq 50); do ss -ltn | grep -q :8443 && exit; sleep 0.2; done; exit 1")
        assert rack["bookworm"].must(*curl, *own, url) == "503"
