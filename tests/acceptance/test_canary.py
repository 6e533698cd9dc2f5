"""A key that is sent through everything that goes wrong is found nowhere afterwards.

The canary is the server's real key, so that requests get as far as a real client's would.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aio_pika.abc import AbstractIncomingMessage

from labkit import AsyncAPIClient, ReplyTimeout
from labkit.services import rabbitmq, software
from labkit.services.home import Home
from server.contract import topology
from server.contract.errors import ApiError
from server.contract.topology import DEAD_LETTERS, RAW_DEAD_LETTERS, REQUESTS
from server.settings import Settings
from tests.support import (
    BOOK,
    ROOT,
    Wire,
    as_client,
    as_environment,
    as_server,
    eventually,
    wire,
    worker_process,
)

CANARY = "canary-9d41c07be2f85a36"


@dataclass
class Seen:
    """Everything that somebody could read."""

    texts: list[str] = field(default_factory=list)

    def message(self, message: AbstractIncomingMessage) -> str:
        self.texts.append(f"{message.body!r} {message.headers}")
        return str(message.headers.get("x-reason"))

    def error(self, error: BaseException) -> None:
        self.texts.append(f"{error} {error!r} {error.__cause__!r} {getattr(error, 'details', '')}")

    def must_not_hold(self, secret: str) -> None:
        spellings = (secret, secret.encode().hex(), secret[:12])
        for text in self.texts:
            assert not any(spelling in text for spelling in spellings), text


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"api_key": CANARY, "retry_delays": (0.05,), "lock_timeout": 0.2}
    )


@pytest.fixture
def seen(settings: Settings, capfd: pytest.CaptureFixture[str]) -> Iterator[Seen]:
    """At the end it looks at what was said, into every table, and at the broker's log, too."""
    seen = Seen()
    log = Home(Path(os.environ["BROKER_HOME"])).log(rabbitmq.NAME)
    begun = log.stat().st_size
    yield seen
    seen.texts += [*capfd.readouterr(), _dump(settings.database_url)]
    seen.texts.append(log.read_bytes()[begun:].decode())
    assert len(seen.texts) > 2, "nothing was looked at"
    seen.must_not_hold(CANARY)


