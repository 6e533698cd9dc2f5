"""The checks are checked: each flaw is caught every time, and the right server is acquitted.

Nothing here depends on timing: a worker dies at a named step, and a poison message fails always.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import asyncpg
import pytest

from flaws import dlq_feeds_itself
from flaws.servers import ALWAYS
from labkit import Lab, Ledger
from labkit.client.caller import Caller
from labkit.experiments import crash
from labkit.ledger import Verdict
from server.contract.steps import Step
from tests.support import BOOK, eventually

RIGHT = "none"
SETTINGS: dict[str, Any] = {"retry_delays": "0.05", "delivery_limit": 1, "lock_timeout": 0.05}
ENOUGH = 17
"""Failures of one request with these settings, after which the ledger is sure that it goes round:
twice the two attempts that may be delivered twice, and be put off twice.
"""

Run = Callable[[Lab, Caller, str], Awaitable[None]]
"""What the server with this flaw is put to."""


async def start(lab: Lab, flaw: str, *options: str) -> None:
    await lab.start_workers(1, "flaws", "--flaw", flaw, *options)


async def crash_before_commit(lab: Lab, client: Caller, flaw: str) -> None:
    await _crash(lab, client, flaw, Step.APPLIED)


async def crash_after_commit(lab: Lab, client: Caller, flaw: str) -> None:
    await _crash(lab, client, flaw, Step.COMMITTED)


async def _crash(lab: Lab, client: Caller, flaw: str, step: Step) -> None:
    """A worker dies at ``step`` of one request, and another one does what is left to do."""
    await start(lab, flaw, "--dies-at", step)
    call = asyncio.create_task(client.request("create_book", BOOK, idempotency_key="k"))
    await crash.ended(lab, "worker-1")
    await start(lab, flaw)
    await lab.settle()
    if (await lab.rows("books_v1")).empty:
        call.cancel()  # nobody will ever answer it
    await asyncio.gather(call, return_exceptions=True)


async def another_book_under_a_used_key(lab: Lab, client: Caller, flaw: str) -> None:
    await start(lab, flaw)
    for title in ("1984", "Emma"):
        await client.request("create_book", BOOK | {"title": title}, idempotency_key="k")


async def poison(lab: Lab, client: Caller, flaw: str) -> None:
    """A book that the database never takes: the worker's failure, not the caller's."""
    if flaw == "dlq-feeds-itself":
        await declare_circle(lab)
    await start(lab, flaw)
    await execute(lab, "ALTER TABLE books_v1 ADD CHECK (title <> '1984')")
    call = asyncio.create_task(client.request("create_book", BOOK))

    async def came_to_an_end() -> bool:
        return call.done() or len(lab.log()) >= ENOUGH

    await eventually(came_to_an_end)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


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


CAUGHT: dict[str, tuple[Run, str]] = {
    "check-then-store": (crash_after_commit, "I2"),
    "reply-before-commit": (crash_before_commit, "I1"),
    "ack-before-commit": (crash_before_commit, "I5"),
    "payload-ignored": (another_book_under_a_used_key, "I1"),
    "requeue-for-ever": (poison, "I6"),
    "dlq-feeds-itself": (poison, "I6"),
}
"""What a flaw is put to, and the invariant that it breaks then."""


async def verdict(place: str, run: Run, flaw: str) -> Verdict:
    async with Lab.open(place, workers=0, **SETTINGS) as lab:
        ledger = Ledger(lab)
        await run(lab, ledger.watch(await lab.client()), flaw)
        return await ledger.verdict(within=1 if run is poison else 10)


@pytest.mark.parametrize(("flaw", "run", "invariant"), [(n, *c) for n, c in CAUGHT.items()])
async def test_a_flaw_is_caught(place: str, flaw: str, run: Run, invariant: str) -> None:
    found = await verdict(place, run, flaw)
    assert invariant in set(found.violations["invariant"]), found


@pytest.mark.parametrize("run", dict.fromkeys(run for run, _ in CAUGHT.values()))
async def test_the_right_server_is_acquitted_of_the_same(place: str, run: Run) -> None:
    found = await verdict(place, run, RIGHT)
    assert found.ok, found


def test_every_flaw_has_its_check() -> None:
    assert CAUGHT.keys() == ALWAYS.keys()
