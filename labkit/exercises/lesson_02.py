"""Exercises of ``02_request_and_reply``."""

from labkit.exercises.exercise import (
    Assessment,
    Exercise,
    not_attempted,
    overlapping,
    right,
    wrong,
)
from labkit.services.logs import parsed
from server.contract.topology import DEAD_LETTERS

REPLIES = "my-replies"
TITLE = "Brave New World"


class OneBookTwoCalls(Exercise):
    """Create the book *Brave New World* by Aldous Huxley, 1932, with **two** calls: the second is
    the first one sent again, as a client does that never saw the reply. There has to be one row.
    """

    title = "Sent twice, made once"
    stars, minutes = 1, 3
    tips = (
        "The server can only know that two calls mean the same if both carry the same name for it.",
        "The name is the argument `idempotency_key` of `client.call`.",
    )

    async def look(self) -> Assessment:
        rows = await self.lab.rows("books_v1")
        books = rows[rows["title"] == TITLE]
        if books.empty:
            return not_attempted(f"There is no book with the title {TITLE!r} in books_v1.")
        if len(books) > 1:
            return wrong(
                f"There are {len(books)} rows of it: each call made a book. "
                "`await lab.reset()` empties the library, then try again."
            )
        await self.lab.settle()
        if not self.calls("create_book")["replayed"].any():
            return wrong(
                "There is one row, but no call since this exercise began was a repetition. "
                "Send the same call again, as if its reply had been lost."
            )
        wanted = {"author": "Aldous Huxley", "year": 1932}
        found = {column: books[column].tolist()[0] for column in wanted}
        if found != wanted:
            return wrong(f"There is one row, and it says {found}, not {wanted}.")
        return right("Two calls, one book: the second got the reply of the first.")

    async def answer(self) -> None:
        client = await self.lab.client()
        book = {"title": "Brave New World", "author": "Aldous Huxley", "year": 1932}
        for _ in range(2):
            await client.call("create_book", book, idempotency_key="create-brave-new-world")


class ByHand(Exercise):
    """Without `AsyncAPIClient`: publish the request `ping` with the id `by-hand`, such that its
    reply comes into a queue named `my-replies`, and leave the reply there. It has to be `ok`, and
    to carry the correlation id `by-hand`.
    """

    title = "A reply by hand"
    stars, minutes, queues = 2, 8, (REPLIES,)
    tips = (
        "`request` in the cells above makes the message; where does it say where to reply to?",
        "Declare `my-replies`, publish to `api.requests`, and set both `reply_to` and "
        "`correlation_id`. `lab.api_key` goes into the body's `auth`.",
    )

    async def look(self) -> Assessment:
        if REPLIES not in (await self.lab.queues()).index:
            return not_attempted(f"There is no queue named {REPLIES}.")
        await self.lab.settle()
        replies = await self.inside(REPLIES)
        if not replies:
            return wrong(
                f"{REPLIES} is empty. Either no request named it as `reply_to`, or the reply was "
                f"taken out. In {DEAD_LETTERS} there are {await self.ready(DEAD_LETTERS)} letters: "
                "requests that cannot be answered end there."
            )
        reply, document = replies[-1], parsed(replies[-1].body)
        if document is None:
            return wrong(f"What is in {REPLIES} is no reply: that of a server is a JSON object.")
        if document.get("status") != "ok":
            return wrong(f"The reply says: {document.get('error')}")
        if reply.correlation_id != "by-hand":
            return wrong(f"The reply's correlation id is {reply.correlation_id!r}, not 'by-hand'.")
        if "by-hand" not in set(self.calls("ping")["id"]):
            return wrong(
                "The message looks right, but no worker has answered a ping with the id `by-hand` "
                "since the exercise began."
            )
        return right("Your own request, and its reply where you wanted it.")

    async def answer(self) -> None:
        import json

        import aio_pika

        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("my-replies", durable=True)
            body = {"id": "by-hand", "version": "v1", "action": "ping", "data": {}}
            body |= {"auth": self.lab.api_key}
            message = aio_pika.Message(
                json.dumps(body).encode(), correlation_id="by-hand", reply_to="my-replies"
            )
            await channel.default_exchange.publish(message, "api.requests")


class TenAtOnce(Exercise):
    """Create ten books, *Part 1* to *Part 10* by Marcel Proust, all at once: when they are sent,
    none may have its answer yet. Then, by the answers, set the `year` of each to 1900 plus the id
    that it got.
    """

    title = "Ten in flight"
    stars, minutes = 2, 5
    tips = (
        "`asyncio.gather` sends them together, and returns the answers in the order of the calls.",
        "Each answer is a book with its `id`: `update_book` takes an `id` and what is to change.",
    )

    async def look(self) -> Assessment:
        await self.lab.settle()
        rows = await self.lab.rows("books_v1")
        parts = rows[rows["title"].isin([f"Part {n}" for n in range(1, 11)])]
        if parts.empty:
            return not_attempted("None of the ten parts is there.")
        if len(parts) != 10 or parts["title"].nunique() != 10:
            return wrong(f"There are {len(parts)} rows of {parts['title'].nunique()} parts.")
        other = parts[parts["year"] != parts["id"] + 1900]
        if len(other):
            first = other.iloc[0]
            return wrong(
                f"{len(other)} parts have another year: {first['title']} has the id "
                f"{first['id']} and the year {first['year']}."
            )
        if overlapping(self.calls("create_book")) < 5:
            return wrong("All is right but for one thing: they were created one after the other.")
        return right("Ten calls in flight, and each found its own answer.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client()
        books = [{"title": f"Part {n}", "author": "Marcel Proust"} for n in range(1, 11)]
        made = await asyncio.gather(*(client.call("create_book", book) for book in books))
        for book in made:
            await client.call("update_book", {"id": book["id"], "year": 1900 + book["id"]})


class AfterTheTimeout(Exercise):
    """No worker runs. Call `create_book` for *Dune* (Frank Herbert) with a timeout of half a
    second: it ends in `ReplyTimeout`. Then start a worker, and find out what has become of it, in
    the only way there is. In the end there has to be one *Dune*.
    """

    title = "After the timeout"
    stars, minutes, workers = 2, 5, 0
    tips = (
        "After a timeout the outcome is unknown. What settles it, and doubles nothing?",
        "Give the first call an idempotency key, and ask again with the same.",
    )

    async def look(self) -> Assessment:
        if self.calls("create_book").empty:
            return not_attempted("No worker has answered a create_book since the exercise began.")
        await self.lab.settle()
        rows = await self.lab.rows("books_v1")
        count = int((rows["title"] == "Dune").sum())
        if count != 1:
            return wrong(f"{count} rows of Dune: the second call has to make what the first did.")
        if "expired" not in set(self.calls()["outcome"]):
            return wrong("There is one Dune, but no call had timed out before a worker came.")
        keys = await self.lab.rows("idempotency_keys")
        if not (keys["resource_type"] == "book_v1").any():
            return wrong(
                "One Dune, this time: the first call had expired. Without an idempotency key, had "
                "it been done, there would be two."
            )
        return right("The first had expired, the second made it; and no way leads to two.")

    async def answer(self) -> None:
        from labkit import ReplyTimeout

        client = await self.lab.client()
        book = {"title": "Dune", "author": "Frank Herbert"}
        try:
            await client.call("create_book", book, idempotency_key="dune", timeout=0.5)
        except ReplyTimeout:
            await self.lab.start_workers(1)
            await client.call("create_book", book, idempotency_key="dune")
        await self.lab.settle()


EXERCISES = (OneBookTwoCalls, ByHand, TenAtOnce, AfterTheTimeout)
