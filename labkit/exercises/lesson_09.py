"""Exercises of ``09_rest_vs_rabbitmq``."""

import pandas as pd

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong

TITLE = "Dune"


class TheOtherDoor(Exercise):
    """Over REST you create *Dune* (Frank Herbert, 1965), but the reply is lost: you do not look at
    it. Is the book there now? Settle it over RabbitMQ by asking again: there has to be one book,
    and the second reply has to say that it is replayed.
    """

    tip = "Both servers look into the same table of idempotency keys."

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
        return _two_doors(calls)

    async def answer(self) -> None:
        rest, rabbitmq = await self.lab.rest_client(), await self.lab.client()
        book = {"title": "Dune", "author": "Frank Herbert", "year": 1965}
        await rest.request("create_book", book, idempotency_key="create-dune")
        reply = await rabbitmq.request("create_book", book, idempotency_key="create-dune")
        assert reply.replayed  # noqa: S101


def _two_doors(calls: pd.DataFrame) -> Assessment:
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
    return right("Two doors, one library: the key is known behind both.")
