"""Machines that boot from the network: as root, in ``make acceptance-full``."""

import os

import pytest

#: Half an hour, most of it an emulated processor's: only where it was asked for by name or by make acceptance-full.
collect_ignore_glob = [] if os.environ.get("ACCEPTANCE") == "full" else ["test_netbooted_machine.py"]


def pytest_configure() -> None:
    if os.geteuid() != 0:
        pytest.exit("machines that boot need root: they are on networks of their own. Run this with sudo.", returncode=77)
