"""Waiting that ends: when it is ready, when it failed, when time is up, or when it is cancelled."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from labkit.services import identity
from labkit.services.errors import Cancelled, NotReady, PortTaken, ServiceError
from labkit.services.handshake import WRONG_PASSWORD, Refused
from labkit.services.process import Process

Answer = TypeVar("Answer")
IN_USE = ("eaddrinuse", "already in use", "already bound")


STRANGER = 15.0
"""Seconds in which a process that cannot have its port has noticed, and ended."""


def until_ready(
    process: Process,
    handshake: Callable[[], Answer],
    *,
    deadline: float,
    cancel: threading.Event,
) -> Answer:
    """What `handshake` answers, asked again for as long as it raises `OSError`.

    Raises `NotReady` with the log's tail if the process ends or `deadline` seconds pass,
    `PortTaken` if that was why it ended, `Refused` if the answer is a final no, `Cancelled` if
    told so.
    """
    end = time.monotonic() + deadline
    doubtful_until = time.monotonic() + STRANGER
    while True:
        alive = process.alive()  # asked first: what died after answering did answer
        try:
            return handshake()
        except OSError as error:
            # It may be a stranger who took the port before our process could, and refuses us. Then
            # ours is about to end, and says why.
            final = isinstance(error, Refused) and error.final
            stranger = isinstance(error, Refused) and error.code in WRONG_PASSWORD
            if final and not (stranger and time.monotonic() < doubtful_until):
                raise
            reason = error
        if not alive:
            raise _ended(process)
        if time.monotonic() > end:
            raise NotReady(
                f"{process.name} does not answer after {deadline:.0f} s ({reason}). "
                f"The end of its log, {process.log}:\n{process.log_tail()}"
            )
        if cancel.wait(0.05):
            raise Cancelled


def adopted(process: Process, wait: Callable[[], None]) -> bool:
    """Whether a process that was found running gets through `wait`, which raises as `until_ready`.

    False if it ends instead: it was being stopped when it was found. What it left behind is ended.
    """
    try:
        wait()
    except NotReady:
        if process.alive():
            raise
        process.kill()
        return False
    return True


def _ended(process: Process) -> NotReady:
    log = process.log_tail(40)
    kind = PortTaken if any(mark in log.lower() for mark in IN_USE) else NotReady
    return kind(
        f"{process.name} ended while starting. The end of its log, {process.log}:\n"
        f"{process.log_tail()}"
    )


def run(
    argv: Sequence[str | Path],
    *,
    cancel: threading.Event,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: Path | None = None,
    interrupt: Callable[["subprocess.Popen[str]"], None] | None = None,
) -> str:
    """Run a program to its end and return what it printed.

    Raises `ServiceError` with the end of the output if it fails. When cancelled, `interrupt` (by
    default: kill its session) ends it first, then `Cancelled` is raised.
    """
    command = [str(part) for part in argv]
    with _child(command, env, user, cwd, interrupt or _kill) as child:
        while True:
            try:
                output, _ = child.communicate(timeout=0.05)
                break
            except subprocess.TimeoutExpired:
                if cancel.is_set():
                    raise Cancelled from None
    if child.returncode:
        end = "\n".join(output.strip().splitlines()[-15:])
        raise ServiceError(f"`{' '.join(command)}` failed ({child.returncode}):\n{end}")
    return output


@contextlib.contextmanager
def _child(
    command: list[str],
    env: Mapping[str, str] | None,
    user: str | None,
    cwd: Path | None,
    interrupt: Callable[["subprocess.Popen[str]"], None],
) -> Iterator["subprocess.Popen[str]"]:
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            cwd=cwd,
            start_new_session=True,
            **identity.run_as(user),
        )
    except OSError as error:
        raise ServiceError(f"`{command[0]}` cannot be started: {error}") from error
    with child:
        try:
            yield child
        except BaseException:
            interrupt(child)
            raise


def _kill(child: "subprocess.Popen[str]") -> None:
    for pid in identity.session(child.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    child.kill()
