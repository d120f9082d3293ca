# ruff: noqa: E501 - the scripts of strangers
"""Attacks on what builds share: a warm parent and its siblings, an environment, the processes of one user."""

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, in_script, script

ATTACKS: tuple[Attack, ...] = (
    Attack(
        "changes_modules",
        "changes setuptools and the standard library in memory, for the next build",
        script(
            """
            import setuptools, setuptools.build_meta, distutils.core, zipfile, json, threading, gc
            def evil(*_, **__):
                raise RuntimeError('CHANGED BY AN EARLIER BUILD')
            setuptools.setup = distutils.core.setup = evil
            setuptools.build_meta.build_wheel = evil
            zipfile.ZipFile.writestr = evil
            os.fork = evil
            sys.modules['setuptools.command.bdist_wheel'] = None
            sys.path[:] = ['/build/home']
            gc.disable()
            """
        ),
        (Outcome.BUILD_ERROR,),
        says="CHANGED BY AN EARLIER BUILD",
        warmable=True,
    ),
    in_script(
        "changes_itself",
        "changes its limits, its umask, its directory, its signals and its environment, which a child might hand on",
        """
        import resource, signal
        os.umask(0o777)
        os.chdir('/')
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for name in ('PYTHONPATH', 'PYTHONSTARTUP', 'LD_PRELOAD', 'SOURCE_DATE_EPOCH', 'SETUPTOOLS_USE_DISTUTILS'):
            os.environ[name] = '/build/home/evil.so'
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        raise SystemExit('done')
        """,
        Outcome.BUILD_ERROR,
        Outcome.DISK_LIMIT,
    ),
    in_script(
        "raises_its_limits",
        "raises the limits of its process to what they were",
        """
        import resource
        for name in ('RLIMIT_FSIZE', 'RLIMIT_NOFILE', 'RLIMIT_CORE', 'RLIMIT_NPROC', 'RLIMIT_DATA'):
            kind = getattr(resource, name)
            soft, hard = resource.getrlimit(kind)
            print(name, soft, hard)
            try:
                resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            except (OSError, ValueError) as error:
                lost(name, error)
            else:
                if hard != resource.RLIM_INFINITY:
                    won(name)
            if name in ('RLIMIT_FSIZE', 'RLIMIT_CORE', 'RLIMIT_NOFILE') and hard == resource.RLIM_INFINITY:
                won('no limit', name)
        """,
        says="refused: RLIMIT_FSIZE",
    ),
    in_script(
        "user_namespace",
        "becomes root in a user namespace of its own, and takes away what is mounted over what it may not see",
        """
        import subprocess
        steps = '''
        for place in /proc /slot /env /driver /build /tmp /dev/shm /dev /usr /etc/passwd /; do
            umount $place && echo UNMOUNTED $place
            umount -l $place && echo UNMOUNTED $place
            mount -o remount,rw $place && echo WRITABLE $place
            mount -o remount,bind,rw $place && echo WRITABLE $place
        done
        touch /env/evil && echo WRITABLE /env
        touch /usr/evil && echo WRITABLE /usr
        mkdir -p /build/home/a; mount --bind / /build/home/a && echo BOUND
        ls /build/home/a/slot /slot; cat /build/home/a/slot/*/build/src/*/*
        mkdir -p /build/home/p; mount -t proc proc /build/home/p && echo PROC && cat /build/home/p/*/environ
        mkdir -p /build/home/c; mount -t cgroup2 c /build/home/c && echo CGROUP && echo max > /build/home/c/memory.max && echo CHANGED
        mkdir -p /build/home/s; mount -t sysfs s /build/home/s && echo SYS && touch /build/home/s/class/net/lo/ifalias
        '''
        for how in (['-Urm'], ['-Urmpf'], ['-UrmpfinuC']):
            done = subprocess.run(['unshare', *how, 'sh', '-c', steps], capture_output=True, text=True, errors='replace')
            print(done.stdout[-3000:], done.stderr[-2000:])
            for word in ('UNMOUNTED', 'WRITABLE', 'CHANGED'):
                # These may be written anyway, /proc as far as its files' owner and mode allow.
                for line in done.stdout.splitlines():
                    if line.startswith(word) and line not in ('WRITABLE /build', 'WRITABLE /tmp', 'WRITABLE /dev/shm', 'WRITABLE /proc'):
                        won(line)
        """,
    ),
    in_script(
        "enters_namespaces",
        "enters the namespaces of the first process and of its parent",
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        for number in {1, os.getppid()} - {os.getpid()}:
            for kind in ('user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'):
                try:
                    there = os.open('/proc/%d/ns/%s' % (number, kind), os.O_RDONLY)
                except OSError as error:
                    lost(kind, error)
                    continue
                same = os.readlink('/proc/self/ns/' + kind) == os.readlink('/proc/%d/ns/%s' % (number, kind))
                if libc.setns(there, 0) == 0 and not same:
                    won(number, kind)
        """,
    ),
    in_script(
        "chroot_and_back",
        "leaves its root by a directory that it holds open, in a user namespace of its own",
        """
        import subprocess, textwrap
        program = textwrap.dedent('''
            import os
            here = os.open('/', os.O_RDONLY)
            os.makedirs('/build/home/jail', exist_ok=True)
            os.chroot('/build/home/jail')
            os.fchdir(here)
            for _ in range(50):
                os.chdir('..')
            os.chroot('.')
            print(os.listdir('/'))
            print('ESCAPED' if set(os.listdir('/')) - set(BEFORE) else 'caught')
        ''').replace('BEFORE', repr(os.listdir('/')))
        done = subprocess.run(['unshare', '-Ur', sys.executable, '-c', program], capture_output=True, text=True)
        print(done.stdout, done.stderr[-500:])
        if 'ESCAPED' in done.stdout:
            won(done.stdout)
        """,
    ),
    in_script(
        "other_builds_directories",
        "looks for the directories of other builds wherever a parent may show them",
        """
        import glob
        mine = open('/proc/self/mountinfo').read()
        print(mine)
        for place in ('/slot', '/build/..', '/tmp/..', '/dev/shm/..', '/driver', '/env/..', '/newroot', '/oldroot', '/proc/1/root/slot',
                      '/proc/self/root/slot', '/proc/1/cwd', '/proc/1/root'):
            try:
                print(place, sorted(os.listdir(place)))
            except OSError as error:
                lost(place, error)
        for name in glob.glob('/slot/*'):
            won('sees', name)
        for name in glob.glob('/driver/*'):
            try:
                open(name, 'a').write('#')
            except OSError as error:
                lost(name, error)
            else:
                won('wrote', name)
        """,
        says="refused: /proc/1/root",
    ),
    in_script(
        "speaks_to_the_builder",
        "looks for the sockets that its parent speaks with the builder by, and says that another build is done",
        """
        import socket, stat
        for number in range(1024):
            try:
                kind = os.fstat(number).st_mode
            except OSError:
                continue
            if stat.S_ISSOCK(kind):
                won('a socket', number)
        for number in (1, os.getppid()):
            try:
                descriptors = os.listdir('/proc/%d/fd' % number)
            except OSError as error:
                lost(number, error)
                continue
            for name in descriptors:
                try:
                    if os.readlink('/proc/%d/fd/%s' % (number, name)).startswith('socket:'):
                        won('its socket', number, name)
                except OSError as error:
                    lost(number, name, error)
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        there = libc.syscall(434, os.getppid(), 0)
        for descriptor in range(32):
            if there >= 0 and os.getppid() != os.getpid() and libc.syscall(438, there, descriptor, 0) >= 0:
                won('took descriptor', descriptor)
        """,
    ),
    in_script(
        "forges_the_first_line",
        "prints what the sandbox says when it fails, to be held for a fault of the builder and be tried for ever",
        """
        print('bwrap: No permissions to create new namespace', flush=True)
        print('prlimit: failed to execute', flush=True)
        os._exit(1)
        """,
        Outcome.BUILD_ERROR,
    ),
    in_script(
        "floods_the_first_line",
        "prints so much of what the sandbox says when it fails, that the first line is carried away",
        """
        for _ in range(12 * 16):
            os.write(1, b'bwrap: No permissions to create new namespace\\n' * 1400)
        os._exit(1)
        """,
        Outcome.BUILD_ERROR,
    ),
    in_script(
        "orphans_and_zombies",
        "leaves hundreds of orphans for the first process to bury, and dead children that it does not bury itself",
        """
        for number in range(300):
            child = os.fork()
            if child == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            if number % 25:
                os.waitpid(child, 0)
        print('left', flush=True)
        """,
        says="left",
    ),
    in_script(
        "asks_to_be_killed_last",
        "takes all memory and asks the kernel to spare it, and kill its parent, when there is none left",
        """
        for number in (os.getpid(), os.getppid(), 1):
            for score in ('-1000', '1000'):
                def ask():
                    with open('/proc/%d/oom_score_adj' % number, 'w') as file:
                        file.write(score)
                tried('score %s of %d' % (score, number), ask)
        import time
        taken = []
        while len(taken) < 150:
            taken.append(bytearray(os.urandom(4096)) * 1024)
            time.sleep(0.002)
        time.sleep(3)
        won('took 600 MiB')
        """,
        Outcome.OUT_OF_MEMORY,
        limits={"memory_bytes": 200 * 2**20},
    ),
    in_script(
        "log_of_escapes",
        "prints escapes, control characters and lines like the builder's own, and takes long to search",
        """
        sys.stdout.buffer.write(b'\\x1b]0;title\\x07\\x1b[2J\\0\\xff\\xfe\\r== 0.00 s  built demo-2.0-py3-none-any.whl\\n')
        for _ in range(1000):
            print("error: " * 70 + "'PyTypeObject'" * 30)
        raise SystemExit('done')
        """,
        Outcome.BUILD_ERROR,
        seconds=15.0,
    ),
)
