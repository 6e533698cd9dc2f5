"""Every named step of a request × everything that may happen to its worker there.

In each cell ten requests and a repetition are in flight, and the fault happens to one certain
request at one certain step: nothing depends on timing. Two workers serve; those that die are
started again. Afterwards the ledger judges the run by all of its invariants.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from bench.pairs import cells
from bench.pairs.cells import LOCK_TIMEOUT, Arm, Then
from labkit import Lab, Ledger
from labkit.client.caller import Caller, Reply
from labkit.faults.fault import Fault
from labkit.services import logs
from server.contract.errors import InProgress, Unauthorized
from server.contract.steps import Step
from server.security.authentication import hashed
from tests.support import BOOK, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKERS = 2
RETRY_DELAYS = "0.05,0.2,1,3,10"
"""Seconds. Together longer than a request is ever held: what is in progress is not given up."""
VICTIM, REPETITION, KEY = "victim", "repetition", "the victim's key"
VICTIMS_KEY = "an API key of the victim's own"
CALL_TIMEOUT = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    name = f"crash-matrix-{os.getpid()}"
    settings: dict[str, Any] = {"lock_timeout": LOCK_TIMEOUT, "retry_delays": RETRY_DELAYS}
    async with Lab.open(name, workers=0, supervised=True, **settings) as lab:
        await lab.start_workers(WORKERS, obedient=True)
        await execute(
            lab,
            "INSERT INTO api_keys (user_id, label, key_hash) VALUES (1, 'victim', $1)",
            digest(),
        )
        yield lab


async def disconnected(lab: Lab, fault: Fault) -> None:
    """Both workers notice that both of their connections are gone."""
    before = losses(lab)
    await lab.faults.close_connections("worker")

    async def noticed() -> bool:
        return losses(lab) >= before + 2 * WORKERS

    await eventually(noticed)


def losses(lab: Lab) -> int:
    events = logs.events(list(lab.worker_logs.values()))
    return sum(event["event"] == "broker_unreachable" for event in events)


async def barred_and_killed(lab: Lab, fault: Fault) -> None:
    """The victim's key is revoked, and then its worker dies."""
    await execute(lab, "UPDATE api_keys SET revoked_at = now() WHERE key_hash = $1", digest())
    os.kill(fault.pid, signal.SIGKILL)  # type: ignore[attr-defined]


async def execute(lab: Lab, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(lab.database_url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


def digest() -> str:
    return hashed(VICTIMS_KEY)


FAULTS: dict[str, tuple[Arm, Then]] = cells.OF_A_WORKER | {
    "connection closed": (cells.held, disconnected),
    "key revoked, SIGKILL": (cells.held, barred_and_killed),
}

UNCLAIMED = (Step.RECEIVED, Step.PARSED, Step.AUTHENTICATED)
"""Here the repetition may overtake the victim: then it is the victim that is in progress."""
COMMITTED = (Step.COMMITTED, Step.REPLIED, Step.ACKED)
"""From here on the victim is answered ok, whatever it may do by then."""


def bystanders(client: Caller) -> list[Awaitable[Reply]]:
    """Nine writes of all kinds."""
    calls: list[Awaitable[Reply]] = []
    for number in range(3):
        name = f"bystander {number}"
        book, author = BOOK | {"title": name}, {"name": name}
        calls += [
            client.request("create_book", book, timeout=CALL_TIMEOUT),
            client.request("create_book", book, idempotency_key=name, timeout=CALL_TIMEOUT),
            client.request("create_author", author, version="v2", timeout=CALL_TIMEOUT),
        ]
    return calls


async def write(client: Caller, request_id: str) -> Reply:
    return await client.request(
        "create_book", BOOK, request_id=request_id, idempotency_key=KEY, timeout=CALL_TIMEOUT
    )


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_happens_at_a_step_nothing_is_lost_and_nothing_doubled(
    lab: Lab, fault: str, step: Step
) -> None:
    await lab.reset()
    await execute(lab, "UPDATE api_keys SET revoked_at = null WHERE key_hash = $1", digest())
    arm, then = FAULTS[fault]
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    victims_client = ledger.watch(await lab.client(api_key=VICTIMS_KEY))
    async with await arm(lab, step, VICTIM) as armed:
        victim = asyncio.create_task(write(victims_client, VICTIM))
        others = [asyncio.ensure_future(call) for call in bystanders(client)]
        assert await armed.reached(CALL_TIMEOUT) == VICTIM
        barred = then is barred_and_killed
        if barred:  # before the repetition, which would be answered, and then so would the victim
            await then(lab, armed)
        repetition = asyncio.create_task(write(victims_client, REPETITION))
        if not barred:
            await then(lab, armed)
    for reply in await asyncio.gather(*others):
        assert reply.status == "ok", reply
    refused = barred and step not in COMMITTED
    expected = Unauthorized.code if refused else "ok"
    outcomes = [outcome(await victim), outcome(await repetition)]
    assert expected in (outcomes if step in UNCLAIMED else outcomes[:1])
    assert set(outcomes) <= {expected, InProgress.code}
    verdict = await ledger.verdict()
    assert verdict.ok, verdict
    made = (await lab.rows("books_v1"))["title"].tolist().count(BOOK["title"])
    assert made == (0 if refused else 1)
    await client.close()
    await victims_client.close()


def outcome(reply: Reply) -> str:
    return "ok" if reply.error is None else str(reply.error["code"])
