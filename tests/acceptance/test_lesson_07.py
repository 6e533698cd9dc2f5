"""The exercise of notebook 07 knows who died where, and who answered."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from labkit import Lab
from labkit.exercises.lesson_07 import AnsweredByTheNext
from tests.support import paste

DUNE = {"title": "Dune", "author": "Frank Herbert", "year": 1965}


@pytest.fixture
async def lab(place: str) -> AsyncIterator[Lab]:
    async with Lab.open(place, workers=0) as lab:
        await lab.start_workers(obedient=True)
        yield lab


async def test_no_attempt_is_told_from_a_solution(lab: Lab) -> None:
    exercise = AnsweredByTheNext(lab)
    assert (await exercise.check()).outcome == "not attempted"
    await paste(exercise)
    assert (await exercise.check()).outcome == "right"


async def test_a_wrong_attempt_a_reset_and_the_solution_is_right(lab: Lab) -> None:
    exercise, client = AnsweredByTheNext(lab), await lab.client()
    await client.call("create_book", DUNE)
    assert (await exercise.check()).outcome == "wrong"
    await lab.reset()
    await paste(exercise)
    assert (await exercise.check()).outcome == "right"


async def test_a_book_that_nobody_died_for_is_not_enough(lab: Lab) -> None:
    exercise, client = AnsweredByTheNext(lab), await lab.client()
    await client.call("create_book", DUNE)
    assert "armed before the call" in repr(await exercise.check())
    await client.call("create_book", DUNE)
    assert "There are 2" in repr(await exercise.check())


async def test_a_request_that_still_waits_is_seen_in_the_queue(lab: Lab) -> None:
    exercise, client = AnsweredByTheNext(lab), await lab.client()
    kill = await lab.faults.kill(at="committed")
    call = asyncio.create_task(client.request("create_book", DUNE))
    await kill.reached()
    assert "still waits" in repr(await exercise.check())
    call.cancel()


async def test_who_asks_again_has_not_been_answered_by_the_next(lab: Lab) -> None:
    exercise, client = AnsweredByTheNext(lab), await lab.client()
    kill = await lab.faults.kill(at="committed")
    calls = [
        asyncio.create_task(client.request("create_book", DUNE, idempotency_key="dune"))
        for _ in range(2)
    ]
    await kill.reached()
    await lab.start_workers(1)
    await asyncio.gather(*calls)
    await lab.settle()
    assert "2 answers" in repr(await exercise.check())
