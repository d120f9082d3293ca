# ruff: noqa: E501 - the scripts of strangers
"""Attacks that write where builds do not write."""

from dataclasses import replace

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, in_script, provable, script

ATTACKS: tuple[Attack, ...] = (
    provable(
        "bashrc",
        "puts a command into the .bashrc, the .profile and the authorized_keys of whoever runs the builder",
        """
        for name in ('.bashrc', '.profile', '.ssh/authorized_keys', '.config/pip/pip.conf', '.ssh/rc', '.netrc'):
            for home in (W['home'], '/root', '/home/builder', '/home/pi'):
                write(home + '/' + name if home == W['home'] else home + '/' + name + W['mark'], 'echo pwned')
        """,
    ),
    in_script(
        "system_files",
        "writes to /etc, /usr, /bin, /lib, /var, /sys and the root of the file system",
        """
        for place in ('/etc', '/usr', '/usr/bin', '/usr/local/bin', '/usr/lib', '/bin', '/sbin', '/lib', '/var', '/var/lib', '/sys', '/run',
                      '/opt', '/srv', '/boot', '/mnt', '/', '/dev', '/proc', '/driver', '/slot', '/etc/cron.d', '/etc/ld.so.conf.d'):
            name = os.path.join(place, W['mark'])
            try:
                open(name, 'w').close()
            except OSError as error:
                lost(name, error)
            else:
                won('wrote', name)
        for name in ('/etc/passwd', '/etc/ld.so.cache', '/etc/hosts', '/bin/sh', '/usr/bin/gcc', '/usr/bin/python3', '/proc/sys/kernel/hostname',
                     '/proc/sysrq-trigger', '/proc/1/oom_score_adj'):
            try:
                open(name, 'a').write('x')
            except OSError as error:
                lost(name, error)
            else:
                won('wrote', name)
        """,
    ),
    in_script(
        "write_environment",
        "changes modules, programs and .pth files below /env, so that the next build is changed",
        """
        import glob
        os.system('chmod -R u+w /env 2>/dev/null')
        for name in glob.glob('/env/**', recursive=True):
            if os.access(name, os.W_OK) and not os.path.islink(name):
                won('may write', name)
        for name in ('/env/lib/evil.pth', '/env/bin/python', '/env/bin/gcc', '/env/pyvenv.cfg', os.__file__,
                     sys.modules['setuptools'].__file__ if 'setuptools' in sys.modules else '/env/lib/x.py'):
            try:
                open(name, 'a').write('#')
            except OSError as error:
                lost(name, error)
            else:
                won('wrote', name)
        """,
    ),
    provable(
        "checkout",
        "changes the checkout that the builder runs from",
        """
        write(W['checkout'] + '/builder/build.py', 'import os')
        write(W['real_checkout'] + '/' + W['mark'], 'evil') if 'sandbox' not in W else None
        write(W['checkout'] + '/builder/sitecustomize.py', 'evil')
        """.replace(" if 'sandbox' not in W else None", " if os.path.isdir('/driver') else None"),
    ),
    provable(
        "spool",
        "orders builds, forges results and forgets others by writing to the spool and the outbox",
        """
        for name in ('spool/lease.json', 'spool/new.json', 'outbox/1/attempt.json', 'outbox/2', 'lock', 'status.json'):
            write(W['state'] + '/' + name, '{}')
        """,
    ),
    provable(
        "other_builds_files",
        "changes the source and the wheel of the build in another slot",
        """
        write(W['other_build'] + '/opened/build/src/secret.py', 'import evil')
        write(W['other_build'] + '/opened/build/wheels/other-1.0-py3-none-any.whl', 'evil')
        """,
    ),
    provable(
        "hardlinks_and_links",
        "links files of the host into its own directories, and writes through them",
        """
        here = os.getcwd()
        for name in (W['outside'] + '/beside', W['home'] + '/.bashrc', '/etc/passwd' + W['mark']):
            for link in (os.link, os.symlink):
                place = os.path.join(here, link.__name__ + os.path.basename(name))
                tried(link.__name__, link, name, place)
                tried('through', lambda: open(place, 'r+').write('evil'))
        """,
    ),
    replace(
        in_script(
            "left_behind",
            "leaves files in /tmp, /var/tmp, /dev/shm, at home and above its source for the next build",
            """
            for place in ('/tmp', '/var/tmp', '/dev/shm', '/build', '/build/home', '/build/src', '/build/wheels'):
                write(place + '/' + W['mark'], 'x')
            with open('/build/home/.pydistutils.cfg', 'w') as file:
                file.write('[build]\\nbuild_base = /build/nowhere')
            """,
            says="got: write /dev/shm",
        ),
        then=script(
            """
            import glob
            for place in ('/tmp', '/var/tmp', '/dev/shm', '/build', '/build/home', '/build/src', '/build/wheels', '/slot'):
                if os.path.lexists(place + '/' + W['mark']):
                    won('found', place)
            if os.path.exists('/build/home/.pydistutils.cfg'):
                won('found settings')
            """
        ),
    ),
    in_script(
        "shared_memory",
        "leaves System V shared memory, semaphores and message queues, and a POSIX queue, behind",
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        print('made', libc.shmget(W['key'], 4096, 0o1777), libc.semget(W['key'], 1, 0o1777), libc.msgget(W['key'], 0o1777))
        import os.path
        tried('posix', lambda: libc.mq_open(('/' + W['mark']).encode(), os.O_CREAT | os.O_RDWR, 0o777, None))
        """,
        says="made",
    ),
    in_script(
        "awkward_directories",
        "leaves directories that nobody can enter, and 3,000 of them in each other, so that its area can't be removed",
        """
        os.mkdir('/build/home/closed'); os.mkdir('/build/home/closed/inner'); os.chmod('/build/home/closed', 0)
        os.chdir('/build/home')
        for _ in range(3000):
            os.mkdir('d'); os.chdir('d')
        raise SystemExit('done')
        """,
        Outcome.BUILD_ERROR,
        Outcome.DISK_LIMIT,
    ),
)
