"""Attacks on what the kernel itself was told to keep from a build: the filter of system calls, and memory that is no process's."""

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, in_script

#: A function that runs machine code of x86-64, for calls that no library makes: by int 0x80, or with any number at all.
_MACHINE_CODE = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
def call(number, first, second=0, third=0):
    answer = libc.syscall(ctypes.c_long(number), ctypes.c_long(first), ctypes.c_long(second), ctypes.c_long(third))
    return answer if answer >= 0 else -ctypes.get_errno()
def int80(number, first):
    code = b'\\x53' + b'\\xb8' + number.to_bytes(4, 'little') + b'\\xbb' + first.to_bytes(4, 'little') + b'\\xcd\\x80\\x5b\\xc3'
    place = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    place.write(code)
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(place)))()
def apart(do):
    # In a child: what it changes, or dies of, is its own.
    child = os.fork()
    if child == 0:
        before = os.readlink('/proc/self/ns/user')
        answer = do()
        print('answer', answer, flush=True)
        os._exit(7 if os.readlink('/proc/self/ns/user') != before else 0)
    return os.waitpid(child, 0)[1]
"""


def _called(body: str) -> str:
    lines = body.strip("\n").split("\n")
    margin = len(lines[0]) - len(lines[0].lstrip())
    return _MACHINE_CODE + "\n".join(line[margin:] for line in lines)


ATTACKS: tuple[Attack, ...] = (
    in_script(
        "other_system_calls",
        "asks for a user namespace by every way there is into the kernel: flags mixed, clone, clone3, int 0x80, x32",
        _called(
            """
            import platform, struct
            USER, EVERY = 0x10000000, 0x7e020000 & ~0x01000000
            ways = {'mixed': lambda: libc.unshare(USER | 0x20000), 'every': lambda: libc.unshare(EVERY)}
            # Of an argument the kernel takes more bits than a filter may look at.
            ways['high bits'] = lambda: call(272, USER | 1 << 33) if platform.machine() == 'x86_64' else -1
            if platform.machine() == 'x86_64':
                ways['x32'] = lambda: call(0x40000000 | 272, USER)
                ways['int 0x80'] = lambda: int80(310, USER)
            for name, way in ways.items():
                print(name)
                ended = apart(way)
                if os.WIFEXITED(ended) and os.WEXITSTATUS(ended) == 7:
                    won('a user namespace by', name)
            if platform.machine() == 'x86_64':
                child = call(56, USER | 17)
                if child == 0:
                    os._exit(0)
                if child > 0:
                    won('a user namespace by clone')
                wanted = ctypes.create_string_buffer(struct.pack('11Q', USER, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)
                child = call(435, ctypes.addressof(wanted), 88)
                if child == 0:
                    os._exit(0)
                if child > 0:
                    won('a user namespace by clone3')
            """
        ),
        says="every",
    ),
    in_script(
        "takes_the_filter_away",
        "takes the filter of system calls away: by prctl, by seccomp, by a filter on top, by executing something else",
        _called(
            """
            import subprocess
            for arguments in ((22, 0, 0), (22, 1 << 31, 0), (38, 0, 0), (39, 0, 0)):
                print('prctl', arguments, libc.prctl(*arguments))
            for line in open('/proc/self/status'):
                if line.startswith(('Seccomp:', 'NoNewPrivs:')):
                    print(line.strip())
                    if line.split()[1] == '0':
                        won(line)
            allow_all = ctypes.create_string_buffer(bytes([6, 0, 0, 0, 0, 0, 255, 127]), 8)
            import struct
            print('on top', libc.prctl(22, 2, struct.pack('HP', 1, ctypes.addressof(allow_all)), 0, 0))
            for number in range(3):
                done = subprocess.run(['unshare', '-Ur', 'id', '-u'], capture_output=True, text=True)
                if done.stdout.strip() == '0':
                    won('a user namespace')
            if libc.unshare(0x10000000) == 0:
                won('a user namespace')
            """
        ),
        says="Seccomp:",
    ),
    in_script(
        "other_architectures",
        "makes a System V segment by calls of another architecture, whose numbers the filter might not know",
        _called(
            """
            import platform
            if platform.machine() == 'x86_64':
                # shmget and ipc as i386 has them. The kernel may kill for it: then in a child.
                for number in (395, 117):
                    child = os.fork()
                    if child == 0:
                        os._exit(7 if int80(number, 0) >= 0 else 0)
                    ended = os.waitpid(child, 0)[1]
                    print('int 0x80', number, ended)
                    if os.WIFEXITED(ended) and os.WEXITSTATUS(ended) == 7:
                        won('int 0x80', number)
                for number in (29, 248, 250):
                    if call(0x40000000 | number, 0, 4096, 0o1600) >= 0:
                        won('x32', number)
            print('asked')
            """
        ),
        says="asked",
    ),
    in_script(
        "memory_in_semaphores",
        "takes memory in System V semaphores and messages, which is the kernel's and no process's",
        _called(
            """
            import time
            libc.semget.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_int)
            made = sum(libc.semget(0, 32000, 0o1600) >= 0 for _ in range(150))
            message = ctypes.create_string_buffer(b'\\1' + bytes(8007), 8008)
            sent = 0
            for _ in range(1000):
                queue = libc.msgget(0, 0o1600)
                sent += queue >= 0 and libc.msgsnd(queue, message, 8000, 0o4000) == 0
            time.sleep(1)
            if made * 32000 * 64 + sent * 8000 > 250 * 2**20:
                won('has', made, 'sets', sent, 'messages')
            """
        ),
        Outcome.BUILT,
        Outcome.OUT_OF_MEMORY,
        limits={"memory_bytes": 200 * 2**20},
    ),
)
