"""Exercises of ``03_versions_and_filters``."""

import asyncio

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong

ROWLING = {"name": "J.K. Rowling", "birth_year": 1965, "country": "UK"}
TITLE = "The Casual Vacancy"


class MoveToVersion2(Exercise):
    """*The Casual Vacancy* (J.K. Rowling, 2012, genre Tragicomedy) is missing in version 2. Create
    it there, by the author who is in the library already: there must not be a second J.K. Rowling.
    """

    title = "A book moves to version 2"
    stars, minutes = 2, 5
    tips = (
        "Version 2 does not want the author's name.",
        "`get_authors` of version 2 says the id of every author.",
    )

    async def prepare(self) -> None:
        client = await self.lab.client()
        self._rowling = await client.call("create_author", ROWLING, version="v2")

    async def look(self) -> Assessment:
        books, authors = await self.lab.rows("books_v2"), await self.lab.rows("authors")
        books = books[books["title"] == TITLE]
        if books.empty:
            v1 = await self.lab.rows("books_v1")
            if (v1["title"] == TITLE).any():
                return wrong("The book is in version 1 now: pass version='v2'.")
            return not_attempted(f"There is no book {TITLE!r} in books_v2.")
        rowlings = authors[authors["name"] == "J.K. Rowling"]
        if len(rowlings) > 1:
            return wrong(f"There are {len(rowlings)} authors named J.K. Rowling now.")
        if len(books) > 1:
            return wrong(f"There are {len(books)} copies of it: delete_book removes one by its id.")
        book = books.iloc[0]
        if book["author_id"] not in set(rowlings["id"]):
            return wrong(f"Its author_id is {book['author_id']}, which is not J.K. Rowling.")
        if book["author_id"] != self._rowling["id"]:
            return wrong(
                f"Its author is a new J.K. Rowling, with the id {book['author_id']}: the one who "
                f"was there, with the id {self._rowling['id']}, is gone. `await exercise.begin()`."
            )
        found = {"genre": book["genre"], "year": int(book["year"] or 0)}
        wanted = {"genre": "Tragicomedy", "year": 2012}
        if found != wanted:
            return wrong(f"It says {found}, not {wanted}: update_book changes single fields.")
        return right("One book, and its author is the one who was there.")

    async def answer(self) -> None:
        client = await self.lab.client()
        authors = (await client.call("get_authors", version="v2"))["authors"]
        rowling = next((each for each in authors if each["name"] == "J.K. Rowling"), None)
        if rowling is None:
            rowling = await client.call("create_author", {"name": "J.K. Rowling"}, version="v2")
        book = {"title": "The Casual Vacancy", "genre": "Tragicomedy", "year": 2012}
        await client.call("create_book", book | {"author_id": rowling["id"]}, version="v2")


class OneField(Exercise):
    """*Emma* is in version 2 without its ISBN, which is 978-0-14-143958-7, and with a wrong year:
    it appeared in 1815. Correct both, and leave everything else as it is.
    """

    title = "Two fields of one book"
    stars, minutes = 1, 3
    tips = (
        "`update_book` of version 2 changes the fields that you send, and no others.",
        "It wants the book's `id`: `get_books` says it.",
    )

    async def prepare(self) -> None:
        client = await self.lab.client()
        author = await client.call("create_author", {"name": "Jane Austen"}, version="v2")
        book = {"title": "Emma", "author_id": author["id"], "genre": "Novel", "year": 1915}
        self._emma = await client.call("create_book", book, version="v2")

    async def look(self) -> Assessment:
        books = await self.lab.rows("books_v2")
        if len(books) != 1:
            return wrong(f"There are {len(books)} books: one was to be changed.")
        emma = books.iloc[0]
        if emma["year"] == 1915 and emma["isbn"] is None:
            return not_attempted("Emma is as it was.")
        found = {"title": emma["title"], "genre": emma["genre"], "isbn": emma["isbn"]}
        found |= {"year": int(emma["year"] or 0)}
        if found != EMMA:
            return wrong(f"It is now {found}, and should be {EMMA}.")
        if emma["id"] != self._emma["id"]:
            return wrong(
                "Both are right, in another book: Emma was deleted, and is found under her old id "
                "no more. `await exercise.begin()`, and change the book that is there."
            )
        return right("Both are right, and all else is as it was.")

    async def answer(self) -> None:
        client = await self.lab.client()
        (emma,) = (await client.call("get_books", {"title": "Emma"}, version="v2"))["books"]
        change = {"id": emma["id"], "year": 1815, "isbn": "978-0-14-143958-7"}
        await client.call("update_book", change, version="v2")


