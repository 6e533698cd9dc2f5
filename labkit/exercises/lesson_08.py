"""Exercises of ``08_backpressure_and_scaling``."""

import asyncio

import pandas as pd

from labkit.client.errors import QueueFull
from labkit.client.moments import Moment
from labkit.database import connect
from labkit.errors import BadArgument
from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from labkit.exercises.waited import began, first, waited

VOLUMES = 100


class Encyclopedia(Exercise):
    """An encyclopedia has 100 volumes: *Volume 1* to *Volume 100*, by Denis Diderot. Create them,
    all asked at once, each with an idempotency key of its own. But the queue, which holds twenty,
    is full of other requests, and no worker runs yet: start it when the volumes have been asked
    for. In the end every volume has to be there, once.
    """

    title = "An encyclopedia through a narrow door"
    stars, minutes = 3, 8
    workers = None
    tips = (
        "`QueueFull` is definite: this request was not taken, and nothing was done.",
        "Wait, each time a little longer and never exactly as long as the others, and ask again "
        "with the same key.",
    )

    async def prepare(self) -> None:
        """A full queue: how many it holds is a setting of the lab."""
        if "max_queue_length" not in self.lab.settings:
            raise BadArgument("This lab's queue has no limit: Lab.open('08', max_queue_length=20).")
        await self.lab.have_workers(0)
        client = await self.lab.client()
        while True:
            pings = [client.call("ping", timeout=1) for _ in range(20)]
            ended = await asyncio.gather(*pings, return_exceptions=True)
            if any(isinstance(each, QueueFull) for each in ended):
                break

    async def look(self) -> Assessment:
        titles = [f"Volume {number}" for number in range(1, VOLUMES + 1)]
        rows = await self.lab.rows("books_v1")
        counts = rows["title"].value_counts().reindex(titles, fill_value=0)
        if not counts.any():
            return not_attempted("None of the volumes is there.")
        await self.lab.settle()
        rows = await self.lab.rows("books_v1")
        counts = rows["title"].value_counts().reindex(titles, fill_value=0)
        if (counts > 1).any():
            some = ", ".join(counts[counts > 1].index[:3])
            return wrong(
                f"{(counts > 1).sum()} of them more than once: {some} … Were they asked for again "
                "under another key, or without one? `await lab.reset()` empties the library."
            )
        if (counts == 0).any():
            return wrong(
                f"{(counts == 0).sum()} of {VOLUMES} volumes are missing. Those that the broker "
                "refused with QueueFull were never taken: it is for the client to ask again."
            )
        return await self._named()

    async def _named(self) -> Assessment:
        """All volumes are there. Would they be there once if a reply had been lost?"""
        keys = await self.lab.rows("idempotency_keys")
        if (keys["resource_type"] == "book_v1").sum() < VOLUMES:
            return wrong(
                "They are all there, this time. But not every request had an idempotency key: had "
                "one ended in ReplyTimeout, asking again could have doubled its volume."
            )
        if not self._refused_before_a_worker_came():
            return wrong(
                "They are all there; but before a worker was there the broker refused none, so "
                "they were not all asked at once then. asyncio.gather sends them together; start "
                "a worker afterwards."
            )
        return right("A hundred requests through a queue for twenty: refused, and not lost.")

    def _refused_before_a_worker_came(self) -> bool:
        came = began(self.lab, self.calls("create_book"))["since"].min()
        refused = self.lab.moments.of(Moment.REFUSED).values()
        return any(self.since < at < came for at in refused)

    async def answer(self) -> None:
        import asyncio
        import random

        from labkit.client.errors import QueueFull

        client = await self.lab.client(timeout=60)

        async def create(number: int) -> None:
            book = {"title": f"Volume {number}", "author": "Denis Diderot"}
            pause = 0.1
            while True:
                try:
                    await client.call("create_book", book, idempotency_key=f"volume-{number}")
                    return
                except QueueFull:
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
                    pause = min(pause * 2, 2)

        volumes = asyncio.gather(*(create(number) for number in range(1, 101)))
        await asyncio.sleep(1)
        await self.lab.start_workers(1)
        await volumes


