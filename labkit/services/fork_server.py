"""Programs that start in a moment: forked from a process that has imported them already.

    Workers ──► fork server ──┬─ fork ──► server worker
                imports once  ├─ fork ──► server worker
                              └─ fork ──► flaws --flaw …

To import what a server is made of takes a second of a core; to fork what has imported it, some
milliseconds. So a lab's workers are there at once, and one that was killed is back at once. Each is
a process of its own, as ``python -m`` would have made it: with its own environment, session and
log, and it outlives the one that asked for it.

``python -m labkit.services.fork_server`` is the server. It ends with the process that started it.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from labkit.services.errors import ServiceError

INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
"""Folders of what does not change while it is used."""
LONGEST = 1 << 20
"""Bytes of an order: a program's whole environment is in it."""
START_TIMEOUT = 60.0
"""Seconds for what is imported the first time."""
END_TIMEOUT = 5.0
READY, CHANGED, KNOWN = b"ready", b"changed", b"known"
"""The server has imported its modules; a file of what it has imported is another one now, so a new
server is needed; the client has the pid of its process, for one that is not known is killed.
"""


def is_possible() -> bool:
    """On macOS, libraries that a process has loaded may not survive its fork."""
    return sys.platform == "linux"


class ForkServer:
    """Starts programs: packages whose ``__main__`` has a ``main()``. For any number of threads."""

    def __init__(self, environment: Mapping[str, str], *modules: str) -> None:
        """``environment`` is what Python itself is started with. It imports ``modules`` first, and
        each program when that is first asked for.
        """
        self._environment = dict(environment)
        self._modules = modules
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(START_TIMEOUT)
        self._is_ready = False
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", __name__, *self._modules],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,  # a terminal's Ctrl-C does not reach it
            )

    def wait_until_ready(self) -> None:
        """Until its modules are imported. Raises ``ServiceError``."""
        with self._lock:
            self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        if not self._is_ready:
            self._answer()
            self._is_ready = True

    def start(self, program: Sequence[str], environment: Mapping[str, str], output: int) -> int:
        """The pid of a new process that runs ``program``, a package with its arguments, with this
        environment, and with ``output`` for both of its outputs. Raises ``ServiceError``.
        """
        order = {"program": list(program), "environment": dict(environment)}
        with self._lock:
            try:
                while (answer := self._ask(order, output)) == CHANGED:
                    self.close()
                    self._begin()
                self._socket.send(KNOWN)
            except BaseException as error:
                self.close()  # if it was interrupted, the server ends what no one knows of
                if isinstance(error, OSError):
                    raise ServiceError(f"{program[0]} cannot be started: {error}") from error
                raise
        return int(answer)

    def _ask(self, order: dict[str, Any], output: int) -> bytes:
        self._wait_until_ready()
        socket.send_fds(self._socket, [json.dumps(order).encode()], [output])
        return self._answer()

    def _answer(self) -> bytes:
        try:
            answer = self._socket.recv(LONGEST)
        except OSError as error:
            raise ServiceError(f"The fork server says nothing: {error}") from error
        if not answer:
            raise ServiceError("The fork server has ended.")
        return answer

    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._socket.fileno() >= 0 and self._server.poll() is None

    def close(self) -> None:
        """What it started goes on. Closing twice is harmless."""
        self._socket.close()
        try:
            self._server.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:  # it is frozen
            self._server.kill()
            self._server.wait()


_current: list[ForkServer] = []


def of_this_process(environment: Mapping[str, str], *modules: str) -> ForkServer:
    """The one that there is, or a new one."""
    if not _current or not _current[0].alive():
        _close_current()
        _current.append(ForkServer(environment, *modules))
    return _current[0]


@atexit.register
def _close_current() -> None:
    while _current:
        _current.pop().close()


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
