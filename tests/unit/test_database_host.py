"""A database on a host of its own, and replicas: who reaches whom, how, and who is let in, as the playbooks' variables say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from piwheels_builder.db.replication import slot_of

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
HUB, DB, COPY = "192.0.2.1", "192.0.2.2", "2001:db8::3"
#: What roles/database/files/describe.py tells of a host.
HOST = {
    "memory_mb": 2048,
    "version": 15,
    "unit": "postgresql@15-main.service",
    "etc_dir": "/etc/postgresql/15/main",
    "data_dir": "/var/lib/postgresql/15/main",
    "programs": "/usr/lib/postgresql/15/bin",
    "follows": False,
    "clusters": [],
    "addresses": {HUB: [f"{HUB}/32"], COPY: [f"{COPY}/128"], "hub.invalid": []},
}


def fleet(*, apart: bool = False, replica: bool = False, **told: object) -> dict[str, Any]:
    groups: dict[str, Any] = {
        "index": {"hosts": {"hub": {"ansible_host": HUB}}},
        "builders": {"hosts": {"pi1": {"ansible_host": "192.0.2.9", "fleet_etc_dir": "/srv/etc"}}},
    }
    if apart:
        groups["database"] = {"hosts": {"db": {"ansible_host": DB, "database_names": ["db.invalid", DB]}}}
    if replica:
        groups["database_replicas"] = {"hosts": {"Copy-1": {"ansible_host": COPY}}}
    return {"all": {"vars": {"fleet_index_names": ["hub.invalid", HUB], **told}, "children": groups}}


def ask(place: Path, inventory: object, host: str, words: str, *more: str) -> Any:
    """What a template comes to on a host, by Ansible itself."""
    (place / "hosts.yml").write_text(yaml.safe_dump(inventory))
    command = [str(BIN / "ansible"), "-i", str(place / "hosts.yml"), host, "-m", "debug", "-a", json.dumps({"msg": words})]
    options = ["--playbook-dir", str(ROOT / "playbooks"), *more]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.partition("=>")[2])["msg"]


def rendered(place: Path, inventory: object, host: str, *templates: str) -> list[str]:
    """The role's templates, for a host of that kind."""
    asked = {"__database_asked": {"stdout": json.dumps(HOST)}}
    defaults = [option for part in ("defaults", "vars") for option in ("-e", f"@{ROOT}/roles/database/{part}/main.yml")]
    paths = [str(ROOT / "roles/database/templates" / template) for template in templates]
    words = "{{ [" + ", ".join(f"lookup('ansible.builtin.template', '{path}')" for path in paths) + "] }}"
    told: list[str] = ask(place, inventory, host, words, *defaults, "-e", json.dumps(asked))
    return told


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_without_those_groups_all_is_on_the_index_host(tmp_path: Path) -> None:
    told = ask(tmp_path, fleet(), "hub", "{{ [fleet_database, fleet_database_logins, fleet_database_names] }}")
    assert told[2][0] == "hub.invalid"
    assert told[0]["owner"] == "host=/run/postgresql port=5432 dbname=piwheels user=piwheels_owner"
    assert told[0]["reader"] == "host=/run/postgresql port=5432 dbname=piwheels user=piwheels_reader"
    assert told[1] == {}


def test_the_index_host_reaches_a_database_elsewhere_by_keys_of_its_own(tmp_path: Path) -> None:
    # Replicas are there, and are read from only where somebody says so.
    told = ask(tmp_path, fleet(apart=True, replica=True), "hub", "{{ [fleet_database, fleet_database_logins] }}")
    for role in ("owner", "dispatcher", "publisher", "reader"):
        words = dict(word.split("=", 1) for word in told[0][role].split())
        assert words["host"] == "db.invalid"
        assert words["user"] == f"piwheels_{role}"
        assert words["sslmode"] == "verify-full"
        assert words["sslrootcert"] == "/etc/piwheels-builder/authority.pem"
        assert words["sslcert"] == f"/etc/piwheels-builder/database/{role}.pem"
        assert words["sslkey"] == f"/etc/piwheels-builder/database/{role}.key"
    assert told[1]["publisher"] == "piwheels-publisher"
    assert told[1]["dispatcher"] == "piwheels-dispatcher"


def test_builders_reach_it_where_it_is(tmp_path: Path) -> None:
    vars_of_builders = ["-e", f"@{ROOT}/roles/builder/vars/main.yml"]
    told = ask(tmp_path, fleet(apart=True), "pi1", "{{ builder_databases.systemd }}", *vars_of_builders)
    words = dict(word.split("=", 1) for word in told.split())
    assert (words["host"], words["user"], words["sslmode"]) == ("db.invalid", "builder_pi1", "verify-full")
    assert words["sslrootcert"] == "/srv/etc/ca.pem"


