"""Exercises of ``09_rest_vs_rabbitmq``."""

import pandas as pd

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from labkit.exercises.waited import waited
from labkit.lab import Lab

TITLE = "Dune"


class TheOtherDoor(Exercise):
    """Over REST you create *Dune* (Frank Herbert, 1965), but the reply is lost: you do not look at
    it. Is the book there now? Settle it over RabbitMQ by asking again: there has to be one book,
    and the second reply has to say that it is replayed.
    """

    title = "Through the other door"
    stars, minutes, workers = 2, 5, None
    tips = (
        "What settles an unknown outcome? And does it matter which way the second request takes?",
        "Both servers look into the same table of idempotency keys.",
    )

    async def prepare(self) -> None:
        await both_serve(self.lab)

    async def look(self) -> Assessment:
        books = await self.lab.rows("books_v1")
        count = int((books["title"] == TITLE).sum())
        if count == 0:
            return not_attempted(f"There is no book {TITLE!r} in books_v1.")
        await self.lab.settle()  # a worker replies before it logs
        calls = self.calls("create_book")
        if count > 1:
            return wrong(
                f"There are {count} of them: the second request was new to the server. Did both "
                "carry the same idempotency key? `await lab.reset()` empties the library."
            )
        return self._two_doors(calls)

    def _two_doors(self, calls: pd.DataFrame) -> Assessment:
        """There is one book. ``calls`` are what the servers logged since."""
        if len(calls) < 2:
            return wrong(f"One book, but {len(calls)} call since the exercise began: ask again.")
        if calls["worker"].nunique() < 2:
            return wrong("One book, but one server had all the calls: use both clients.")
        if not calls["replayed"].any():
            return wrong(
                f"No reply was a replay; the outcomes were: {', '.join(calls['outcome'])}. "
                "The second request has to be the same as the first, key and book."
            )
        over_rest = is_rest(calls)
        if not over_rest[(calls["outcome"] == "ok") & ~calls["replayed"].astype(bool)].all():
            return wrong("The other way round: create it over REST, ask again over RabbitMQ.")
        if not calls["replayed"][~over_rest].any():
            return wrong(
                "The replay came over REST; over RabbitMQ the outcomes were: "
                f"{', '.join(calls['outcome'][~over_rest])}. Ask there with the same key and book."
            )
        return right("Two doors, one library: the key is known behind both.")

    async def answer(self) -> None:
        rest, rabbitmq = await self.lab.rest_client(), await self.lab.client()
        book = {"title": "Dune", "author": "Frank Herbert", "year": 1965}
        await rest.request("create_book", book, idempotency_key="create-dune")
        reply = await rabbitmq.request("create_book", book, idempotency_key="create-dune")
        assert reply.replayed  # noqa: S101


def is_rest(calls: pd.DataFrame) -> pd.Series:
    """Whether the REST server had each: a lab has one, named so."""
    return calls["worker"].str.endswith("-rest")


async def both_serve(lab: Lab) -> None:
    """A worker and a REST server run, whatever has been killed before."""
    workers = lab.workers()
    serving = set(workers["transport"][workers["alive"]])
    if "RabbitMQ" not in serving:
        await lab.start_workers(1)
    if "REST" not in serving:
        await lab.serve_rest()


class WrittenHereReadThere(Exercise):
    """Create *Emma* (Jane Austen) over RabbitMQ, and read her over REST, by the id that you got."""

    title = "Written here, read there"
    stars, minutes, workers = 1, 2, None
    tips = (
        "Both clients have the same methods.",
        "`get_book` takes `{'id': ...}`.",
    )

    async def prepare(self) -> None:
        await both_serve(self.lab)

    async def look(self) -> Assessment:
        await self.lab.settle()
        made, read = self.calls("create_book"), self.calls("get_book")
        made, read = made[made["outcome"] == "ok"], read[read["outcome"] == "ok"]
        if made.empty:
            return not_attempted("No book was created since the exercise began.")
        if "Emma" not in set((await self.lab.rows("books_v1"))["title"]):
            return wrong("A book was created, and it is not *Emma*.")
        if read.empty:
            return wrong("A book was created, and not read with `get_book` yet.")
        over_rest = is_rest(made).iloc[-1], is_rest(read).iloc[-1]  # what was tried last
        if over_rest[0] == over_rest[1]:
            return wrong("Both went through the same server: use the other client for one.")
        if over_rest[0]:
            return wrong("The other way round: create over RabbitMQ, read over REST.")
        return right("Two doors, one library.")

    async def answer(self) -> None:
        rest, rabbitmq = await self.lab.rest_client(), await self.lab.client()
        emma = await rabbitmq.call("create_book", {"title": "Emma", "author": "Jane Austen"})
        await rest.call("get_book", {"id": emma["id"]})


