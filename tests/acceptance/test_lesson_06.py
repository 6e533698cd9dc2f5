"""The exercise of notebook 06 is checked by the rows and letters that are left."""

from labkit import Lab
from labkit.exercises.lesson_06 import DUNE, EMMA, ULYSSES, FourLetters
from tests.support import paste


async def begun(lab: Lab) -> FourLetters:
    exercise = FourLetters(lab)
    await exercise.begin()
    return exercise


async def test_no_attempt_is_known_from_a_solution_and_it_can_be_begun_again(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise = await begun(lab)
        for _ in range(2):
            assert (await exercise.check()).outcome == "not attempted"
            await paste(exercise)
            assert (await exercise.check()).outcome == "right"
            await exercise.begin()


async def test_what_replaying_does_not_mend_is_named(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise = await begun(lab)
        await lab.dead_letters.replay()
        assert "ulysses (invalid_data)" in repr(await exercise.check())
        await lab.dead_letters.edit("ulysses", data=ULYSSES | {"year": 1923})
        assert "'Ulysses': 1923" in repr(await exercise.check())


async def test_purged_letters_are_missed(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise = await begun(lab)
        await lab.dead_letters.purge("api.dlq")
        assert "0 letters" in repr(await exercise.check())


async def test_the_same_books_by_other_requests_are_not_the_same(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise, client = await begun(lab), await lab.client()
        for book in (DUNE, EMMA, ULYSSES):
            await client.call("create_book", book)
        await lab.dead_letters.purge("api.dlq")
        assert "make-dune, make-emma, make-ulysses" in repr(await exercise.check())
        await client.call("create_book", DUNE)
        assert "Dune is there 2 times" in repr(await exercise.check())


async def test_the_same_books_under_the_same_keys_by_other_requests_are_not_the_same(
    place: str,
) -> None:
    async with Lab.open(place) as lab:
        exercise, client = await begun(lab), await lab.client()
        await lab.dead_letters.purge("api.dlq")
        for book, key in ((DUNE, "dune"), (EMMA, "emma"), (ULYSSES, "ulysses")):
            await client.call("create_book", book, idempotency_key=f"make-{key}")
        assert "dune, dune-again, emma were never done" in repr(await exercise.check())