class TwelveWait(Exercise):
    """No worker runs. Have twelve `ping`s wait in `api.requests`, and then have all of them
    answered: none of the twelve callers may give up.
    """

    title = "Waiting is not failing"
    stars, minutes, workers = 1, 3, 0
    tips = (
        "Calls that wait are tasks: `asyncio.create_task(client.call('ping', timeout=60))`.",
        "A worker that comes too late finds requests that have expired.",
    )

    async def look(self) -> Assessment:
        waiting = await self.ready("api.requests")
        pings = self.calls("ping")
        if waiting:
            return wrong(f"{waiting} requests wait: start a worker, before they expire.")
        if expired := int((self.calls()["outcome"] == "expired").sum()):
            return wrong(f"{expired} of them had expired when a worker came.")
        if pings.empty:
            return not_attempted("No ping was answered since the exercise began.")
        if len(pings) != 12:
            return wrong(f"{len(pings)} pings were answered, and twelve should be.")
        if (there := int(waited(self.lab, pings).sum())) < 12:
            return wrong(
                f"Twelve were answered, and {there} of them were in the queue before their worker "
                "was there: have all twelve wait, as tasks, and then start one."
            )
        return right("Twelve waited, twelve were answered.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client()
        calls = [asyncio.create_task(client.call("ping", timeout=60)) for _ in range(12)]
        while (await self.lab.queues())["ready"].get("api.requests", 0) < 12:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await self.lab.start_workers(1)
        await asyncio.gather(*calls)


class TheDeadAndTheLiving(Exercise):
    """No worker runs. Put five `create_book` requests into the queue whose callers have already
    given up, *Late 1* to *Late 5*, and behind them five whose callers still wait, *Alive 1* to
    *Alive 5*. Then start a worker: it has to create five books, and to skip the other five.
    """

    title = "The dead and the living"
    stars, minutes, workers = 2, 5, 0
    tips = (
        "How long a caller waits is the `timeout` of its call, and the request's deadline.",
        "Gather the first five with `return_exceptions=True`; start the others as tasks.",
    )

    async def look(self) -> Assessment:
        if self.calls().empty:
            return not_attempted("No worker has seen a request since the exercise began.")
        await self.lab.settle()
        rows = await self.lab.rows("books_v1")
        titles = sorted(rows["title"])
        if titles != [f"Alive {n}" for n in range(1, 6)]:
            return wrong(f"The library has {titles}: five should be there, and none that is late.")
        expired = int((self.calls()["outcome"] == "expired").sum())
        if expired != 5:
            return wrong(f"{expired} requests were skipped as expired, and five should be.")
        return self._in_one_queue()

    def _in_one_queue(self) -> Assessment:
        """Five were created, and five were skipped."""
        calls = self.calls()
        late = calls[calls["outcome"] == "expired"]  # the worker did not look what they ask for
        made = calls[calls["action"] == "create_book"]
        if (there := int(waited(self.lab, pd.concat([late, made])).sum())) < 10:
            return wrong(
                f"Five and five; but {there} of the ten were in the queue before the worker was "
                "there. It has to find all of them there: start it last."
            )
        asked = first(self.lab, Moment.ASKED, calls)
        if asked[late.index].max() > asked[made.index].min():
            return wrong(
                "Five and five; but those that are alive were asked first. Put them behind the "
                "five whose callers have given up."
            )
        return right("Five were skipped, without a look at the database, and five were served.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client()

        late = [{"title": f"Late {n}", "author": "Anyone"} for n in range(1, 6)]
        calls = [client.call("create_book", book, timeout=0.3) for book in late]
        await asyncio.gather(*calls, return_exceptions=True)
        alive = [{"title": f"Alive {n}", "author": "Anyone"} for n in range(1, 6)]
        calls = [client.call("create_book", book, timeout=60) for book in alive]
        waiting = asyncio.gather(*calls)
        await self.lab.start_workers(1)
        await waiting


class ChooseAPrefetch(Exercise):
    """Each book by the author *waits* takes the database 0.1 s. Start **one** worker, with a
    prefetch of your choice, and have it make *Slow 1* to *Slow 40* by *waits*: at least six at a
    time, but no more than ten may be in its hands.
    """

    title = "Choose a prefetch"
    stars, minutes, workers = 2, 6, 0
    tips = (
        "The prefetch is how many one worker may hold. Which numbers does the task allow?",
        "`lab.start_workers(1, prefetch=...)`, and all forty calls at once.",
    )

    async def prepare(self) -> None:
        connection = await connect(self.lab.database_url)
        await connection.execute(SLOW)
        await connection.close()

    async def look(self) -> Assessment:
        await self.lab.settle(60)
        titles = (await self.lab.rows("books_v1"))["title"]
        slow = titles[titles.str.startswith("Slow ")]
        if slow.empty:
            return not_attempted("None of the slow books is there.")
        if slow.nunique() < 40:
            return wrong(f"{slow.nunique()} of the forty are there.")
        calls = self.calls("create_book").tail(40)
        if calls["worker"].nunique() > 1:
            return wrong(f"{calls['worker'].nunique()} workers did it; one was asked for.")
        most = held_at_once(calls)
        if most < 6:
            return wrong(f"At most {most} at a time: a larger prefetch, or all calls at once.")
        if (prefetch := int(began(self.lab, calls)["prefetch"].max())) > 10:
            return wrong(f"It may hold {prefetch}: what it holds, a second worker cannot have.")
        return right(f"At most {prefetch} at a time: quick, and fair to a second worker.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client(timeout=60)
        await self.lab.start_workers(1, prefetch=8)
        books = [{"title": f"Slow {n}", "author": "waits"} for n in range(1, 41)]
        await asyncio.gather(*(client.call("create_book", book) for book in books))


def held_at_once(calls: pd.DataFrame) -> int:
    """The most that were between their delivery and their reply at one moment."""
    ended = pd.to_datetime(calls["time"], utc=True, format="ISO8601")
    began = ended - pd.to_timedelta(calls["ms"], unit="ms")
    steps = pd.concat([pd.Series(1, index=began), pd.Series(-1, index=ended)]).sort_index()
    return int(steps.cumsum().max())


SLOW = """
CREATE SCHEMA IF NOT EXISTS slow;
CREATE OR REPLACE FUNCTION slow.waits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_sleep(0.1); RETURN NEW; END $$;
DROP TRIGGER IF EXISTS slow ON books_v1;
CREATE OR REPLACE TRIGGER waits BEFORE INSERT ON books_v1
    FOR EACH ROW WHEN (NEW.author = 'waits') EXECUTE FUNCTION slow.waits();
"""

EXERCISES = (TwelveWait, TheDeadAndTheLiving, ChooseAPrefetch, Encyclopedia)
