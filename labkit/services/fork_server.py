"""Programs that start in a moment: forked from a process that has imported them already.

    Workers ──► fork server ──┬─ fork ──► server worker
                imports once  ├─ fork ──► server worker
                              └─ fork ──► flaws --flaw …

To import what a server is made of takes a second of a core; to fork what has imported it, some
milliseconds. So a lab's workers are there at once, and one that was killed is back at once. Each is
a process of its own, as ``python -m`` would have made it: with its own environment, session and
log, and it outlives the one that asked for it.

The server's side is ``forking``.
"""

import atexit
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.services import forking
from labkit.services.errors import ServiceError

START_TIMEOUT = 60.0
"""Seconds for what is imported the first time."""
END_TIMEOUT = 5.0


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
                [sys.executable, "-m", forking.__name__, *self._modules],
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
                while (answer := self._ask(order, output)) == forking.CHANGED:
                    self.close()
                    self._begin()
                self._socket.send(forking.KNOWN)
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
            answer = self._socket.recv(forking.LONGEST)
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
