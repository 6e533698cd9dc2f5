"""Whatever happens to one of ten requests that share a transaction: none is lost, none doubled.

Two requests hold both shared transactions open until the ten wait together, so the next one is
theirs. Their effects are one statement, and something happens to the fifth of them: when all are
claimed, in the middle of the effects, after the commit, between the replies and the
acknowledgement.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from bench.pairs import cells
from bench.pairs.cells import LOCK_TIMEOUT
from labkit import Lab, Ledger
from labkit.client.caller import Reply
from labkit.ledger import Verdict
from server.contract.steps import Step
from server.contract.topology import REQUESTS
from server.persistence.database import MOST_SHARED
from tests.support import BOOK, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOGETHER = [f"request {number}" for number in range(10)]
VICTIM = TOGETHER[4]
CALL_TIMEOUT = 30.0
STEPS = (Step.CLAIMED, Step.APPLIED, Step.COMMITTED, Step.REPLIED, Step.ACKED)
FAULTS = ("SIGKILL", "exception", "connection closed", "backend terminated")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    name = f"crash-in-a-batch-{os.getpid()}"
    settings: dict[str, Any] = {"lock_timeout": LOCK_TIMEOUT, "retry_delays": "0.05,0.2,1,3,10"}
    async with Lab.open(name, workers=1, obedient=True, supervised=True, **settings) as lab:
        yield lab


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_of_ten_in_one_transaction_none_is_lost_and_none_doubled(
    lab: Lab, fault: str, step: Step
) -> None:
    await lab.reset()
    arm, then = cells.FAULTS[fault]
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    # What the fault before has broken is met by this one, and by none of those that are to wait.
    await client.request("create_author", {"name": "A"}, version="v2", timeout=CALL_TIMEOUT)

    def create(name: str) -> asyncio.Future[Reply]:
        book = BOOK | {"title": name}
        call = client.request("create_book", book, request_id=name, timeout=CALL_TIMEOUT)
        return asyncio.ensure_future(call)

    async with await arm(lab, str(step), VICTIM) as armed:
        calls = []
        async with AsyncExitStack() as held:
            for number in range(MOST_SHARED):
                name = f"first {number}"
                first = await lab.faults.hold(at=Step.APPLIED, request_id=name)
                await held.enter_async_context(first)
                calls.append(create(name))
                assert await first.reached(CALL_TIMEOUT) == name
            calls += map(create, TOGETHER)
            await wait_until_they_wait(lab)
        assert await armed.reached(CALL_TIMEOUT) == VICTIM
        await then(lab, armed)
    for reply in await asyncio.gather(*calls):
        assert reply.status == "ok", reply
    verdict = await ledger.verdict()
    assert verdict.ok, verdict
    books = (await lab.rows("books_v1"))["title"].tolist()
    assert sorted(books) == sorted(["first 0", "first 1", *TOGETHER])
    if step not in (Step.CLAIMED, Step.APPLIED):  # else it was undone, and each is done again
        assert transactions(verdict, TOGETHER) == 1
    await client.close()


async def wait_until_they_wait(lab: Lab) -> None:
    """All are delivered, and have had the time to get as far as they can."""

    async def delivered() -> bool:
        unacked = (await lab.queues())["unacked"]
        return bool(unacked[REQUESTS] == MOST_SHARED + len(TOGETHER))

    await eventually(delivered)
    await asyncio.sleep(0.2)


def transactions(verdict: Verdict, titles: list[str]) -> int:
    """In how many transactions these books were made."""
    return len(
        {
            change.transaction
            for change in verdict.evidence.changes
            if change.table == "books_v1" and change.after and change.after["title"] in titles
        }
    )