def _dump(database_url: str) -> str:
    dump = subprocess.run(
        [software.postgresql().program("pg_dump"), database_url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "books_v1" in dump.stdout
    return dump.stdout


@asynccontextmanager
async def server(settings: Settings, seen: Seen) -> AsyncIterator[None]:
    """A worker whose whole log is looked at. It ends what it has in hand: killed as soon as a
    letter is there, it may not have acknowledged yet what that was made from.
    """
    async with worker_process(settings) as worker:
        yield
        await worker.end(signal.SIGTERM)
    seen.texts.append(json.dumps(worker.log))


async def parked(client: Wire, seen: Seen) -> str:
    """Why the next dead letter is there; and it is looked at."""
    return seen.message(await client.dead_letter())


SPELLED: list[dict[str, Any]] = [
    *({name: CANARY} for name in ("api_key", "token", "Authorization", "auth ", "password")),
    {CANARY: True},
    {"version": {"auth": CANARY}},
    {"data": {"title": {"auth": CANARY}}, "key": CANARY},
    {"data": [CANARY]},
]


@pytest.mark.parametrize("members", SPELLED, ids=repr)
async def test_under_a_wrong_name(settings: Settings, seen: Seen, members: dict[str, Any]) -> None:
    async with server(settings, seen), wire(settings) as client:
        request = {"id": "7", "version": "v1", "action": "ping", "data": {}} | members
        await client.send(json.dumps(request).encode())
        await client.reply()  # it tells its sender what is wrong, and no one else
        assert await parked(client, seen) == "malformed"


async def test_in_headers_and_properties(settings: Settings, seen: Seen) -> None:
    headers = dict.fromkeys(("auth", "authorization", "x-api-key", CANARY), CANARY)
    odd = [{"content_encoding": CANARY}, {"content_type": f"text/{CANARY}; charset={CANARY}"}]
    async with server(settings, seen), wire(settings) as client:
        for properties in odd:
            await client.send(client.body("ping"), headers=headers, **properties)
            await client.reply()
            assert await parked(client, seen) == "malformed"


BROKEN = [
    f'{{"auth": "{CANARY}", "auth": null, "id": "7"}}',
    f'{{"\\u0061uth": "{CANARY}", broken',
    f'{{"auth": "{CANARY}", "id": {"9" * 5000}}}',
    f'{{"id": "7", "auth": "{CANARY}", broken',
    f'{{"id": "7", "data": {{"auth_token": "{CANARY}"',
    f'["password", "{CANARY}"',
    f"auth={CANARY}&id=7",
]


@pytest.mark.parametrize("body", BROKEN)
async def test_in_broken_json(settings: Settings, seen: Seen, body: str) -> None:
    async with server(settings, seen), wire(settings) as client:
        await client.send(body.encode())
        seen.message(await client.reply())
        assert await parked(client, seen) == "malformed"


REFUSED: dict[str, dict[str, Any]] = {
    "an unknown action": {"action": "burn_book"},
    "an unknown version": {"version": "v9"},
    "a key as token": {"auth": None, "data": BOOK | {"auth_token": CANARY}},
    "a key that is a little wrong": {"auth": CANARY[:-1]},
    "data that is invalid": {"data": {"title": 5, "auth_token": CANARY, "password": CANARY}},
    "a key of another kind": {"auth": {"key": CANARY}},
    "a password": {"action": "login", "data": {"name": "nobody", "password": CANARY}},
    "a password too many": {"action": "login", "data": {"password": CANARY, "auth_token": CANARY}},
}


@pytest.mark.parametrize("name", REFUSED)
async def test_in_a_refusal(settings: Settings, seen: Seen, name: str) -> None:
    async with server(settings, seen), wire(settings) as client:
        await client.send(client.body("create_book", BOOK, **REFUSED[name]))
        reply = await client.reply()
        seen.message(reply)
        assert json.loads(reply.body)["status"] == "error"


async def test_in_a_request_that_nobody_can_answer(settings: Settings, seen: Seen) -> None:
    async with server(settings, seen), wire(settings) as client:
        await client.send(client.body("create_book", BOOK), reply_to=None)
        assert await parked(client, seen) == "malformed"


async def test_in_a_call_that_times_out_and_expires(settings: Settings, seen: Seen) -> None:
    async with wire(settings) as client:
        await topology.declare(client._channel, settings)
        await client.send(client.body("create_book", BOOK), expiration=0.01)
        await eventually(lambda: client.depth(RAW_DEAD_LETTERS))
        async with AsyncAPIClient(as_client(settings), CANARY) as api:
            with pytest.raises(ReplyTimeout) as timeout:
                await api.call("create_book", BOOK, timeout=0.1)
        seen.error(timeout.value)
        async with server(settings, seen):
            assert await parked(client, seen) == "expired"


async def test_in_what_a_client_raises(settings: Settings, seen: Seen) -> None:
    async with server(settings, seen), AsyncAPIClient(as_client(settings), CANARY) as client:
        for action, data in {
            "get_book": {"id": 7},
            "create_book": {"title": 5},
            "burn": {},
        }.items():
            with pytest.raises(ApiError) as refusal:
                await client.call(action, data)
            seen.error(refusal.value)


async def test_in_a_request_that_is_tried_again_and_parked(settings: Settings, seen: Seen) -> None:
    async with server(settings, seen), wire(settings) as client:
        held = await asyncpg.connect(settings.database_url)
        await held.execute("BEGIN; LOCK TABLE books_v1")
        await client.send(client.body("create_book", BOOK))
        seen.message(await client.reply())
        assert await parked(client, seen) == "unavailable"
        await held.close()


async def test_in_a_request_that_is_killed_with_its_worker(settings: Settings, seen: Seen) -> None:
    async with wire(settings) as client:
        await topology.declare(client._channel, settings)
        await client.send(client.body("create_book", BOOK))
        await _dying_worker(settings, seen)
        async with server(settings, seen):
            seen.message(await client.reply())


async def test_in_a_request_that_the_broker_dead_letters_as_it_is(
    settings: Settings, seen: Seen
) -> None:
    few = settings.model_copy(update={"delivery_limit": 1})
    async with wire(few) as client:
        await topology.declare(client._channel, few)
        await client.send(client.body("create_book", BOOK))
        for _ in range(few.delivery_limit + 1):
            await _dying_worker(few, seen)
        await eventually(lambda: client.depth(RAW_DEAD_LETTERS))
        async with server(few, seen):
            assert await parked(client, seen) == "delivery_limit"
        for queue in (REQUESTS, DEAD_LETTERS, RAW_DEAD_LETTERS):
            assert await client.depth(queue) == 0


async def _dying_worker(settings: Settings, seen: Seen) -> None:
    """It dies of the next request, in the middle of its transaction, as by ``kill -9``."""
    given = as_server(settings).model_dump() | {
        "retry_delays": ",".join(map(str, settings.retry_delays))
    }
    dying = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "labkit.faults.at_step.worker", "--dies-at", "applied"),
        cwd=ROOT,
        env={**os.environ, **as_environment(given)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(dying.communicate(), 30)
    assert dying.returncode == -9, output
    seen.texts.append(output.decode())
