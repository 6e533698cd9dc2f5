"""Steps side by side, and what is seen of them."""

import asyncio
import io

import pytest
from rich.console import Console

from labkit.launcher.steps import Steps
from labkit.services.errors import ServiceError
from labkit.services.running import side_by_side


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def quiet(out: io.StringIO) -> Steps:
    return Steps(Console(file=out, width=200))


async def failing() -> str:
    raise ServiceError("the cable is cut")


async def test_steps_that_do_not_need_each_other_run_at_the_same_time(out: io.StringIO) -> None:
    meeting = asyncio.Barrier(2)

    async def meet() -> str:
        return str(await asyncio.wait_for(meeting.wait(), 10))

    async with quiet(out) as steps, side_by_side() as group:
        for title in ("one", "two"):
            group.create_task(steps.step(title, meet))
    assert "one" in out.getvalue()
    assert "two" in out.getvalue()


async def test_a_step_begins_when_what_it_needs_is_done(out: io.StringIO) -> None:
    order: list[str] = []

    async def note(title: str) -> str:
        order.append(title)
        return title

    async with quiet(out) as steps, side_by_side() as group:
        first = group.create_task(steps.step("first", lambda: note("first")))
        group.create_task(steps.step("second", lambda: note("second"), first))
    assert order == ["first", "second"]


async def test_a_failure_cancels_the_others_and_is_what_the_user_sees(out: io.StringIO) -> None:
    cancelled = asyncio.Event()

    async def patient() -> str:
        try:
            return str(await asyncio.Event().wait())
        finally:
            cancelled.set()

    async def attempt() -> None:
        async with quiet(out) as steps, side_by_side() as group:
            group.create_task(steps.step("patient", patient))
            failed = group.create_task(steps.step("failing", failing))
            group.create_task(steps.step("needs it", failing, failed))

    with pytest.raises(ServiceError, match="the cable is cut"):
        await attempt()
    assert cancelled.is_set()
    assert "needs it" not in out.getvalue()


async def test_a_log_shows_what_takes_long(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.launcher.steps.FIRST_BEAT", 0.1)

    async def slowly() -> str:
        await asyncio.sleep(0.5)
        return "done"

    async with quiet(out) as steps:
        await steps.step("RabbitMQ", slowly)
    assert "… RabbitMQ 0 s" in out.getvalue()


async def test_a_terminal_that_is_gone_ends_nothing() -> None:
    gone = io.StringIO()
    gone.close()
    async with quiet(gone) as steps:
        steps.say("whatever")
