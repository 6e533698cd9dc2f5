"""Exercises of ``07_failure_injection``."""

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from server.contract.topology import REQUESTS

TITLE = "Dune"


class AnsweredByTheNext(Exercise):
    """Create *Dune* (Frank Herbert, 1965) so that the worker which made it is killed right after
    the commit, and the caller gets its answer all the same. There has to be one book, and no one
    may have asked twice.
    """

    tip = "Arm the kill before you call, call in a task of its own, and then see who is left."

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
