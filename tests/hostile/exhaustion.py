# ruff: noqa: E501 - the scripts of strangers
"""Attacks that use things up. Each stops by itself at a size that this machine can bear: then it says that it won."""

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, in_script
from tests.support.chaos import LONG

MIB = 2**20
#: The long form has the sizes of a real attack.
_SCALE = 3 if LONG else 1
_MEMORY = {"memory_bytes": 200 * MIB * _SCALE}
_DISK = {"disk_bytes": 100 * MIB * _SCALE, "disk_files": 50_000 if LONG else 5_000}
_PROCESSES = {"processes": 100 * _SCALE}
#: Where an attack on memory, disk and processes ends by itself.
_MOST = (
    f"MEMORY, DISK, FILES, PROCESSES = {700 * MIB * _SCALE}, {600 * MIB * _SCALE}, {250_000 if LONG else 25_000}, {500 * _SCALE}\n"
)


def _greedy(name: str, tries: str, body: str, *ends: Outcome, **rest: object) -> Attack:
    # The definition comes first and the body is indented as it stands: both are at the margin when they are run.
    lines = body.strip("\n").split("\n")
    margin = len(lines[0]) - len(lines[0].lstrip())
    return in_script(name, tries, _MOST + "\n".join(line[margin:] for line in lines), *ends, **rest)


