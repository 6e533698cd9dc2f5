"""``async with lab.record() as run:``: what happens in a lab meanwhile, for its stories."""

import asyncio
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any, Self

import pandas as pd
from asyncpg import UndefinedTableError

from labkit.client.moments import Moment
from labkit.database import connect
from labkit.errors import DatabaseAway, NoStory
from labkit.faults.at_step import reports
from labkit.faults.at_step.reports import Report
from labkit.story import overview
from labkit.story.events import of_request
from labkit.story.firehose import Firehose, Seen
from labkit.story.noted import Noted, noted_now
from labkit.story.sources import Sources
from labkit.story.story import Story, together
from server.contract.topology import DEAD_LETTERS, REQUESTS, RETRY_PREFIX

CLAIMED = """
SELECT key, extract(epoch FROM created_at)::float8 FROM idempotency_keys
WHERE resource_type = 'request' AND key = ANY($1)
"""
SETTLES = 0.2
"""Seconds without a copy of a message, after which the broker has no more."""
FEW = 5
"""Requests that are readable in one diagram; of more, the unusual ones one by one."""
MOST_STORIES = 50
"""Unusual requests whose stories come with the table: a page with thousands would be slow."""
COLUMNS = ["deliveries", "set aside", "dead-lettered", "replies", "unusual"]


class Recording:
    """It sees what the broker sees, and the steps of those workers that report them: obedient ones,
    and those with a flaw. ``python -m server worker`` reports none: it does not know of labs.
    """

    def __init__(self, sources: Sources, before: "Recording | None" = None) -> None:
        """``before``: a lab has one recording at a time, so an earlier one ends."""
        self._sources = sources
        self._firehose = Firehose(sources.broker, sources.vhost, sources.amqp_url)
        self._noted: list[Noted] = []
        self._reports: list[Report] | None = None
        self._committed: dict[str, list[float]] | None = None
        self._before = before
        self._open = False

    def note(self, moment: Moment, request_id: str) -> None:
        """A client of the lab calls this; ``Lab.client`` sees to it."""
        if self._open:
            self._noted.append(noted_now(moment, request_id))

    def __await__(self) -> Generator[Any, None, Self]:
        """``run = await lab.record()``: until ``await run.stop()``, or the lab is closed."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        if self._before is not None:
            await self._before.stop()
            self._before = None
        reports.begin(self._sources.folder)
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
            self._reports = reports.read(self._sources.folder)
            self._committed = await self._claims(self.requests())
        finally:
            reports.end(self._sources.folder)
            await self._firehose.close()

    async def _settled(self) -> None:
        """The copies of what has happened have come."""
        before = -1
        while before != (before := len(self._seen)):  # noqa: ASYNC110
            await asyncio.sleep(SETTLES)

    async def _claims(self, request_ids: list[str]) -> dict[str, list[float]]:
        """PostgreSQL's own record; empty while it is away, and before a worker made its tables:
        then a story has none of it.
        """
        claims: dict[str, list[float]] = {}
        with suppress(DatabaseAway, UndefinedTableError):
            connection = await connect(self._sources.database_url)
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
        """Their ids, in the order in which a client of the lab asked, or the broker saw them."""
        asked = [(n.at, n.request_id) for n in self._noted if n.moment is Moment.ASKED]
        seen = [(s.at, s.request_id) for s in self._seen if s.queue == REQUESTS]
        return list(dict.fromkeys(request_id for _, request_id in sorted(asked + seen)))

    def queues_of(self, request_id: str) -> list[str]:
        """The queues that this request, or its reply, was published into, in order."""
        mine = (s for s in self._seen if s.request_id == request_id and s.what == "published")
        return [each.queue for each in mine]

    async def story(self, request_id: str) -> Story:
        """Everything that was seen of this request. Raises ``NoStory``, with the ids there are."""
        if request_id not in self.requests():
            known = ", ".join(self.requests()[:5]) or "none"
            raise NoStory(f"No request {request_id!r} was seen; the first ones were: {known}.")
        if self._committed is not None:
            return self._tell(request_id, self._committed)
        await self._settled()  # it is still being recorded
        return self._tell(request_id, await self._claims([request_id]))

    def _tell(self, request_id: str, committed: Mapping[str, list[float]]) -> Story:
        events = of_request(
            request_id,
            self._seen,
            reports.read(self._sources.folder) if self._reports is None else self._reports,
            committed.get(request_id, []),
            self._sources.workers,
            self._noted,
            self._sources.faults(),
        )
        return Story(request_id, events)

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

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Of a few requests one diagram; of more a table of the unusual ones, and their stories."""
        table = self.summary()
        if self._committed is None:
            return {"text/plain": repr(self), "text/html": overview.page(repr(self), table, {})}
        stories = {i: self._tell(i, self._committed) for i in self._worth_telling(table)}
        if 0 < len(table) <= FEW:
            return {"text/plain": repr(self), "text/vnd.mermaid": together(list(stories.values()))}
        return {"text/plain": repr(self), "text/html": overview.page(repr(self), table, stories)}

    def _worth_telling(self, table: pd.DataFrame) -> list[str]:
        shown = table if len(table) <= FEW else table[table["unusual"]][:MOST_STORIES]
        return [str(request_id) for request_id in shown.index]


def _kind(seen: Seen) -> str:
    if seen.what == "delivered":
        return "deliveries" if seen.queue == REQUESTS else ""
    if seen.queue.startswith(RETRY_PREFIX):
        return "set aside"
    if seen.queue == DEAD_LETTERS:
        return "dead-lettered"
    return "replies" if seen.status and seen.queue != REQUESTS else ""
