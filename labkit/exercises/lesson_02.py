"""Exercises of ``02_request_and_reply``."""

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong

TITLE = "Brave New World"


class OneBookTwoCalls(Exercise):
    """Create the book *Brave New World* by Aldous Huxley, 1932, with **two** calls: the second is
    the first one sent again, as a client does that never saw the reply. There has to be one row.
    """

    tip = (
        "The server can only know that two calls mean the same if both carry the same name for it."
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
