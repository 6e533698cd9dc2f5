"""Running a program to its end, from the standard library alone."""

import asyncio
import contextlib
import os
import pwd
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.services.errors import ServiceError


@contextlib.asynccontextmanager
async def side_by_side() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first failure cancels the others, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: Path | None = None,
    interrupt: Callable[[Process], Awaitable[None]] | None = None,
) -> str:
    """What a program prints, once it has ended well. `user` needs root.

    Raises `ServiceError` with the end of the output if it fails. When cancelled, `interrupt` (by
    default: SIGKILL to it and all that it started) ends it first.
    """
    command = [str(part) for part in argv]
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,  # a terminal's Ctrl-C reaches it once, from us
            **as_user(user),
        )
    except OSError as error:
        raise ServiceError(f"`{command[0]}` cannot be started: {error}") from error
    try:
        output, _ = await child.communicate()
    except BaseException:
        await (interrupt or _kill)(child)
        raise
    text = output.decode("utf-8", "replace")
    if child.returncode:
        end = "\n".join(text.strip().splitlines()[-15:])
        raise ServiceError(f"`{' '.join(command)}` failed ({child.returncode}):\n{end}")
    return text


def as_user(user: str | None) -> dict[str, Any]:
    """Arguments for `subprocess` that run a program as `user`, without root's groups."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


async def _kill(child: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.communicate()
