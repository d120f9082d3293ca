"""Files of a builder that programs other than ours read."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest

TEMPLATES = Path(__file__).parents[2] / "roles/builder/templates"


def rendered(name: str, **variables: Any) -> str:
    """As Ansible would."""
    text = (TEMPLATES / name).read_text()
    return str(jinja2.Template(text, trim_blocks=True).render(ansible_managed="", **variables))


def test_values_of_the_environment_stay_what_they_are() -> None:
    values = {"https_proxy": "http://me:p%40s$s@proxy.invalid", "ODD": 'a "b" \\c  # d', "NUMBER": 3}
    lines = rendered("builder.env.j2", builder_environment=values).splitlines()[1:]
    assert len(lines) == len(values)
    # systemd reads double quotes as a shell does, and expands nothing.
    assert [shlex.split(line) for line in lines] == [[f"{name}={value}"] for name, value in values.items()]


def test_a_unit_that_everybody_reads_holds_no_environment() -> None:
    unit = rendered(
        "piwheels-builder.service.j2",
        builder_environment={"https_proxy": "http://me:secret@proxy.invalid"},
        builder_environment_file="/etc/piwheels-builder/builder.env",
        builder_netbooted={},
        builder_sandbox=False,
    )
    assert "secret" not in unit
    assert "EnvironmentFile=/etc/piwheels-builder/builder.env\n" in unit


@pytest.fixture
def rules() -> str:
    text = (TEMPLATES / "firewall.nft.j2").read_text().replace("| regex_replace('%.*', '')", "")
    variables = {"builder_first_build_uid": 90001, "builder_slots_used": 4}
    resolvers = {"resolvers": ["192.168.1.1", "fd00::1"]}
    return str(jinja2.Template(text, trim_blocks=True).render(ansible_managed="", builder_surveyed=resolvers, **variables))


def test_a_builds_host_is_refused_on_any_address_before_the_web_is_let_through(rules: str) -> None:
    lines = [line.strip() for line in rules.splitlines()]
    own = lines.index("fib daddr type local goto refused")
    assert max(number for number, line in enumerate(lines) if "daddr fd00::1" in line or "192.168.1.1" in line) < own
    assert own < lines.index("tcp dport { 80, 443 } counter accept")


def test_nft_takes_the_rules(rules: str, tmp_path: Path) -> None:
    nft = shutil.which("nft", path="/usr/sbin:/sbin")
    if nft is None or subprocess.run([nft, "list", "ruleset"], capture_output=True, check=False).returncode:
        pytest.skip("needs nft and the right to use it")
    (tmp_path / "rules").write_text(rules)
    done = subprocess.run([nft, "-c", "-f", str(tmp_path / "rules")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
