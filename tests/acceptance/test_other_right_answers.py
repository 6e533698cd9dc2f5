"""What is right though it is not the solution that is shown, and though another try went before."""

from importlib import import_module

import pytest

from labkit.exercises.lesson_01 import TwoReaders
from labkit.exercises.lesson_05 import PutBack
from tests.acceptance.lesson_labs import LabOf, lab_of
from tests.acceptance.test_wrong_answers import a_kernel, run
from tests.support import paste

__all__ = ["lab_of"]

ALSO_RIGHT: dict[str, list[str]] = {
    "01/Survivor": [
        "await channel.declare_queue('archive', durable=True, arguments={'x-queue-type': 'quorum'})"
        "\nawait put('archive', 'x', delivery_mode=2)",
        "await channel.declare_queue('archive', durable=True, arguments={'x-max-length': 9})\n"
        "await put('archive', 'x', delivery_mode=2)",
    ],
    "04/TwoCopies": [
        "for i in 'aabb': await client.request('create_book', EMMA, request_id=i)",
    ],
    "05/NothingLost": [
        "await dies(1, 'applied'); await lab.stop_workers()\n"
        "await lab.start_workers(dies_at='applied'); await crash.ended(lab, 'worker-1')\n"
        "await lab.start_workers(1); await call",
    ],
    "05/TwoWorkersOneRequest": [
        "await dies(1, 'replied'); await lab.start_workers(1); await call; await lab.settle()",
    ],
    "08/TwelveWait": [
        "new = await lab.client()\n"
        "pings = [c.call('ping', timeout=60) for c in (client, new) for _ in range(6)]\n"
        "calls = asyncio.create_task(at_once(pings)); await waiting(12)\n"
        "await lab.start_workers(1); await calls; await lab.stop_workers()",
        "calls = [asyncio.create_task(client.call('ping', timeout=60)) for _ in range(12)]\n"
        "await lab.start_workers(1); await at_once(calls)",
    ],
    "08/ChooseAPrefetch": [
        "await lab.start_workers(1, prefetch=50); await slow(40)\n"
        "await lab.stop_workers(); await lab.start_workers(1, prefetch=8); await slow(40)",
    ],
    "09/WrittenHereReadThere": [
        "b = await client.call('create_book', EMMA)\n"
        "for c in (client, rest): await c.call('get_book', {'id': b['id']})",
    ],
    "09/NotAtTheSameTime": [
        "await lab.stop_workers()\n"
        "calls = asyncio.create_task(at_once(calls_away(20, timeout=60))); await waiting(20)\n"
        "await lab.start_workers(1); await calls; await lab.stop_workers()",
    ],
}
"""Label of the exercise → what is tried."""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("label", ALSO_RIGHT)
async def test_it_is_judged_by_its_effect(lab_of: LabOf, label: str) -> None:
    lesson, _, name = label.partition("/")
    kind = getattr(import_module(f"labkit.exercises.lesson_{lesson}"), name)
    lab = await lab_of(lesson)
    await kind(lab).begin()
    async with a_kernel(lab) as names:
        for code in ALSO_RIGHT[label]:
            exercise = await kind(lab).begin()
            await run(code, names)
            found = await exercise.check()
            assert found.outcome == "right", f"{code}\n{found}"


@pytest.mark.asyncio(loop_scope="module")
async def test_an_exchange_of_an_earlier_attempt_is_in_no_ones_way(lab_of: LabOf) -> None:
    lab = await lab_of("01")
    await TwoReaders(lab).begin()
    async with a_kernel(lab) as names:
        await run("await channel.declare_exchange('news', 'topic')", names)
    exercise = await TwoReaders(lab).begin()
    await paste(exercise)
    assert (await exercise.check()).outcome == "right"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_second_look_sees_what_the_first_one_saw(lab_of: LabOf) -> None:
    exercise = await PutBack(await lab_of("05")).begin()
    async with a_kernel(exercise.lab) as names:
        await run(
            "q = await channel.get_queue('parcels'); await (await q.get()).ack()\n"
            "got = [await q.get(), await q.get()]\n"
            "for p in reversed(got): await p.reject(requeue=True)",
            names,
        )
        assert "was taken, too" in (await exercise.check()).text
        assert "was taken, too" in (await exercise.check()).text
