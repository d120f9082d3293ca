"""A warm parent: holds the imported modules of an environment, and forks a child for each build. Runs inside a sandbox.

It never runs a line of any source: what a child does, the next one doesn't see. Its words with the builder, over the socket that
it inherits (packets, each with the descriptors it needs):

    parent -> builder   ready
    builder -> parent   an order: {"name", "request", "environment", "limits"}, with the log's pipe and a socket to the child
    child -> builder    child, with a pidfd of its first process; or failed and why: then nothing of the source has been run
    builder -> child    go
    child -> builder    the exit code, once nothing of the child is left
"""

import array
import gc
import importlib
import json
import os
import resource
import select
import socket
import sys
from typing import Any, Dict, List, Tuple  # noqa: UP035 - Python 3.8

import apart
import driver
import first
from words import CHILD, FAILED, GO, READY

_LARGEST_ORDER = 4 * 2**20


def main() -> None:
    """Import modules, then serve orders. Arguments: the socket's descriptor, seconds to live without an order, the modules."""
    channel, idle_seconds, modules = socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2]), sys.argv[3:]
    del sys.path[0]
    sys.argv = ["setup.py"]
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"{name} is not warm: {error!r}")
    gc.collect()
    # The collector would write to every object, and so copy the pages that children share.
    gc.freeze()
    channel.send(READY)
    while select.select([channel], [], [], idle_seconds)[0]:
        order, descriptors = receive(channel)
        if not order:
            return
        child = os.fork()
        if child == 0:
            channel.close()
            serve(json.loads(order), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(child, 0)


def serve(order: Dict[str, Any], log: int, control_fd: int) -> None:  # noqa: UP006 - Python 3.8
    """The outermost process of a build: outside of its pid namespace, it says how it ended."""
    control = socket.socket(fileno=control_fd)
    ours, inits = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        apart.unshare()
        apart.mount_build(order["name"])
        init = os.fork()
    except OSError as error:
        control.send(FAILED + b" " + str(error).encode())
        os._exit(1)
    if init == 0:
        control.close()
        ours.close()
        be_init(order, log, inits)
    inits.close()
    os.close(log)
    answer = ours.recv(1000)
    if answer != READY:
        control.send(FAILED + b" " + answer)
        os._exit(1)
    send(control, CHILD, apart.pidfd_open(init))
    # The builder may have died meanwhile; then it sends nothing, and neither do we.
    ours.send(control.recv(16) or FAILED)
    _, status = os.waitpid(init, 0)
    # Negative where a signal ended the first process itself: nothing inside its namespace can.
    control.send(str(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)).encode())
    os._exit(0)


def be_init(order: Dict[str, Any], log: int, outer: socket.socket) -> None:  # noqa: UP006 - Python 3.8
    """The first process of the build's pid namespace: when it ends, the kernel ends all others."""
    try:
        apart.mount_proc()
        apart.raise_loopback()
        apart.drop_capabilities()
        first.keep_apart()
    except OSError as error:
        outer.send(str(error).encode())
        os._exit(1)
    outer.send(READY)
    if outer.recv(16) != GO:
        os._exit(1)
    worker = os.fork()
    if worker == 0:
        be_worker(order, log)
    os.close(log)
    first.end_with(worker)


def be_worker(order: Dict[str, Any], log: int) -> None:  # noqa: UP006 - Python 3.8
    """The process that runs the hooks, as a fresh interpreter would."""
    first.be_one_of_the_build()
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for source, descriptor in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, descriptor)
    os.closerange(3, 1024)
    for name, most in order["limits"].items():
        resource.setrlimit(getattr(resource, name), (most, most))
    os.environ.clear()
    os.environ.update(order["environment"])
    os.umask(0o022)
    driver.begin()
    driver.work(order["request"])


def send(channel: socket.socket, message: bytes, descriptor: int) -> None:
    """Send a message with a descriptor (socket.send_fds, which Python 3.8 lacks)."""
    channel.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])


def receive(channel: socket.socket) -> Tuple[bytes, List[int]]:  # noqa: UP006 - Python 3.8
    """A message and its descriptors; an empty one when the other side is gone."""
    descriptors = array.array("i")
    message, ancillary, _, _ = channel.recvmsg(_LARGEST_ORDER, socket.CMSG_SPACE(4 * descriptors.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, list(descriptors)


if __name__ == "__main__":
    main()
