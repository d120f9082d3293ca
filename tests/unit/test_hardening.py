"""is-safe, which sshd's drop-in must pass before it is put in place. What sshd itself says of it is shown on the rack."""

import subprocess
from pathlib import Path

import pytest

IS_SAFE = Path(__file__).parents[2] / "roles/hardening/files/is-safe"


@pytest.mark.parametrize(
    ("connection", "login", "refused"), [("ssh", "password", True), ("ssh", "key", False), ("local", "password", False)]
)
def test_who_logs_in_by_a_password_is_not_locked_out(tmp_path: Path, connection: str, login: str, refused: bool) -> None:
    # sshd accepts no file that is not there: who comes that far was not refused for the password.
    command = ["sh", str(IS_SAFE), str(tmp_path / "none"), connection, login]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"SUDO_USER": "pi", "PATH": "/usr/bin:/bin"})
    assert done.returncode != 0
    assert ("logs in as pi by a password" in done.stderr) == refused
    assert ("ssh-copy-id" in done.stderr) == refused
