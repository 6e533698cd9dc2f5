"""Exercises of ``03_versions_and_filters``."""

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong

TITLE = "The Casual Vacancy"


class MoveToVersion2(Exercise):
    """*The Casual Vacancy* (J.K. Rowling, 2012, genre Tragicomedy) is missing in version 2. Create
    it there, by the author who is in the library already: there must not be a second J.K. Rowling.
    """

    tip = "`get_authors` of version 2 tells the id of every author."

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
