"""``python -m server.admin``, as it is typed."""

import asyncio
import os
import sys

from server.application.dispatcher import Dispatcher
from server.settings import Settings
from tests.support import ROOT, Caller


async def run(settings: Settings, command: str, stdin: str = "") -> tuple[int, str]:
    """Exit code, and what was printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "server.admin", *command.split()),
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": settings.database_url},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(stdin.encode())
    return process.returncode or 0, output.decode()


async def test_a_user_is_added_gets_a_key_and_loses_it(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    assert await run(settings, "users add Rita --password", "a long password\n") == (
        0,
        "user 2: Rita, reader\n",
    )
    _, made = await run(settings, "keys make Rita --label laptop")
    call = Caller(dispatcher, made.split()[0])
    assert (await call("ping")).outcome == "ok"
    _, listed = await run(settings, "keys list")
    assert "laptop" in listed
    assert call.api_key not in listed
    key_id = next(line.split()[0] for line in listed.splitlines() if "laptop" in line)
    assert (await run(settings, f"keys revoke {key_id}"))[0] == 0
    assert (await call("ping")).outcome == "unauthorized"
    login = {"name": "Rita", "password": "a long password"}
    assert (await call("login", login, auth=None)).outcome == "ok"


async def test_what_cannot_be_done_is_said_in_one_line(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    assert await run(settings, "keys make Nobody") == (
        1,
        "There is no user Nobody: `python -m server.admin users list` shows them.\n",
    )
    code, refusal = await run(settings, "users add Ulf --password", "short\n")
    assert (code, "8 characters" in refusal) == (1, True)