@pytest.mark.parametrize(("apart", "last"), [(True, "db.invalid"), (False, "/run/postgresql")], ids=["apart", "with the index"])
def test_who_only_reads_asks_a_replica_where_told_so(tmp_path: Path, apart: bool, last: str) -> None:
    inventory = fleet(apart=apart, replica=True, fleet_reads_from_replicas=True)
    reader, dispatcher = ask(tmp_path, inventory, "hub", "{{ [fleet_database.reader, fleet_database.dispatcher] }}")
    words = dict(word.split("=", 1) for word in reader.split())
    assert words["host"] == f"{COPY},{last}"
    assert words["target_session_attrs"] == "prefer-standby"
    assert words["sslkey"].endswith("/database/reader.key")
    assert COPY not in dispatcher


def test_rounds_find_the_database_without_the_inventory_that_named_it(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    template = ROOT / "roles/controller/templates/inventory.yml.j2"
    words = f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}"
    told = ask(tmp_path, fleet(apart=True), "hub", words, "-e", f"@{ROOT}/roles/controller/vars/main.yml")
    inventory = yaml.safe_load(told)
    asked = "{{ [hostvars['hub'].fleet_database.publisher, hostvars['hub'].fleet_publication.database, fleet_database_apart] }}"
    found = ask(tmp_path, inventory, "pi1", asked)
    assert found[0].startswith("host=db.invalid ")
    assert found[1] == found[0]
    assert found[2] is True


def test_the_database_lets_in_whom_it_knows_and_every_builder(tmp_path: Path) -> None:
    inventory = fleet(apart=True, replica=True)
    access, identities, firewall, settings = rendered(
        tmp_path, inventory, "db", "pg_hba.conf.j2", "pg_ident.conf.j2", "firewall.nft.j2", "postgresql.conf.j2"
    )
    assert lines(access)[2:] == [
        *(f"hostssl piwheels piwheels_{role} {HUB}/32 cert" for role in ("owner", "dispatcher", "publisher", "reader")),
        f"hostssl replication piwheels_replica {COPY}/128 cert",
        "host all piwheels_owner all reject",
        "hostssl piwheels +piwheels_builder all cert",
    ]
    # Those users are not on this host: whoever has their names here must not get their roles.
    assert lines(identities) == [
        "fleet postgres postgres",
        *(
            f"fleet root {role}"
            for role in ("postgres", "piwheels_owner", "piwheels_dispatcher", "piwheels_publisher", "piwheels_reader")
        ),
    ]
    free = [line for line in lines(firewall) if line.endswith("accept")]
    assert f"tcp dport 5432 ip saddr {HUB}/32 accept" in free
    assert f"tcp dport 5432 ip6 saddr {COPY}/128 accept" in free
    assert "max_slot_wal_keep_size = 4096MB" in lines(settings)
    assert not [line for line in lines(settings) if line.startswith("primary_")]


def test_a_replica_lets_in_who_reads_and_follows_by_its_own_key(tmp_path: Path) -> None:
    access, settings = rendered(tmp_path, fleet(apart=True, replica=True), "Copy-1", "pg_hba.conf.j2", "postgresql.conf.j2")
    assert lines(access)[2:] == [f"hostssl piwheels piwheels_reader {HUB}/32 cert"]
    told = "\n".join(lines(settings))
    assert "primary_conninfo = 'host=db.invalid port=5432 user=piwheels_replica application_name=Copy-1 sslmode=verify-full" in told
    assert "sslkey=/etc/piwheels-builder/database/replica.key'" in told
    assert f"primary_slot_name = '{slot_of('Copy-1')}'" in told


def test_the_index_host_lets_nobody_new_in_where_it_has_the_database(tmp_path: Path) -> None:
    access, identities, settings = rendered(tmp_path, fleet(), "hub", "pg_hba.conf.j2", "pg_ident.conf.j2", "postgresql.conf.j2")
    assert lines(access)[2:] == ["host all piwheels_owner all reject", "hostssl piwheels +piwheels_builder all cert"]
    assert "fleet piwheels-publisher piwheels_publisher" in lines(identities)
    assert "max_wal_senders" not in settings
    (access,) = rendered(tmp_path, fleet(replica=True), "hub", "pg_hba.conf.j2")
    assert f"hostssl replication piwheels_replica {COPY}/128 cert" in lines(access)


def test_a_host_describes_its_clusters_and_whom_it_knows(tmp_path: Path) -> None:
    program = tmp_path / "pg_lsclusters"
    data = tmp_path / "data"
    data.mkdir()
    (data / "standby.signal").touch()
    program.write_text(f"#!/bin/sh\necho '15 main 5433 online postgres {data} /var/log/x.log'\n")
    program.chmod(0o755)
    script = ROOT / "roles/database/files/describe.py"
    command = [sys.executable, str(script), "5433", "127.0.0.1", "::1", "nobody.invalid"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    told = json.loads(done.stdout)
    assert told["unit"] == "postgresql@15-main.service"
    assert told["data_dir"] == str(data)
    assert told["follows"] is True
    assert told["addresses"] == {"127.0.0.1": ["127.0.0.1/32"], "::1": ["::1/128"], "nobody.invalid": []}
