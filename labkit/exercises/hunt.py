"""Bug hunts: a server that is right, or has one flaw, and a student who finds out which."""

import asyncio
import sys
from typing import Self

import pandas as pd

from labkit.course.record import Record
from labkit.errors import BadArgument
from labkit.exercises.exercise import Assessment, not_attempted, right, wrong
from labkit.lab import Lab
from labkit.ledger import Ledger, Verdict
from labkit.ledger.invariants import INVARIANTS
from labkit.ledger.watched import Watched
from labkit.services.environment import ROOT

PROGRAM = "flaws"
EVERY = "3"
"""Of so many requests that the flaw can happen to, one is wrong."""
ENOUGH = 60
"""Requests of which one may say that nothing was wrong with any."""


class BugHunt:
    """Server number ``seed``: is it right? If not, which invariant does it break, and which request
    proves it? Call it with ``hunt.client``, look at rows and replies, and then ``accuse`` or
    ``acquit`` it.
    """

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.seed = seed
        self.client: Watched
        """Its calls are evidence. Give them a ``request_id`` of your own, to name them later."""
        self._ledger: Ledger | None = None
        self._verdict: Verdict | None = None

    async def begin(self) -> Self:
        """The server runs, in an empty lab. Raises as ``Lab.start_workers``."""
        await self.lab.reopen()
        await self.lab.stop_workers()
        await self.lab.start_workers(1, PROGRAM, "--hunt", str(self.seed), "--every", EVERY)
        await self.lab.reset()
        self._ledger, self._verdict = Ledger(self.lab), None
        self.client = self._ledger.watch(await self.lab.client())
        return self

    def invariants(self) -> pd.DataFrame:
        """What a right server never breaks: one row for each, by its name; ``says`` (str)."""
        rows = {name: text for name, (text, _) in INVARIANTS.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["says"])

    async def accuse(self, invariant: str, request_id: str) -> Assessment:
        """It breaks ``invariant``, I1 to I10, and the request of ``hunt.client`` with this id
        proves it. Raises ``BadArgument`` for what is none of the ten.
        """
        if invariant not in INVARIANTS:
            raise BadArgument(f"{invariant!r} is no invariant: {', '.join(INVARIANTS)}.")
        if self._ledger is None or not len(self._ledger):
            return not_attempted("Nothing was asked through `hunt.client` yet.")
        verdict = await self._judged(self._ledger)
        found = {(violation.invariant, violation.operation) for violation in verdict.found}
        if (invariant, request_id) in found:
            return self._solved(right(f"{invariant} is broken, and {request_id} proves it."))
        if request_id in {operation for _, operation in found}:
            return wrong(f"Something is wrong with {request_id}, but it is not {invariant}.")
        if invariant in {name for name, _ in found}:
            return wrong(f"{invariant} is broken in this run; but {request_id} does not prove it.")
        return wrong(f"The evidence of this run does not show that {request_id} broke {invariant}.")

    async def acquit(self) -> Assessment:
        """It is right."""
        if self._ledger is None or not len(self._ledger):
            return not_attempted("Nothing was asked through `hunt.client` yet.")
        if len(self._ledger) < ENOUGH:
            return wrong(
                f"{len(self._ledger)} requests are too few to acquit a server: ask at least "
                f"{ENOUGH}, of every kind, before you say that nothing is wrong."
            )
        verdict = await self._judged(self._ledger)
        if not verdict.ok:
            return wrong(
                f"In these {len(self._ledger)} requests there is proof against it: compare what "
                "was asked, what was answered, and what is in the tables."
            )
        if not await self._is_right():
            return wrong("It is not right; but your requests have not met its flaw. Ask others.")
        return self._solved(right("It is right, and you have asked enough to say so."))

    async def _judged(self, ledger: Ledger) -> Verdict:
        """Judging waits for queues to drain: not again if nothing was asked since."""
        if self._verdict is None or len(self._verdict.evidence.operations) != len(ledger):
            self._verdict = await ledger.verdict(within=10)
        return self._verdict

    async def _is_right(self) -> bool:
        command = ("-m", PROGRAM, "--hunt", str(self.seed), "--reveal")
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.decode().strip() == "none"

    def _solved(self, assessment: Assessment) -> Assessment:
        Record.own().note("hunts", str(self.seed), outcome=assessment.outcome)
        return assessment

    def __repr__(self) -> str:
        return (
            f"Bug hunt {self.seed}: is this server right? accuse(invariant, request_id) or acquit()"
        )
