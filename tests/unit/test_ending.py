"""What is to end does so, whatever fails or is interrupted on the way."""

import asyncio
import threading

import pytest

from labkit.closing import close_all, in_thread


async def test_everything_is_closed_and_the_first_error_tells_of_the_others() -> None:
    closed: list[str] = []

    async def fine() -> None:
        closed.append("fine")

    async def first() -> None:
        raise ValueError("the first")

    async def second() -> None:
        raise KeyError("the second")

    with pytest.raises(ValueError, match="the first") as raised:
        await close_all(fine, first, fine, second, fine)
    assert closed == ["fine"] * 3
    assert raised.value.__notes__ == ["And then: KeyError('the second')"]


async def test_an_interruption_keeps_nothing_from_its_end_and_goes_before_errors() -> None:
    began, closed = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        raise ValueError

    async def hangs() -> None:
        began.set()
        await asyncio.Event().wait()

    async def fine() -> None:
        closed.set()

    closing = asyncio.create_task(close_all(fails, hangs, fine))
    await began.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert closed.is_set()


@pytest.mark.parametrize("times", [1, 2])
async def test_a_thread_is_waited_for_however_often_that_is_interrupted(times: int) -> None:
    began, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait()
        done.set()

    waiting = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(began.wait)
    for _ in range(times):
        waiting.cancel()
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done.is_set()
