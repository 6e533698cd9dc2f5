"""The checks are checked: each flaw is caught every time, by a check that the right server passes.

Nothing here depends on timing: a worker dies at a named step, and a poison message fails always.
"""

import asyncio
from collections.abc import Awaitable, Callable

import aio_pika
import asyncpg
import pytest

from flaws import dlq_feeds_itself
from flaws.servers import SERVERS
from labkit import Lab
from labkit.client import AsyncAPIClient
from server.steps import Step
from tests.support import BOOK, eventually

RIGHT = "none"
DELAYS = (0.05, 0.1)
MAX_ATTEMPTS = len(DELAYS) + 1

Check = Callable[[Lab, AsyncAPIClient, str], Awaitable[str | None]]
"""Runs a server with this flaw; the sentence for what it did wrong, if anything."""


async def start(lab: Lab, flaw: str, *options: str) -> None:
    await lab.start_workers(1, "flaws", "--flaw", flaw, *options)


async def crash(lab: Lab, client: AsyncAPIClient, flaw: str, step: Step) -> str | None:
    """A worker dies at ``step`` of one request, and another one does what is left to do."""
    await start(lab, flaw, "--dies-at", step)
    call = asyncio.create_task(client.request("create_book", BOOK, idempotency_key="k"))
    await eventually(lambda: died(lab))
    await start(lab, flaw)
    await lab.settle()
    books = set((await lab.rows("books_v1"))["id"])
    if not books:
        call.cancel()
        return "I5: accepted, and lost"
    told = (await call).data["id"]
    if told not in books:
        return "I1: answered ok, and not there"
    return "I2: more than one effect for a key" if len(books) > 1 else None


async def died(lab: Lab) -> bool:
    assert lab._at_work is not None
    return not lab._at_work.workers.processes[0].alive()


async def crash_before_commit(lab: Lab, client: AsyncAPIClient, flaw: str) -> str | None:
    return await crash(lab, client, flaw, Step.APPLIED)


async def crash_after_commit(lab: Lab, client: AsyncAPIClient, flaw: str) -> str | None:
    return await crash(lab, client, flaw, Step.COMMITTED)


async def another_book_under_a_used_key(lab: Lab, client: AsyncAPIClient, flaw: str) -> str | None:
    await start(lab, flaw)
    await client.call("create_book", BOOK, idempotency_key="k")
    second = await client.request("create_book", BOOK | {"title": "Emma"}, idempotency_key="k")
    titles = (await lab.rows("books_v1"))["title"].tolist()
    if second.status == "ok" and "Emma" not in titles:
        return "I1: answered ok, and not there"
    return None


async def poison(lab: Lab, client: AsyncAPIClient, flaw: str) -> str | None:
    """A book that the database never takes: the worker's failure, not the caller's."""
    if flaw == "dlq-feeds-itself":
        await declare_circle(lab)
    await start(lab, flaw)
    await execute(lab, "ALTER TABLE books_v1 ADD CHECK (title <> '1984')")
    call = asyncio.create_task(client.request("create_book", BOOK))

    async def came_to_an_end() -> bool:
        return call.done() or len(lab.log()) > MAX_ATTEMPTS

    await eventually(came_to_an_end)
    if len(lab.log()) > MAX_ATTEMPTS:
        call.cancel()
        return "I6: attempts over the limit"
    assert (await call).error is not None
    return None


async def declare_circle(lab: Lab) -> None:
    async with await aio_pika.connect(lab.amqp_url) as operator:
        channel = await operator.channel()
        for queue in dlq_feeds_itself.circle():
            await queue.declare(channel)


async def execute(lab: Lab, statement: str) -> None:
    connection = await asyncpg.connect(lab.database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


CAUGHT: dict[str, tuple[Check, str]] = {
    "check-then-store": (crash_after_commit, "I2"),
    "reply-before-commit": (crash_before_commit, "I1"),
    "ack-before-commit": (crash_before_commit, "I5"),
    "payload-ignored": (another_book_under_a_used_key, "I1"),
    "requeue-for-ever": (poison, "I6"),
    "dlq-feeds-itself": (poison, "I6"),
}


async def violation(place: str, check: Check, flaw: str) -> str | None:
    delays = ",".join(map(str, DELAYS))
    async with Lab.open(place, workers=0, retry_delays=delays) as lab:
        return await check(lab, await lab.client(), flaw)


@pytest.mark.parametrize(("flaw", "check", "invariant"), [(n, *c) for n, c in CAUGHT.items()])
async def test_a_flaw_is_caught(place: str, flaw: str, check: Check, invariant: str) -> None:
    found = await violation(place, check, flaw)
    assert found is not None
    assert found.startswith(invariant)


@pytest.mark.parametrize("check", dict.fromkeys(check for check, _ in CAUGHT.values()))
async def test_the_right_server_passes_the_same_check(place: str, check: Check) -> None:
    assert await violation(place, check, RIGHT) is None


def test_every_flaw_has_its_check() -> None:
    assert CAUGHT.keys() | {RIGHT} == SERVERS.keys()