class InTurns(Exercise):
    """Measure `ping` over both, as a fair comparison does: at least 200 calls each, in turns, so
    that whatever your machine is busy with hurts both. (At least three turns each.)
    """

    title = "A fair measurement"
    stars, minutes, workers = 2, 6, None
    tips = (
        "REST, RabbitMQ, REST, RabbitMQ … : what did `benchmark.compare` do above?",
        "`for turn in range(4): for client in clients.values(): ...`, with 60 calls in each.",
    )

    async def prepare(self) -> None:
        await both_serve(self.lab)

    async def look(self) -> Assessment:
        await self.lab.settle()
        pings = self.calls("ping")
        if pings.empty:
            return not_attempted("No ping was answered since the exercise began.")
        counts = pings["worker"].value_counts()
        if len(counts) < 2:
            return wrong(f"All {len(pings)} pings went through one server.")
        if counts.min() < 200:
            return wrong(f"{counts.min()} calls on one side: at least 200 on each.")
        changes = (pings["worker"] != pings["worker"].shift()).sum()
        if changes < 6:
            return wrong(
                f"The servers took turns {changes} times: first all of one, then all of the other, "
                "is not fair if the machine gets busy in between."
            )
        turns = pings.groupby((pings["worker"] != pings["worker"].shift()).cumsum())["worker"]
        sizes, sides = turns.size(), turns.first().map(counts)
        if not (long := sizes[sizes * 2 > sides]).empty:
            return wrong(
                f"One turn had {long.max()} calls, more than half of all on its side: what the "
                "machine was busy with then hurts one side only. Make the turns alike."
            )
        return right("In turns: what hurt one, hurt both.")

    async def answer(self) -> None:
        clients = [await self.lab.rest_client(), await self.lab.client()]
        for _ in range(4):
            for client in clients:
                for _ in range(60):
                    await client.call("ping")


class NotAtTheSameTime(Exercise):
    """Every server is away: `lab.stop_workers()`. Ask for *Away 1* to *Away 20* in this moment,
    over the transport that does not need its server to be there, and start one afterwards. All
    twenty have to be there, once.
    """

    title = "Not at the same time"
    stars, minutes, workers = 1, 4, None
    tips = (
        "Over REST each of these calls fails at once: there is no one to take it.",
        "Twenty tasks over RabbitMQ, then `await lab.start_workers(1)`.",
    )

    async def prepare(self) -> None:
        await both_serve(self.lab)

    async def look(self) -> Assessment:
        titles = (await self.lab.rows("books_v1"))["title"]
        away = titles[titles.str.startswith("Away ")]
        if away.empty:
            return not_attempted("None of the twenty is there.")
        if len(away) != 20 or away.nunique() != 20:
            return wrong(f"There are {len(away)} rows of {away.nunique()} books, not of twenty.")
        await self.lab.settle()  # a worker replies before it logs
        calls = self.calls("create_book")
        made = calls[(calls["outcome"] == "ok") & ~calls["replayed"].astype(bool)]
        if (late := 20 - int(waited(self.lab, made).sum())) > 0:
            return wrong(
                f"All twenty are there; but when {late} of them were asked for, their server was "
                "there, too. Stop it, ask for all of them, and then start one."
            )
        return right("Asked while no one was there, and done when one came.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client(timeout=60)
        await self.lab.stop_workers()
        books = [{"title": f"Away {n}", "author": "Anyone"} for n in range(1, 21)]
        calls = [asyncio.create_task(client.call("create_book", book)) for book in books]
        while (await self.lab.queues())["ready"].get("api.requests", 0) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await self.lab.start_workers(1)
        await asyncio.gather(*calls)


EXERCISES = (WrittenHereReadThere, NotAtTheSameTime, TheOtherDoor, InTurns)
