"""The process from which programs are forked: see ``fork_server``, which starts it and asks it.

It is small: it imports the modules that it is given, and waits for orders. It ends with its client.
"""

import json
import os
import signal
import socket
import sys
import sysconfig
from contextlib import suppress
from importlib import import_module
from typing import Any

INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
"""Folders of what does not change while it is used."""
LONGEST = 1 << 20
"""Bytes of an order: a program's whole environment is in it."""
READY, CHANGED, KNOWN = b"ready", b"changed", b"known"
"""The server has imported its modules; a file of what it has imported is another one now, so a new
server is needed; the client has the pid of its process, for one that is not known is killed.
"""


def _serve(orders: socket.socket) -> dict[str, Any] | None:
    """Returns in each process that it forks, with what that is to do; in the server itself when no
    one can ask any more.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries its children
    imported = _sources()
    while True:
        message, outputs, _, _ = socket.recv_fds(orders, LONGEST, 1)
        if not message:
            return None
        order: dict[str, Any] = json.loads(message)
        if imported.items() - _sources().items():
            orders.send(CHANGED)
            return None
        _import(_main_of(order["program"][0]))
        imported = _sources()
        pid = os.fork()
        if pid == 0:
            _become(order, outputs[0])
            orders.send(str(os.getpid()).encode())
            return order
        os.close(outputs[0])
        if not _is_known(orders):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _import(module: str) -> None:
    """What fails here fails again in the process that needs it, whose log then says how."""
    with suppress(Exception):
        import_module(module)


def _is_known(orders: socket.socket) -> bool:
    try:
        return orders.recv(LONGEST) == KNOWN
    except ConnectionResetError:  # its client has gone, and has not read the pid
        return False


def _sources() -> dict[str, int]:
    """The files from which it has imported, but for installed packages, with their last change."""
    found: dict[str, int] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and not file.startswith(INSTALLED):
            with suppress(OSError):
                found[file] = os.stat(file).st_mtime_ns
    return found


def _become(order: dict[str, Any], output: int) -> None:
    """All that a process has before its program begins."""
    os.setsid()
    os.umask(0o077)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = order["program"]


def _main_of(program: str) -> str:
    return f"{program}.__main__"


def main() -> None:
    from setproctitle import getproctitle, setproctitle

    getproctitle()  # it finds its place in memory by the arguments and environment as they are now
    for module in sys.argv[1:]:
        _import(module)
    with socket.socket(fileno=os.dup(0)) as orders:
        orders.send(READY)
        order = _serve(orders)
    if order is not None:
        program = order["program"]
        setproctitle(" ".join([sys.executable, "-m", *program]))  # in `ps`
        import_module(_main_of(program[0])).main()


if __name__ == "__main__":
    main()
