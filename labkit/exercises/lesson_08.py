"""Exercises of ``08_backpressure_and_scaling``."""

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong

VOLUMES = 100


class Encyclopedia(Exercise):
    """An encyclopedia has 100 volumes: *Volume 1* to *Volume 100*, by Denis Diderot. Create them,
    all asked at once, each with an idempotency key of its own. The queue does not hold so many.
    In the end every volume has to be there, once.
    """

    tip = (
        "QueueFull is definite: this request was not taken, and nothing was done. Wait, each time "
        "a little longer and never exactly as long as the others, and ask again with the same key."
    )

    async def look(self) -> Assessment:
        titles = [f"Volume {number}" for number in range(1, VOLUMES + 1)]
        await self.lab.settle()
        rows = await self.lab.rows("books_v1")
        counts = rows["title"].value_counts().reindex(titles, fill_value=0)
        if not counts.any():
            return not_attempted("None of the volumes is there.")
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
        return right("A hundred requests through a queue for twenty: refused, and not lost.")

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

        await asyncio.gather(*(create(number) for number in range(1, 101)))
