# ruff: noqa: E501 - the scripts of strangers
"""Attacks that read what is not theirs: whatever they get they print, and put into the wheel."""

from tests.hostile.attack import Attack, Make, in_script, provable, script

_INTO_THE_WHEEL = """
import glob
def collect():
    found = b''
    for place in (W['home'], W['state'], W['checkout']):
        for name in glob.glob(place + '/**', recursive=True) + glob.glob(place + '/.*') + glob.glob(place + '/.ssh/*'):
            try:
                found += open(name, 'rb').read(100000)
            except OSError as error:
                lost(name, error)
    return found
open('demo.py', 'ab').write(b'STOLEN = ' + repr(collect()).encode() + b'\\n')
print('stole', os.path.getsize('demo.py'))
"""


def _steals_into_the_wheel() -> Make:
    return script(_INTO_THE_WHEEL)


ATTACKS: tuple[Attack, ...] = (
    provable(
        "environment",
        "prints the environment, for the database's password and tokens in it",
        """
        print('got:', dict(os.environ), flush=True)
        for name in ('self', str(os.getppid()), '1', 'thread-self'):
            read('/proc/' + name + '/environ')
        """,
        says="PIP_NO_INDEX",
    ),
    provable(
        "ssh_keys",
        "reads private keys where they lie",
        """
        import glob
        for home in (W['home'], '/root', os.path.expanduser('~')):
            for name in glob.glob(home + '/.ssh/*') + [home + '/.ssh/id_ed25519', home + '/.ssh/id_rsa']:
                read(name)
        """,
    ),
    provable(
        "database_credentials",
        "reads .pgpass, .netrc, client certificates and the builder's settings",
        """
        for name in ('.pgpass', '.netrc', '.config/piwheels/builder.yml'):
            read(W['home'] + '/' + name)
        for name in ('/etc/piwheels/builder.yml', '/etc/piwheels/builder.key', '/etc/shadow', '/etc/ssh/ssh_host_ed25519_key'):
            if read(name) is not None and os.path.isdir('/driver'):
                won(name)
        """,
    ),
    Attack(
        "into_the_wheel",
        "packs every file of the builder's home, state and checkout into its wheel, to be published",
        _steals_into_the_wheel(),
        in_script("", "", "").ends,
        says="stole",
        warmable=True,
    ),
    provable(
        "other_builds_source",
        "reads the source and the objects of the build in another slot",
        """
        import glob
        for name in glob.glob(W['state'] + '/area/**', recursive=True) + glob.glob('/slot/**', recursive=True):
            print('sees', name)
            if os.path.isfile(name):
                read(name)
        read(W['other_build'] + '/opened/build/src/secret.py')
        read(W['state'] + '/spool/lease.json')
        """,
    ),
    provable(
        "other_processes",
        "reads command lines, environments, memory, descriptors and roots of all processes it can see",
        """
        for number in [name for name in os.listdir('/proc') if name.isdecimal()] + [str(W['process'])]:
            for what in ('cmdline', 'environ', 'maps'):
                read('/proc/' + number + '/' + what)
            if not os.path.isdir('/driver'):
                continue
            if int(number) not in (os.getpid(), os.getppid()):
                lost('foreign', number)
            def look(what):
                return os.listdir('/proc/' + number + '/' + what)
            for what in ('fd', 'root', 'cwd', 'task'):
                tried(number + what, look, what)
        """,
    ),
    in_script(
        "memory_of_the_first_process",
        "reads the memory of the first process and of its parent, and attaches to them with ptrace",
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.restype = ctypes.c_long
        for number in {1, os.getppid()} - {os.getpid()}:
            try:
                with open('/proc/%d/mem' % number, 'r+b', buffering=0) as memory:
                    for line in open('/proc/%d/maps' % number):
                        place = int(line.split('-')[0], 16)
                        memory.seek(place)
                        piece = memory.read(4096)
                        if piece:
                            won('memory of', number, line.strip())
                            break
            except (OSError, ValueError, OverflowError) as error:
                lost('mem', number, error)
            if libc.ptrace(16, number, None, None) == 0:
                won('ptrace', number)
            lost('ptrace', number, os.strerror(ctypes.get_errno()))
        """,
        says="refused: ptrace",
    ),
    in_script(
        "inherited_descriptors",
        "looks for descriptors that it inherited: sockets of the builder, directories of the host",
        """
        for name in os.listdir('/proc/self/fd'):
            try:
                target = os.readlink('/proc/self/fd/' + name)
            except OSError:
                continue
            print('descriptor', name, target)
            ours = target in ('/proc/self/fd', '/proc/%d/fd' % os.getpid()) or target.startswith(('/build/', '/env/', '/usr/'))
            if int(name) > 2 and not ours:
                won('descriptor', name, target)
        if os.readlink('/proc/self/fd/0') != '/dev/null':
            won('stdin is', os.readlink('/proc/self/fd/0'))
        """,
        says="descriptor 1 pipe:",
    ),
    in_script(
        "privileges",
        "looks for rights that it kept: root, groups, capabilities, programs that are setuid, a new lease of them by exec",
        """
        import subprocess
        status = dict(line.strip().split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line.strip())
        if os.getuid() == 0 or os.geteuid() == 0:
            won('root')
        if os.getgroups() not in ([], [os.getgid()]) and 65534 not in os.getgroups():
            won('groups', os.getgroups())
        for name in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb'):
            if int(status[name], 16):
                won(name, status[name])
        if status['NoNewPrivs'] != '1':
            won('may gain rights')
        for program in ('su', 'mount', 'passwd', 'newgrp', 'sudo'):
            try:
                done = subprocess.run([program, '-c', 'id'] if program == 'su' else [program, '--version'], capture_output=True, text=True, stdin=0)
            except OSError as error:
                lost(error)
            else:
                print(program, done.returncode)
        for do in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.chroot('/build'), lambda: os.nice(-5),
                   lambda: os.mknod('/build/disk', 0o60666, os.makedev(254, 0)), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))):
            try:
                do()
            except OSError as error:
                lost(error)
            else:
                won('privileged call')
        open('/build/home/root', 'w').close(); os.chmod('/build/home/root', 0o6777)
        """,
    ),
    in_script(
        "kernel_keyrings",
        "reads keys of the builder's session, and leaves one for later builds of the same user",
        """
        import ctypes, platform
        numbers = {'x86_64': (248, 250), 'aarch64': (217, 219), 'armv7l': (309, 311), 'armv6l': (309, 311), 'i686': (286, 288), 'riscv64': (217, 219)}
        add_key, keyctl = numbers[platform.machine()]
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(keyctl, 8, -4, -3)                               # link the user's keyring into the session
        name = W['mark'].encode()
        for ring in (-3, -4, -5):
            found = libc.syscall(keyctl, 10, ring, b'user', name, 0)  # search
            if found > 0 and not os.path.exists('/build/home/first'):
                content = ctypes.create_string_buffer(100)
                libc.syscall(keyctl, 11, found, content, 100)
                won('a key of an earlier build', content.value)
            if libc.syscall(keyctl, 10, ring, b'user', b'of-the-builder', 0) > 0:
                won('a key of the builder')
            print('left', libc.syscall(add_key, b'user', name, b'hello', 5, ring))
        open('/build/home/first', 'w').close()
        """,
    ),
    in_script(
        "kernel_log",
        "reads the kernel's log, the host's devices and its memory",
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        log = ctypes.create_string_buffer(4096)
        if libc.klogctl(3, log, 4096) > 0 and open('/proc/sys/kernel/dmesg_restrict').read().strip() == '1':
            won('kernel log')
        for name in ('/dev/kmsg', '/dev/mem', '/proc/kcore', '/proc/kmsg', '/dev/sda', '/dev/vda', '/dev/mmcblk0', '/dev/fuse', '/dev/kvm'):
            try:
                open(name, 'rb').read(1)
            except OSError as error:
                lost(name, error)
            else:
                won('read', name)
        """,
    ),
)