EMMA = {"title": "Emma", "genre": "Novel", "isbn": "9780141439587", "year": 1815}


POEMS = 120


class AllPages(Exercise):
    """A hundred and twenty poems have got into the library: books of the genre *Poetry*, in version
    2. Delete all of them, and nothing else. One page of `get_books` does not show all of them.
    """

    title = "Every page"
    stars, minutes = 2, 6
    tips = (
        "A page says in `next` where the following one begins; on the last one it is None.",
        "Collect the ids of all pages first, and delete then: pages of rows that vanish "
        "meanwhile are hard to reason about. (With a cursor it would even work.)",
    )

    async def prepare(self) -> None:
        client = await self.lab.client()
        author = await client.call("create_author", {"name": "Sappho"}, version="v2")
        kinds = [(f"Poem {n}", "Poetry") for n in range(POEMS)] + [
            (f"Play {n}", "Drama") for n in (1, 2)
        ]
        books = [{"title": t, "genre": g, "author_id": author["id"]} for t, g in kinds]
        made = await asyncio.gather(*(client.call("create_book", b, version="v2") for b in books))
        self._plays = [book["id"] for book in made if book["genre"] == "Drama"]

    async def look(self) -> Assessment:
        books = await self.lab.rows("books_v2")
        poems = int((books["genre"] == "Poetry").sum())
        plays = int(books["id"].isin(self._plays).sum())
        if poems == POEMS and plays == 2:
            return not_attempted("All of them are there.")
        if plays < 2:
            return wrong(f"{2 - plays} of the two plays are gone, too. `await exercise.begin()`.")
        if poems:
            return wrong(f"{poems} poems are left: did you follow `next` to the last page?")
        return right("Several pages of poems, and none is left.")

    async def answer(self) -> None:
        client = await self.lab.client()
        cursor, poems = None, []
        while True:
            conditions = {"genre": "Poetry", "cursor": cursor}
            page = await client.call("get_books", conditions, version="v2")
            poems += page["books"]
            if (cursor := page["next"]) is None:
                break
        for poem in poems:
            await client.call("delete_book", {"id": poem["id"]}, version="v2")


class OnlyLook(Exercise):
    """Make a reader named *Ravi*, with a key of his own. He looks for books, which he may; and then
    he tries to create an author *Ravi* in version 2, which he may not: the server has to refuse it
    as `forbidden`, not as `unauthorized`.
    """

    title = "A reader reads"
    stars, minutes = 2, 5
    tips = (
        "`lab.admin` made a reader and a key above, and `lab.client(api_key=...)` uses it.",
        "`client.request` returns the refusal as `reply.error`; `client.call` raises it.",
    )

    async def look(self) -> Assessment:
        await self.lab.settle()
        if self.calls().empty:
            return not_attempted("No request was sent since the exercise began.")
        if "Ravi" not in set((await self.lab.rows("users"))["name"]):
            return wrong("There is no user named Ravi.")
        outcomes = self.calls("create_author")["outcome"].tolist()
        if "ok" in outcomes:
            return wrong("An author was created: with the lab's own key, perhaps?")
        if "forbidden" not in outcomes:
            seen = ", ".join(outcomes) or "not asked for"
            return wrong(f"create_author was {seen}, and should be forbidden: with Ravi's key.")
        if "ok" not in set(self.calls("get_books")["outcome"]):
            return wrong("He was refused, as he should; but he has not looked for books yet.")
        return right("The server knows him, and knows what he may.")

    async def answer(self) -> None:
        await self.lab.admin("users", "add", "Ravi")
        key = (await self.lab.admin("keys", "make", "Ravi")).split()[0]
        ravi = await self.lab.client(api_key=key)
        await ravi.call("get_books", version="v2")
        await ravi.request("create_author", {"name": "Ravi"}, version="v2")


EXERCISES = (OneField, MoveToVersion2, AllPages, OnlyLook)
