"""Exercises of ``05_acknowledge_and_redeliver``."""

import asyncio

import pandas as pd

from labkit import deadline
from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from server.contract.topology import REQUESTS

TITLE = "Dune"


class TwoWorkersOneRequest(Exercise):
    """*Dune* (Frank Herbert, 1965) has to be written into the database by one worker, and
    acknowledged by another one, although you send the request only once.
    """

    tip = (
        "`lab.start_workers(dies_at=step)` starts a worker that is killed at a "
        "step: after which step is the book in the database, and before which one is the request "
        "still unacknowledged? The call has to be under way meanwhile: asyncio.create_task."
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
    if not lines["replayed"].any():
        return wrong(
            "One book, but the worker that acknowledged its request had written it itself. A "
            "worker that dies before its commit has written nothing, and after its ack nothing "
            "comes again."
        )
    return right("Written by one, acknowledged by another, and one book.")
