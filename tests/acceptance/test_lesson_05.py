"""The exercise of notebook 05 is checked by what the workers did."""

import asyncio

from labkit import Lab
from labkit.exercises.lesson_05 import TwoWorkersOneRequest
from labkit.experiments import crash
from server.contract.steps import Step
from tests.support import paste

DUNE = {"title": "Dune", "author": "Frank Herbert", "year": 1965}


async def killed_at(lab: Lab, step: Step) -> asyncio.Task[object]:
    """The only worker dies at ``step`` of a request, whose call goes on waiting."""
    client = await lab.client()
    await lab.stop_workers()
    await lab.start_workers(dies_at=step)
    call = asyncio.create_task(client.call("create_book", DUNE, idempotency_key="k", timeout=60))
    await crash.ended(lab, "worker-1")
    return call


async def test_no_attempt_is_known_from_a_solution(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise = TwoWorkersOneRequest(lab)
        assert (await exercise.check()).outcome == "not attempted"
        await paste(exercise)
        assert (await exercise.check()).outcome == "right"


async def test_nobody_came_after_the_first_worker(place: str) -> None:
    async with Lab.open(place) as lab:
        call = await killed_at(lab, Step.COMMITTED)
        assert "There is the book, and a request waits" in repr(
            await TwoWorkersOneRequest(lab).check()
        )
        await lab.start_workers()
        await call
        assert (await TwoWorkersOneRequest(lab).check()).outcome == "right"


async def test_a_worker_that_died_too_early_has_written_nothing(place: str) -> None:
    async with Lab.open(place) as lab:
        call = await killed_at(lab, Step.APPLIED)
        assert "no book yet" in repr(await TwoWorkersOneRequest(lab).check())
        await lab.start_workers()
        await call
        assert "written it itself" in repr(await TwoWorkersOneRequest(lab).check())


async def test_asking_twice_is_not_a_redelivery_and_does_not_spoil_the_next_try(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise, client = TwoWorkersOneRequest(lab), await lab.client()
        for _ in range(2):
            await client.call("create_book", DUNE, idempotency_key="k")
        assert "send it once" in repr(await exercise.check())
        await lab.reset()
        await paste(exercise)
        assert (await exercise.check()).outcome == "right"
