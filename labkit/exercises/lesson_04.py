"""Exercises of ``04_idempotency``."""

import pandas as pd

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong

TITLES = ["Dune", "Emma", "Ulysses"]


class ImpatientClient(Exercise):
    """Create *Dune* (Frank Herbert), *Emma* (Jane Austen) and *Ulysses* (James Joyce), and send
    every one of the three requests five times, all fifteen at once. There have to be three books.
    """

    tip = "How many wishes are there, and how many attempts? asyncio.gather sends them together."

    async def look(self) -> Assessment:
        rows = await self.lab.rows("books_v1")
        counts = rows["title"].value_counts().reindex(TITLES, fill_value=0)
        if not counts.any():
            return not_attempted("None of the three books is there.")
        await self.lab.settle()
        if (counts > 1).any():
            doubled = {title: int(count) for title, count in counts[counts > 1].items()}
            return wrong(
                f"These were made more than once: {doubled}. Did each attempt have a key of its "
                "own, or none? `await lab.reset()` empties the library."
            )
        if (counts == 0).any():
            missing = ", ".join(counts[counts == 0].index)
            return wrong(
                f"Missing: {missing}. If it was refused as key_reused, it shared another one's key."
            )
        calls = self.calls("create_book")
        if calls["replayed"].sum() < 12:
            return wrong(
                f"Three books, but only {len(calls)} calls since the exercise began: fifteen "
                "were asked for, of which twelve are repetitions."
            )
        if _overlapping(calls) < 7:
            return wrong(
                "Fifteen calls and three books, but one call after the other: when they are sent, "
                "none of them may have its answer yet. asyncio.gather sends them together."
            )
        return right("Fifteen calls, three wishes, three books.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client()
        books = [("Dune", "Frank Herbert"), ("Emma", "Jane Austen"), ("Ulysses", "James Joyce")]
        await asyncio.gather(
            *(
                client.call(
                    "create_book",
                    {"title": title, "author": author},
                    idempotency_key=f"create {title}",
                )
                for title, author in books
                for attempt in range(5)
            )
        )


def _overlapping(calls: pd.DataFrame) -> int:
    """How many began before one that began earlier had ended."""
    ended = pd.to_datetime(calls["time"], utc=True, format="ISO8601")
    began = (ended - pd.to_timedelta(calls["ms"], unit="ms")).sort_values()
    return int((began < ended.reindex(began.index).cummax().shift()).sum())
