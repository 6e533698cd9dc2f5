"""Exercises of ``07_failure_injection``."""

import pandas as pd

from labkit.client.moments import Moment
from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from labkit.exercises.waited import first
from server.contract.log_events import RETRY_SCHEDULED
from server.contract.topology import REQUESTS

TITLE = "Dune"


class AnsweredByTheNext(Exercise):
    """Create *Dune* (Frank Herbert, 1965) so that the worker which made it is killed right after
    the commit, and the caller gets its answer all the same. There has to be one book, and no one
    may have asked twice.
    """

    title = "Answered by the next one"
    stars, minutes = 2, 6
    tips = (
        "Arm the kill before you call, and call in a task of its own.",
        "`await kill.reached()` returns when it is dead. Then see who is left: no one.",
    )

    async def look(self) -> Assessment:
        died = self._died_at_committed()
        count = (await self.lab.rows("books_v1"))["title"].tolist().count(TITLE)
        if not count:
            return not_attempted(f"There is no book {TITLE!r} in books_v1.")
        if count > 1:
            return wrong(
                f"There are {count} of them: it was asked for more than once, under several keys "
                "or ids. `await lab.reset()` empties the library."
            )
        if not died:
            return wrong(
                "The book is there, but since the exercise began no worker was killed at the step "
                "`committed`. Was the kill armed before the call?"
            )
        return await self._answered()

    def _died_at_committed(self) -> bool:
        timeline = self.lab.faults.timeline()
        is_it = (timeline["fault"] == "kill at committed") & (timeline["at"] > self.since)
        return bool(is_it.any())

    async def _answered(self) -> Assessment:
        queues = await self.lab.queues()
        if queues.loc[REQUESTS, ["ready", "unacked"]].sum():
            return wrong(
                "The book is there, and the worker is dead; but its request still waits in the "
                "queue. Who takes it from there?"
            )
        calls = self.calls("create_book")
        if len(calls) != 1 or not calls["replayed"].all():
            return wrong(
                f"{len(calls)} answers to create_book are in the workers' logs since the exercise "
                "began; one was asked for, given from the stored reply."
            )
        return right("Made by one worker, answered by the next.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client()
        kill = await self.lab.faults.kill(at="committed")
        book = {"title": "Dune", "author": "Frank Herbert", "year": 1965}
        call = asyncio.create_task(client.request("create_book", book))
        await kill.reached()
        await self.lab.start_workers(1)
        await call
        await self.lab.settle()


class LostReply(Exercise):
    """Create *Emma* (Jane Austen, 1815) such that the **reply** is lost on its way, and find out
    what has become of the request: in the end the caller has to have the book, and there has to be
    one.
    """

    title = "The reply is lost"
    stars, minutes = 1, 4
    tips = (
        "`lab.faults.messages.drop('reply')` loses the next reply.",
        "The call ends in `ReplyTimeout`: give it a short timeout, and a key for the second one.",
    )

    async def look(self) -> Assessment:
        count = (await self.lab.rows("books_v1"))["title"].tolist().count("Emma")
        if not count:
            return not_attempted("There is no Emma.")
        if not happened(self, "drop reply"):
            return wrong("Emma is there, but no reply was lost since the exercise began.")
        if count > 1:
            return wrong(f"There are {count} of her: the second call had another key, or none.")
        await self.lab.settle()
        calls = self.calls("create_book")
        lost = calls.index[calls["id"].isin(self._lost())]
        if lost.empty:
            return wrong(
                "A reply was lost, but that of another call: arm the fault right before you ask "
                "for Emma."
            )
        if not calls["replayed"][calls.index > lost[0]].any():
            return wrong("Emma is there, and her maker does not know: ask again, with the key.")
        return right("Lost on the way, and asked for again: one book, and the caller has it.")

    def _lost(self) -> list[str | None]:
        """Ids of the requests whose replies were dropped: of this lab's whole life, and an id is
        used once.
        """
        return [f.request_id for f in self.lab.faults.happened() if f.name == "drop reply"]

    async def answer(self) -> None:
        from labkit import ReplyTimeout

        client = await self.lab.client()
        emma = {"title": "Emma", "author": "Jane Austen", "year": 1815}
        await self.lab.faults.messages.drop("reply")
        try:
            await client.call("create_book", emma, idempotency_key="emma", timeout=2)
        except ReplyTimeout:
            await client.call("create_book", emma, idempotency_key="emma")


class DatabaseDies(Exercise):
    """Twenty books, *Book 1* to *Book 20* by anyone, are asked for. While they are on their way,
    the database is killed, and started again. In the end there have to be twenty books, once each,
    and no call may have failed.
    """

    title = "The database dies"
    stars, minutes = 2, 6
    tips = (
        "`async with await lab.faults.kill('database'):` starts it again at the end of the block.",
        "Send the calls as tasks *inside* of the block, with a long timeout, and gather them after "
        "it.",
    )

    async def look(self) -> Assessment:
        rows = await self.lab.rows("books_v1")
        titles = rows["title"][rows["title"].isin([f"Book {n}" for n in range(1, 21)])]
        if titles.empty:
            return not_attempted("None of the books is there.")
        if not happened(self, "kill database"):
            return wrong("The database was not killed since the exercise began.")
        if not titles.is_unique:
            return wrong("Some are there more than once: asked for again without a key?")
        if len(titles) < 20:
            return wrong(f"{20 - len(titles)} books are missing.")
        if not self._met_it():
            return wrong("Twenty books, but none met a dead database: all were done before.")
        if failed := self._failed():
            return wrong(
                f"Twenty books, but {failed} calls failed, or gave up, before they were asked for "
                "again. A call with a longer timeout waits until the database is back."
            )
        return right("Set aside while the database was gone, and done when it was back.")

    def _met_it(self) -> bool:
        """Whether an attempt was made, in vain, while the database was away."""
        calls = self.calls("create_book")
        at = pd.to_datetime(calls["time"], utc=True, format="ISO8601")
        in_vain = at[calls["outcome"] == RETRY_SCHEDULED]
        kills = those(self, "kill database")
        return any(in_vain.between(k["at"], k["healed"]).any() for _, k in kills.iterrows())

    def _failed(self) -> int:
        """How many of the calls ended without their book. What has expired is not looked into."""
        calls = self.calls()
        calls = calls[(calls["action"] == "create_book") | (calls["outcome"] == "expired")]
        gave_up = calls["id"].isin(list(self.lab.moments.of(Moment.GAVE_UP)))
        refused = ~calls["outcome"].isin(["ok", RETRY_SCHEDULED])
        return int(calls["id"][gave_up | refused].nunique())

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client(timeout=60)
        async with await self.lab.faults.kill("database"):
            books = [{"title": f"Book {n}", "author": "Anyone"} for n in range(1, 21)]
            calls = [asyncio.create_task(client.call("create_book", book)) for book in books]
            await asyncio.sleep(1)
        await asyncio.gather(*calls)


class ThroughARestart(Exercise):
    """No worker runs. Ask for *Dune* (Frank Herbert), have the **broker** killed and started again
    while the request waits in its queue, and then start a worker: the call has to be answered, and
    there has to be one book.
    """

    title = "A request outlives its broker"
    stars, minutes, workers = 2, 6, 0
    tips = (
        "The call is a task with a long timeout; the request is in the queue when `ready` is 1.",
        "`async with await lab.faults.kill('broker'): ...` and then `await lab.start_workers(1)`.",
    )

    async def look(self) -> Assessment:
        books = await self.lab.rows("books_v1")
        books = books[books["title"] == TITLE]
        if books.empty:
            return not_attempted("There is no Dune.")
        if not (happened(self, "kill broker") or happened(self, "restart broker")):
            return wrong("Dune is there, but the broker was not away since the exercise began.")
        if len(books) > 1:
            return wrong(f"There are {len(books)} of it.")
        await self.lab.settle()
        calls = self.calls("create_book")
        if calls["id"].nunique() != 1:
            return wrong(f"{calls['id'].nunique()} requests were answered: one was to be asked.")
        down = pd.concat([those(self, "kill broker"), those(self, "restart broker")])["at"]
        accepted, made = first(self.lab, Moment.ACCEPTED, calls).min(), books["created_at"].iloc[0]
        if made < down.min():
            return wrong("Dune was made before the broker was killed: no worker should run then.")
        if not down.between(accepted, made).any():
            return wrong(
                "The broker was away, and Dune was made; but its request was not in the queue when "
                "that began. Ask first, and have the broker killed when `ready` is 1."
            )
        return right("Persistent, in a durable queue: it was there when the broker came back.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client(timeout=60)
        dune = {"title": "Dune", "author": "Frank Herbert"}
        call = asyncio.create_task(client.call("create_book", dune))
        while not (await self.lab.queues())["ready"].get("api.requests"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        async with await self.lab.faults.kill("broker"):
            pass
        await self.lab.start_workers(1)
        await call


def happened(exercise: Exercise, fault: str) -> bool:
    """Whether it has, since the exercise began."""
    return len(those(exercise, fault)) > 0


def those(exercise: Exercise, fault: str) -> pd.DataFrame:
    """Rows of the timeline since then: ``fault`` is its name, with or without its target."""
    timeline = exercise.lab.faults.timeline()
    with_target = timeline["fault"] + " " + timeline["target"].fillna("")
    is_it = (timeline["fault"] == fault) | (with_target == fault)
    return timeline[is_it & (timeline["at"] > exercise.since)]


EXERCISES = (LostReply, AnsweredByTheNext, DatabaseDies, ThroughARestart)