ATTACKS: tuple[Attack, ...] = (
    _greedy(
        "memory",
        "takes more memory than it may have, in one process",
        """
        import time
        taken = []
        while len(taken) * 4 * 2**20 < MEMORY:
            taken.append(bytearray(os.urandom(4096)) * 1024)
            time.sleep(0.002)
        won('took', MEMORY)
        """,
        Outcome.OUT_OF_MEMORY,
        limits=_MEMORY,
    ),
    _greedy(
        "memory_of_many",
        "takes more memory than it may have, a little in each of many processes",
        """
        import time
        for number in range(40):
            if os.fork() == 0:
                taken = bytearray(os.urandom(4096)) * (MEMORY // 40 // 4096)
                time.sleep(600)
        time.sleep(8)
        won('took', MEMORY)
        """,
        Outcome.OUT_OF_MEMORY,
        limits=_MEMORY,
    ),
    _greedy(
        "memory_in_files",
        "takes memory that belongs to no process's size: files in memory (memfd), never mapped",
        """
        import time
        kept = []
        for number in range(MEMORY // (16 * 2**20)):
            kept.append(os.memfd_create('x'))
            for _ in range(16):
                os.write(kept[-1], b'x' * 2**20)
            time.sleep(0.02)
        time.sleep(5)
        won('took', MEMORY)
        """,
        Outcome.OUT_OF_MEMORY,
        Outcome.BUILD_ERROR,
        limits=_MEMORY,
    ),
    _greedy(
        "memory_in_a_file_system",
        "makes a user namespace of its own, mounts a file system in memory there, and fills it",
        """
        import subprocess
        fill = 'mount -t tmpfs -o size=4g x /build/home && dd if=/dev/zero of=/build/home/x bs=1M count=%d && sleep 5 && echo FILLED' % (MEMORY // 2**20)
        done = subprocess.run(['unshare', '-Urm', 'sh', '-c', fill], capture_output=True, text=True)
        print(done.stdout, done.stderr)
        if 'FILLED' in done.stdout:
            won('filled', MEMORY)
        """,
        Outcome.OUT_OF_MEMORY,
        Outcome.BUILT,
        Outcome.DISK_LIMIT,
        limits=_MEMORY,
    ),
    _greedy(
        "memory_in_shared_segments",
        "takes memory in System V segments that no process is attached to",
        """
        import ctypes, time
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        for number in range(MEMORY // (16 * 2**20)):
            segment = libc.shmget(0, 16 * 2**20, 0o1600)
            place = libc.shmat(segment, None, 0)
            if segment < 0 or place in (None, ctypes.c_void_p(-1).value):
                raise MemoryError(os.strerror(ctypes.get_errno()))
            ctypes.memset(place, 1, 16 * 2**20)
            libc.shmdt(ctypes.c_void_p(place))
            time.sleep(0.02)
        time.sleep(5)
        won('took', MEMORY)
        """,
        Outcome.OUT_OF_MEMORY,
        limits=_MEMORY,
    ),
    _greedy(
        "fork_bomb",
        "starts processes until the machine has no more",
        """
        import time
        for number in range(PROCESSES):
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
        time.sleep(5)
        won('started', PROCESSES)
        """,
        Outcome.PROCESS_LIMIT,
        limits=_PROCESSES,
    ),
    _greedy(
        "fork_bomb_that_persists",
        "forks without end, and forks again whenever it is refused",
        """
        import time
        ends = time.time() + 10
        alive = open('/build/home/alive', 'ab', buffering=0)
        while time.time() < ends and alive.tell() < PROCESSES:
            try:
                if os.fork() == 0:
                    alive.write(b'x')
                    time.sleep(0.05)
            except OSError:
                time.sleep(0.01)
            alive.seek(0, 2)
        time.sleep(3)
        won('forked', alive.tell())
        """,
        Outcome.PROCESS_LIMIT,
        limits=_PROCESSES,
    ),
    _greedy(
        "thread_bomb",
        "starts threads until the machine has no more",
        """
        import threading, time
        threading.stack_size(64 * 1024)
        for number in range(PROCESSES):
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        time.sleep(5)
        won('started', PROCESSES)
        """,
        Outcome.PROCESS_LIMIT,
        limits=_PROCESSES,
    ),
    _greedy(
        "disk",
        "fills the disk with one file after the other",
        """
        import time
        for number in range(DISK // (8 * 2**20)):
            with open('/build/home/%d' % number, 'wb') as file:
                for _ in range(8):
                    file.write(os.urandom(2**20))
            time.sleep(0.01)
        time.sleep(5)
        won('wrote', DISK)
        """,
        Outcome.DISK_LIMIT,
        limits=_DISK,
    ),
    _greedy(
        "disk_without_names",
        "fills the disk with a file that it has deleted, and so is in no directory",
        """
        import time
        file = open('/tmp/x', 'wb')
        os.unlink('/tmp/x')
        for _ in range(DISK // 2**20):
            file.write(os.urandom(2**20))
        time.sleep(5)
        won('wrote', DISK)
        """,
        Outcome.DISK_LIMIT,
        limits=_DISK,
    ),
    _greedy(
        "one_large_file",
        "writes one file that is larger than any file may be",
        """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with open('/dev/shm/x', 'wb') as file:
            for _ in range(DISK // 2**20):
                file.write(b'x' * 2**20)
        won('wrote', DISK)
        """,
        Outcome.DISK_LIMIT,
        Outcome.BUILD_ERROR,
        limits={"file_bytes": 20 * MIB},
    ),
    _greedy(
        "inodes",
        "makes files until the disk has no more inodes",
        """
        import time
        for number in range(FILES):
            if number % 1000 == 0:
                os.mkdir('/tmp/%d' % (number // 1000))
                time.sleep(0.02)
            os.close(os.open('/tmp/%d/%d' % (number // 1000, number), os.O_CREAT))
        time.sleep(5)
        won('made', FILES)
        """,
        Outcome.DISK_LIMIT,
        limits=_DISK,
        build_seconds=60,
        seconds=90.0,
    ),
    _greedy(
        "log_flood",
        "prints without end",
        "while True: print('x' * 10000)",
        Outcome.LOG_FLOOD,
    ),
    _greedy(
        "log_flood_of_many",
        "prints without end from many processes, which go on when the first is dead",
        """
        for number in range(20):
            if os.fork() == 0:
                while True:
                    os.write(1, b'x' * 60000)
        os._exit(0)
        """,
        Outcome.LOG_FLOOD,
        Outcome.NO_WHEEL_MADE,
    ),
    _greedy(
        "descriptors",
        "opens files until the system has no more",
        """
        try:
            for number in range(100_000):
                os.open('/dev/null', os.O_RDONLY)
        except OSError as error:
            print('refused after', number, error, flush=True)
            os._exit(1)
        won('opened', number)
        """,
        Outcome.BUILD_ERROR,
        says="Too many open files",
    ),
    _greedy(
        "signals_and_timers",
        "queues signals and makes timers until the user has no more",
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        made = 0
        timer = ctypes.c_void_p()
        while made < 1_000_000 and libc.timer_create(1, None, ctypes.byref(timer)) == 0:
            made += 1
        print('timers', made)
        """,
        says="timers",
    ),
)
