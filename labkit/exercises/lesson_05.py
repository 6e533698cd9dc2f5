"""Exercises of ``05_acknowledge_and_redeliver``."""

import asyncio
from itertools import takewhile

import aio_pika
import pandas as pd
from aio_pika.abc import AbstractIncomingMessage

from labkit import deadline
from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from labkit.services.logs import events
from server.contract.log_events import DRAINED, READY, REQUEST
from server.contract.topology import REQUESTS

PARCELS = "parcels"
TITLE = "Dune"


class TwoWorkersOneRequest(Exercise):
    """*Dune* (Frank Herbert, 1965) has to be written into the database by one worker, and
    acknowledged by another one, although you send the request only once.
    """

    title = "Written by one, acknowledged by another"
    stars, minutes, workers = 3, 8, 0
    tips = (
        "The first worker has to die between two of its steps, and a second one has to come.",
        "`lab.start_workers(dies_at=step)` starts a worker that is killed at a step: after which "
        "step is the book in the database, and before which one is the request acknowledged?",
    )

    async def look(self) -> Assessment:
        books = await self.lab.rows("books_v1")
        books = books[books["title"] == TITLE]
        if len(books) > 1:
            return wrong(f"There are {len(books)} of it: `await lab.reset()`, and once more.")
        if await self._waiting():
            there = "no book yet" if books.empty else "the book"
            return wrong(f"There is {there}, and a request waits in {REQUESTS} for a worker.")
        if books.empty:
            return not_attempted(f"There is no book {TITLE!r} in books_v1.")
        log = self.lab.log()
        since = pd.to_datetime(log["time"], utc=True) > books.iloc[0]["created_at"]
        return _one_request(log[since & (log["action"] == "create_book")])

    async def _waiting(self) -> int:
        """How many requests wait, once no worker has one in its hands, alive or not."""
        async with deadline.within(10, "a worker still holds a request."):
            while True:
                queues = await self.lab.queues()
                if not queues["unacked"].get(REQUESTS, 0):
                    return int(queues["ready"].get(REQUESTS, 0))
                await asyncio.sleep(0.02)

    async def answer(self) -> None:
        import asyncio

        from labkit.experiments import crash

        client = await self.lab.client()
        await self.lab.stop_workers()
        await self.lab.start_workers(dies_at="committed")
        dune = {"title": "Dune", "author": "Frank Herbert", "year": 1965}
        call = asyncio.create_task(client.call("create_book", dune, timeout=60))
        await crash.ended(self.lab, "worker-1")
        await self.lab.start_workers(1)
        await call


def _one_request(lines: pd.DataFrame) -> Assessment:
    """There is one book, and no request any more. ``lines`` were logged since it was written."""
    if lines["id"].nunique() > 1:
        return wrong(
            f"One book, but {lines['id'].nunique()} requests were answered: send it once, and "
            "have the broker deliver it again."
        )
    if lines.empty or not lines["replayed"].all():
        return wrong(
            "One book, but the worker that acknowledged its request had written it itself. A "
            "worker that dies before its commit has written nothing, and after its ack nothing "
            "comes again."
        )
    return right("Written by one, acknowledged by another, and one book.")


