"""Exercises of ``04_idempotency``."""

import json
import random

import pandas as pd

from labkit.database import connect
from labkit.exercises.exercise import (
    Assessment,
    Exercise,
    not_attempted,
    overlapping,
    right,
    wrong,
)
from server.contract.envelope import BY_REQUEST_ID

PAYMENTS = [(f"payment-{n}", n * 10) for n in range(1, 11)]
TITLES = ["Dune", "Emma", "Ulysses"]


class ImpatientClient(Exercise):
    """Create *Dune* (Frank Herbert), *Emma* (Jane Austen) and *Ulysses* (James Joyce), and send
    every one of the three requests five times, all fifteen at once. There have to be three books.
    """

    title = "The impatient client"
    stars, minutes = 2, 5
    tips = (
        "How many wishes are there, and how many attempts?",
        "A key for each wish, the same for its five attempts. `asyncio.gather` sends them at once.",
    )

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
        if overlapping(calls) < 7:
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


class KeyReused(Exercise):
    """Create *Dune* (Frank Herbert) under the key `mine`. Then have the server refuse a request as
    `key_reused`, without a second book.
    """

    title = "A key means one thing"
    stars, minutes = 1, 2
    tips = (
        "What does the server keep beside the key, so that it knows the request again?",
        "Ask for another book, or another year, under the same key.",
    )

    async def look(self) -> Assessment:
        await self.lab.settle()
        keys, books = await self.lab.rows("idempotency_keys"), await self.lab.rows("books_v1")
        if books.empty:
            return not_attempted("There is no book.")
        if "mine" not in set(keys["key"]):
            return wrong("There is a book, but nothing was done under the key `mine`.")
        if len(books) > 1:
            return wrong(f"There are {len(books)} books: were there two keys, or none?")
        if (title := books["title"].iloc[0]) != "Dune":
            return wrong(f"Under `mine` *{title}* was created, and *Dune* should be.")
        outcomes = self.calls("create_book")["outcome"].tolist()
        if "key_reused" not in outcomes:
            return wrong(f"The outcomes were {', '.join(outcomes)}: nothing was key_reused.")
        return right("One key, one request; a different one is refused, not answered with a lie.")

    async def answer(self) -> None:
        client = await self.lab.client()
        dune = {"title": "Dune", "author": "Frank Herbert"}
        await client.call("create_book", dune, idempotency_key="mine")
        await client.request("create_book", dune | {"year": 1965}, idempotency_key="mine")


class TwoCopies(Exercise):
    """The library really wants two copies of *Emma* (Jane Austen, 1815). Create both, and send each
    of the two requests twice, as a careful client may. There have to be two rows.
    """

    title = "Two wishes that look alike"
    stars, minutes = 1, 3
    tips = (
        "The server goes by the key, not by the book.",
        "Two wishes, two keys, each used twice.",
    )

    async def look(self) -> Assessment:
        await self.lab.settle()
        rows, calls = await self.lab.rows("books_v1"), self.calls("create_book")
        count = int((rows["title"] == "Emma").sum())
        if not count:
            return not_attempted("There is no Emma.")
        if count == 1:
            return wrong("There is one copy: both wishes had the same key.")
        if count > 2:
            return wrong(f"There are {count} copies: a repetition has to carry its wish's key.")
        keys = await self.lab.rows("idempotency_keys")
        if (_names(calls, keys).value_counts() >= 2).sum() < 2:
            return wrong(
                "Two copies; but each request was to be sent twice: a wish has a key of its own, "
                "which both of its requests carry."
            )
        return right("Two wishes, four requests, two copies.")

    async def answer(self) -> None:
        client = await self.lab.client()
        emma = {"title": "Emma", "author": "Jane Austen", "year": 1815}
        for copy in ("first", "second"):
            for _ in range(2):
                await client.call("create_book", emma, idempotency_key=f"emma-{copy}")


def _names(calls: pd.DataFrame, keys: pd.DataFrame) -> pd.Series:
    """What the server knows each of these calls by: its idempotency key, or without one its id."""
    by_id = keys[keys["resource_type"] == BY_REQUEST_ID].set_index("key")["kept_under"]
    return calls["id"].map(by_id).fillna(calls["id"])


class YourOwnConsumer(Exercise):
    """In the queue `payments` are ten payments, each of them two to four times, as an impatient
    till sends them. A body is JSON: `{"id": "payment-1", "amount": 10}`. Write a consumer that
    books each payment **once** into the table `payments (id text primary key, amount int)`, which
    is there and empty, and leaves nothing in the queue. A payment is not to be acknowledged before
    it is in the table.
    """

    title = "An idempotent consumer of your own"
    stars, minutes = 3, 10
    tips = (
        "The table has a primary key. Which statement inserts a row unless it is there, and lets "
        "the database decide?",
        "`INSERT INTO payments VALUES ($1, $2) ON CONFLICT DO NOTHING`, and then the ack. "
        "`asyncpg.connect(lab.database_url)` connects.",
    )

    async def prepare(self) -> None:
        connection = await connect(self.lab.database_url)
        await connection.execute("DROP TABLE IF EXISTS payments")
        await connection.execute("CREATE TABLE payments (id text PRIMARY KEY, amount int)")
        await connection.close()
        chance = random.Random(4)  # noqa: S311  (no secret)
        copies = [p for p in PAYMENTS for _ in range(chance.randint(2, 4))]
        chance.shuffle(copies)
        bodies = [json.dumps({"id": id, "amount": amount}).encode() for id, amount in copies]
        await self.publish("payments", *bodies)
        self._sent = len(bodies)

    async def look(self) -> Assessment:
        rows = await self.lab.rows("payments")
        queues = await self.lab.queues()
        ready, unacked = map(int, queues.loc["payments", ["ready", "unacked"]])
        booked = dict(rows[["id", "amount"]].to_numpy().tolist())
        if rows.empty and ready == self._sent:
            return not_attempted(f"{ready} messages wait, and nothing is booked.")
        if ready + unacked:
            return wrong(f"{ready} messages still wait, and {unacked} are not acknowledged.")
        missing = len(PAYMENTS) - len(booked)
        if missing:
            return wrong(
                f"The queue is empty, but {missing} of ten payments are not booked: they are lost. "
                "Was a message acknowledged before it was in the table?"
            )
        if booked != dict(PAYMENTS):
            return wrong(f"Ten payments, with wrong amounts: {booked}")
        return right("Each payment once, however often it came.")

    async def answer(self) -> None:
        import json

        import aio_pika
        import asyncpg

        database = await asyncpg.connect(self.lab.database_url)
        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            payments = await channel.get_queue("payments")
            while (message := await payments.get(fail=False)) is not None:
                payment = json.loads(message.body)
                await database.execute(
                    "INSERT INTO payments VALUES ($1, $2) ON CONFLICT DO NOTHING",
                    payment["id"],
                    payment["amount"],
                )
                await message.ack()
        await database.close()


EXERCISES = (KeyReused, TwoCopies, ImpatientClient, YourOwnConsumer)
