"""Sdists that ask a person, who is not there."""

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, in_script

ATTACKS: tuple[Attack, ...] = (
    in_script("input", "asks whether to go on", "input('Continue? ')", Outcome.PROMPTED),
    in_script("getpass", "asks for a password", "import getpass; getpass.getpass()", Outcome.PROMPTED),
    in_script(
        "git_clone",
        "clones a private repository, for which git asks who one is",
        """
        import subprocess
        subprocess.check_call(['git', 'clone', 'https://host.invalid/private.git'])
        """,
        Outcome.NEEDS_NETWORK,
        Outcome.PROMPTED,
        Outcome.MISSING_PROGRAM,
    ),
    in_script(
        "ssh",
        "logs in somewhere by ssh, which asks whether the host is the right one",
        """
        import subprocess
        subprocess.check_call(['ssh', 'git@host.invalid', 'true'])
        """,
        Outcome.NEEDS_NETWORK,
        Outcome.BUILD_ERROR,
        Outcome.MISSING_PROGRAM,
    ),
    in_script(
        "tty",
        "asks on the terminal of whoever started the builder, and types into it",
        """
        import fcntl, termios
        try:
            terminal = os.open('/dev/tty', os.O_RDWR)
        except OSError as error:
            lost(error)
        else:
            won('a terminal')
        for descriptor in (0, 1, 2):
            try:
                fcntl.ioctl(descriptor, termios.TIOCSTI, b'x')
            except OSError as error:
                lost(error)
            else:
                won('typed')
        """,
    ),
)
