"""Rounds of load and faults, each of them judged.

A round is short, so that what is kept of it stays small however long the soak is, and a violation
is reported soon after it happened. Between two rounds the lab is emptied.
"""

import asyncio
import random
import time
from pathlib import Path

from bench.soak.chaos import Chaos
from bench.soak.load import Client
from bench.soak.result import Happened, Result
from labkit import Lab, Ledger
from labkit.client.amqp import AsyncAPIClient
from labkit.faults.fault import Fault
from labkit.ledger import Verdict
from labkit.ledger.operations import Operation
from labkit.ui.progress import StatusLine

CLIENTS = 4
WORKERS = 2
ROUND = 120.0
"""Seconds of load until the next verdict."""
DRAIN = 180.0
"""Seconds in which everything has to be done with after the last fault was healed."""
RETRY_DELAYS = "0.5,2,8"
"""Of the workers. With these, a database that is away for ten seconds is waited for."""


class Soak:
    """``run`` it in a lab of its own; ``result`` is what it has come to so far."""

    def __init__(
        self, lab: Lab, seed: int, duration: float, folder: Path, *, brokers: int = 1
    ) -> None:
        self.result = Result(seed, time.time())
        self._lab = lab
        self._duration = duration
        self._folder = folder
        self._line = StatusLine()
        dice, deck = (random.Random(f"{seed} {what}") for what in ("dice", "deck"))  # noqa: S311
        self._chaos = Chaos(lab.faults, dice, deck, of_cluster=brokers > 1)
        self._links: list[AsyncAPIClient] = []

    async def run(self) -> Result:
        """Returns after ``duration`` seconds and the last verdict."""
        self._links = [await self._lab.client() for _ in range(CLIENTS)]
        try:
            while (left := self._duration - self._now()) > 0:
                await self._round(min(ROUND, left))
        finally:
            self.result.ended = self._now()
            self._line.clear()
        return self.result

    def _now(self) -> float:
        return time.time() - self.result.began

    async def _round(self, seconds: float) -> None:
        ledger = Ledger(self._lab)
        await self._load(ledger, seconds)
        quiet = self._now()
        await self._lab.faults.undo()
        verdict = await ledger.verdict(within=DRAIN)
        self.result.add(verdict, self._happened(verdict.evidence.operations))
        self._keep(ledger, verdict)
        await self._lab.reset()
        self.result.judged.append((quiet, self._now()))

    async def _load(self, ledger: Ledger, seconds: float) -> None:
        """Everything stops together: clients when their last call has ended."""
        stop = asyncio.Event()
        name = f"{self.result.seed}.{self.result.rounds}"
        callers = [ledger.watch(link) for link in self._links]
        url = self._lab.amqp_url
        clients = [Client(n, list(callers), url, ledger, name) for n in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(stop))
            group.create_task(self._chaos.run(stop))
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self._tell(ledger)
                await asyncio.sleep(0.5)
            stop.set()

    def _tell(self, ledger: Ledger) -> None:
        fault = self._chaos.now
        self._line.show(
            f"{self._now():6.0f} of {self._duration:.0f} s · round {self.result.rounds + 1} · "
            f"{self.result.operations.total() + len(ledger):,} operations · "
            f"{len(self.result.faults) + len(self._chaos.happened)} faults · "
            f"{len(self.result.violations)} violations · {fault.name if fault else 'no fault'}"
        )

    def _happened(self, operations: list[Operation]) -> list[Happened]:
        """The faults of this round, which are forgotten here."""
        answers = sorted(o.answered for o in operations if o.outcome == "ok" and o.answered)
        faults = [self._told(fault, answers) for fault in self._chaos.happened]
        self.result.troubles += self._chaos.failed
        self._chaos.happened.clear()
        self._chaos.failed.clear()
        return faults

    def _told(self, fault: Fault, answers: list[float]) -> Happened:
        at, healed = fault.at or 0.0, fault.healed or time.time()
        following = next((answer for answer in answers if answer >= healed), None)
        recovered = None if following is None else following - healed
        began = self.result.began
        return Happened(fault.name, fault.target, at - began, healed - began, recovered)

    def _keep(self, ledger: Ledger, verdict: Verdict) -> None:
        """The newest round, and every one with a violation."""
        name = "newest" if verdict.ok else f"round-{self.result.rounds}"
        ledger.save(self._folder / f"{name}.json.gz")
        if not verdict.ok:
            self._line.clear()
            print(f"round {self.result.rounds}: {verdict}")  # noqa: T201