class PutBack(Exercise):
    """In the queue `parcels` are *one*, *two* and *three*. *one* cannot be delivered: have the
    broker forget it. *two* is not for you: hand it back, so that it waits at its old place, marked
    as redelivered. *three* you do not touch at all.
    """

    title = "Two ways to say no"
    stars, minutes, workers = 1, 3, 0
    tips = (
        "Look at the table *Three answers to a delivery*.",
        "`reject(requeue=False)` for the one, `reject(requeue=True)` for the other. And take no "
        "more than these two.",
    )

    async def prepare(self) -> None:
        await self.publish(PARCELS, b"one", b"two", b"three", message_id="yours")

    async def look(self) -> Assessment:
        queues = await self.lab.queues()
        if held := int(queues["unacked"][PARCELS]):
            return wrong(f"You still hold {held} of them: each delivery has to be answered.")
        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            queue, seen = await channel.get_queue(PARCELS), []
            while (parcel := await queue.get(fail=False)) is not None:
                seen.append(parcel)
        await self._put_as(seen)
        return _put_back(seen)

    async def _put_as(self, seen: list[AbstractIncomingMessage]) -> None:
        """Looking marks each as redelivered: put them in again, so that a second look sees what
        the first one saw.
        """
        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(PARCELS)
            await queue.purge()
            for parcel in seen:
                same = aio_pika.Message(parcel.body, message_id=parcel.message_id)
                await channel.default_exchange.publish(same, PARCELS)
            marked = [await queue.get() for _ in takewhile(lambda p: p.redelivered, seen)]
            for parcel in reversed(marked):
                await parcel.reject(requeue=True)

    async def answer(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            parcels = await channel.get_queue("parcels")
            await (await parcels.get()).reject(requeue=False)
            await (await parcels.get()).reject(requeue=True)


def _put_back(seen: list[AbstractIncomingMessage]) -> Assessment:
    names = [parcel.body.decode(errors="replace") for parcel in seen]
    if names == ["one", "two", "three"]:
        return not_attempted("All three parcels wait in their order.")
    if names != ["two", "three"]:
        return wrong(f"There wait: {', '.join(names) or 'none'}. It should be two, three.")
    if any(parcel.message_id != "yours" for parcel in seen):
        return wrong("*two* and *three* are new ones: the two that were there are lost.")
    if not seen[0].redelivered:
        return wrong("*one* is gone; but *two* was not taken and handed back yet.")
    if seen[1].redelivered:
        return wrong("*three* is marked as redelivered: it was taken, too.")
    return right("One forgotten, one handed back, one untouched.")


class ThreeInHand(Exercise):
    """In the queue `parcels` are ten. Open a consumer that holds exactly three of them, without an
    acknowledgement, and keep it open: seven have to stay `ready` for others.
    """

    title = "Three in hand"
    stars, minutes, workers = 1, 4, 0
    tips = (
        "How many a consumer may hold is said on its channel, before it consumes.",
        "`channel.set_qos(prefetch_count=3)`, then `queue.consume(...)` with a callback that does "
        "not acknowledge. Do not close the connection.",
    )

    async def prepare(self) -> None:
        await self.publish(PARCELS, *(str(n).encode() for n in range(10)))

    async def look(self) -> Assessment:
        # The broker's statistics may still be of the queue of this name that was there before.
        if await self.ready_now(PARCELS) == 10:
            return not_attempted("All ten are ready.")
        ready, unacked = map(int, (await self.lab.queues()).loc[PARCELS, ["ready", "unacked"]])
        if ready + unacked < 10:
            return wrong(f"{10 - ready - unacked} are gone: a consumer acknowledged, or no_ack.")
        if (ready, unacked) != (7, 3):
            return wrong(f"{ready} are ready, and {unacked} are held. Without a limit it is all.")
        return right("Three held, seven for others.")

    async def answer(self) -> None:
        import asyncio

        import aio_pika

        connection = await aio_pika.connect(self.lab.amqp_url)
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=3)
        held: asyncio.Queue[object] = asyncio.Queue()
        await (await channel.get_queue("parcels")).consume(held.put)
        for _ in range(3):
            await held.get()


class NothingLost(Exercise):
    """No worker runs. Send `create_book` for *Dune* (Frank Herbert), and have **two** workers die
    of it, one after the other, each before its commit. A third one has to do it: one book, and the
    call is answered, although it was sent once.
    """

    title = "Twice dead, once done"
    stars, minutes, workers = 2, 6, 0
    tips = (
        "`lab.start_workers(dies_at=step)` kills a worker at a step: take one before `committed`.",
        "Send the call as a task with a long timeout; `await crash.ended(lab, 'worker-1')` waits "
        "for a death. Then start the next one.",
    )

    async def look(self) -> Assessment:
        books = await self.lab.rows("books_v1")
        if not (books["title"] == TITLE).any():
            return not_attempted("There is no Dune.")
        await self.lab.settle()
        calls = self.calls("create_book")
        if len(books) > 1 or calls["id"].nunique() > 1:
            return wrong("More than one request was answered: send it once, and be patient.")
        if calls["replayed"].any():
            return wrong("A worker died *after* its commit: the last one only sent its reply.")
        if (dead := self._killed()) < 2:
            return wrong(f"{dead} workers were killed since the exercise began, and two should be.")
        return right("Two died of it, the third did it, and it was asked for once.")

    def _killed(self) -> int:
        """Workers that began to consume, and died before they answered a request or were asked to
        end. One that is idle lives.
        """
        workers, killed = self.lab.workers(), 0
        for name, log in self.lab.worker_logs.items():
            lives: list[set[str]] = []  # a name is used again
            for event in events([log]):
                if pd.Timestamp(event["time"]) > self.since:
                    if event["event"] == READY:
                        lives.append(set())
                    elif lives:
                        lives[-1].add(event["event"])
            if lives and name in workers.index[workers["alive"]]:
                lives.pop()
            killed += sum(not said & {REQUEST, DRAINED} for said in lives)
        return killed

    async def answer(self) -> None:
        import asyncio

        from labkit.experiments import crash

        client = await self.lab.client(timeout=60)
        book = {"title": "Dune", "author": "Frank Herbert"}
        call = asyncio.create_task(client.call("create_book", book))
        for number in (1, 2):
            await self.lab.start_workers(dies_at="applied")
            await crash.ended(self.lab, f"worker-{number}")
        await self.lab.start_workers(1)
        await call


EXERCISES = (PutBack, ThreeInHand, NothingLost, TwoWorkersOneRequest)
