"""``async with lab.record() as run:``: what happens in a lab meanwhile, for its stories."""

import asyncio
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pandas as pd

from labkit.broker.management import Broker
from labkit.database import connect
from labkit.errors import DatabaseAway, NoStory
from labkit.faults.at_step import reports
from labkit.faults.at_step.reports import Report
from labkit.story.events import of_request
from labkit.story.firehose import Firehose, Seen
from labkit.story.story import Story
from server.contract.topology import DEAD_LETTERS, REQUESTS, RETRY_PREFIX

CLAIMED = """
SELECT key, extract(epoch FROM created_at)::float8 FROM idempotency_keys
WHERE resource_type = 'request' AND key = ANY($1)
"""
SETTLES = 0.2
"""Seconds without a copy of a message, after which the broker has no more."""
FEW = 8
"""Requests of which a recording shows every row; of more, the unusual ones."""
COLUMNS = ["deliveries", "set aside", "dead-lettered", "replies", "unusual"]


class Recording:
    """It sees what the broker sees, and the steps of those workers that report them: obedient ones,
    and those with a flaw. ``python -m server worker`` reports none: it does not know of labs.
    """

    def __init__(
        self,
        broker: Broker,
        vhost: str,
        amqp_url: str,
        database_url: str,
        folder: Path,
        workers: Mapping[int, str],
        before: "Recording | None" = None,
    ) -> None:
        """``workers``: a process's id → its name, of all that were ever started. ``before``: a lab
        has one recording at a time, so an earlier one ends.
        """
        self._firehose = Firehose(broker, vhost, amqp_url)
        self._database_url = database_url
        self._folder = folder
        self._reports: list[Report] | None = None
        self._committed: dict[str, list[float]] | None = None
        self._workers = workers
        self._before = before
        self._open = False

    def __await__(self) -> Generator[Any, None, Self]:
        """``run = await lab.record()``: until ``await run.stop()``, or the lab is closed."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        if self._before is not None:
            await self._before.stop()
            self._before = None
        reports.begin(self._folder)
        await self._firehose.open()
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """What was seen stays. Twice is harmless."""
        if not self._open:
            return
        self._open = False
        try:
            await self._settled()
            self._reports = reports.read(self._folder)
            self._committed = await self._claims(self.requests())
        finally:
            reports.end(self._folder)
            await self._firehose.close()

    async def _settled(self) -> None:
        """The copies of what has happened have come."""
        before = -1
        while before != (before := len(self._seen)):  # noqa: ASYNC110
            await asyncio.sleep(SETTLES)

    async def _claims(self, request_ids: list[str]) -> dict[str, list[float]]:
        """PostgreSQL's own record; empty while it is away: then a story has none of it."""
        claims: dict[str, list[float]] = {}
        with suppress(DatabaseAway):
            connection = await connect(self._database_url)
            try:
                for request_id, at in await connection.fetch(CLAIMED, request_ids):
                    claims.setdefault(request_id, []).append(at)
            finally:
                await connection.close()
        return claims

    @property
    def _seen(self) -> list[Seen]:
        return self._firehose.seen

    def requests(self) -> list[str]:
        """Their ids, in the order in which the broker saw them first."""
        return list(dict.fromkeys(s.request_id for s in self._seen if s.queue == REQUESTS))

    def queues_of(self, request_id: str) -> list[str]:
        """The queues that this request, or its reply, was published into, in order."""
        mine = (s for s in self._seen if s.request_id == request_id and s.what == "published")
        return [each.queue for each in mine]

    async def story(self, request_id: str) -> Story:
        """Everything that was seen of this request. Raises ``NoStory``, with the ids there are."""
        if request_id not in self.requests():
            known = ", ".join(self.requests()[:5]) or "none"
            raise NoStory(f"No request {request_id!r} was seen; the first ones were: {known}.")
        claims = self._committed
        if claims is None:  # it is still being recorded
            await self._settled()
            claims = await self._claims([request_id])
        steps = reports.read(self._folder) if self._reports is None else self._reports
        committed = claims.get(request_id, [])
        return Story(
            request_id, of_request(request_id, self._seen, steps, committed, self._workers)
        )

    def summary(self) -> pd.DataFrame:
        """One row for each request, by its id, in the order in which they were first seen.

        Columns: ``deliveries``, times ``set aside`` for a retry, ``dead-lettered``, ``replies``
        (int64), and ``unusual`` (bool): anything but one delivery and one reply.
        """
        counts = {request_id: Counter[str]() for request_id in self.requests()}
        for each in self._seen:
            if each.request_id in counts:
                counts[each.request_id][_kind(each)] += 1
        rows = {
            request_id: [count[name] for name in COLUMNS[:-1]]
            for request_id, count in counts.items()
        }
        table = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS[:-1])
        usual = (table["deliveries"] == 1) & (table["replies"] == 1)
        return table.assign(unusual=~usual | (table["set aside"] + table["dead-lettered"] > 0))

    def __repr__(self) -> str:
        table = self.summary()
        return f"{len(table)} requests, of which {int(table['unusual'].sum())} are unusual"

    def _repr_html_(self) -> Any:
        table = self.summary()
        shown = table if len(table) <= FEW else table[table["unusual"]]
        return f"<p>{self!r}</p>{shown.to_html()}"


def _kind(seen: Seen) -> str:
    if seen.what == "delivered":
        return "deliveries" if seen.queue == REQUESTS else ""
    if seen.queue.startswith(RETRY_PREFIX):
        return "set aside"
    if seen.queue == DEAD_LETTERS:
        return "dead-lettered"
    return "replies" if seen.status and seen.queue != REQUESTS else ""
