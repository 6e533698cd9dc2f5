"""Servers that are wrong only now and then are caught, each with a request that it happened to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from flaws.servers import NOW_AND_THEN
from labkit import Lab, Ledger
from labkit.errors import FaultImpossible
from labkit.ledger import Verdict
from tests.acceptance.library_load import use

SETTINGS: dict[str, Any] = {"retry_delays": "0.05,0.2"}
SELDOM = ("keeps-replies", "cuts-replies", "drops-requests")
"""A request that is never answered costs its caller's patience."""
ALWAYS = ("deletes-another", "brings-back", "uses-an-id-again")
"""Of what comes seldom itself."""


def every(flaw: str) -> str:
    return "40" if flaw in SELDOM else "1" if flaw in ALWAYS else "4"


CAUGHT = {
    "adds-a-copy": "I8",
    "deletes-another": "I8",
    "changes-another": "I8",
    "does-not-update": "I1",
    "updates-twice": "I2",
    "updates-half": "I8",
    "writes-back": "I10",
    "replies-with-other-data": "I1",
    "commits-half": "I8",
    "forgets-the-effect": "I1",
    "misses-the-row": "I9",
    "uses-an-id-again": "I10",
    "overwrites-later": "I8",
    "brings-back": "I10",
    "applies-and-refuses": "I3",
    "answers-early": "I10",
    "loses-the-key": "I8",
    "remembers-reads": "I9",
    "makes-up-values": "I9",
    "cannot-find": "I9",
    "mixes-up-rows": "I9",
    "omits-a-row": "I9",
    "doubles-a-row": "I9",
    "skips-the-last": "I9",
    "swaps-two": "I9",
    "ends-early": "I9",
    "forgets-the-cursor": "I9",
    "forgets-the-filter": "I9",
    "keeps-replies": "I5",
    "cuts-replies": "I5",
    "mixes-up-replies": "I1",
    "throws-letters-away": "I5",
    "skips-acks": "I5",
    "drops-requests": "I5",
}


@asynccontextmanager
async def serving(place: str, *options: str) -> AsyncIterator[Lab]:
    async with Lab.open(place, workers=0, **SETTINGS) as lab:
        await lab.start_workers(1, "flaws", *options)
        yield lab


async def judged(lab: Lab) -> Verdict:
    ledger = Ledger(lab)
    await use(lab, ledger)
    return await ledger.verdict(within=5)


def wronged(lab: Lab) -> set[str]:
    """Ids of the requests that the server was wrong with, by its own log."""
    logged = [line for log in lab.worker_logs.values() for line in log.read_text().splitlines()]
    lines = [json.loads(line) for line in logged if "wrong_on_purpose" in line]
    return {str(line["id"]) for line in lines}


@pytest.mark.parametrize("flaw", CAUGHT)
async def test_a_server_that_is_wrong_now_and_then_is_caught(place: str, flaw: str) -> None:
    async with serving(place, "--flaw", flaw, "--every", every(flaw)) as lab:
        verdict = await judged(lab)
        found = [v for v in verdict.found if v.invariant == CAUGHT[flaw]]
        assert wronged(lab)
        assert found, verdict
        blamed = {violation.operation for violation in found}
        unnamed = flaw in ("skips-acks", "loses-the-key")  # a queue, and a key of no request
        assert blamed & wronged(lab) or unnamed, (verdict, wronged(lab))


async def test_the_right_server_is_acquitted_of_the_same_load(place: str) -> None:
    async with serving(place) as lab:
        verdict = await judged(lab)
        assert verdict.ok, verdict
        assert all(verdict.judged[name] > 20 for name in ("I1", "I2", "I5", "I8", "I9", "I10"))


async def break_something(lab: Lab, fault: str) -> None:
    """Again and again: so a worker that was killed is back at some time, however slow its start."""
    while True:
        await asyncio.sleep(1.5)
        with suppress(FaultImpossible):  # its victim is just on its way back
            if fault == "kill":
                await lab.faults.kill("worker")
            else:
                await lab.faults.close_connections(fault.removeprefix("close "))


@pytest.mark.parametrize("fault", ["kill", "close client", "close worker", "close database"])
async def test_the_right_server_is_acquitted_also_with_faults(place: str, fault: str) -> None:
    async with Lab.open(place, workers=0, supervised=True, **SETTINGS) as lab:
        await lab.start_workers(2, obedient=True)
        ledger = Ledger(lab)
        breaking = asyncio.create_task(break_something(lab, fault))
        await use(lab, ledger, rounds=4)
        while lab.faults.timeline().empty:  # however quick the machine, something has to happen
            await use(lab, ledger, rounds=1)
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)
        verdict = await ledger.verdict()
        assert verdict.ok, verdict


def test_every_flaw_of_this_kind_is_put_to_the_test() -> None:
    assert CAUGHT.keys() == NOW_AND_THEN.keys()
