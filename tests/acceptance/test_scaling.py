"""Crews of workers, a burst on top of a steady load, and the instruments that watch it."""

import asyncio
import json

from labkit import Lab
from labkit.experiments import crash, scaling, spike
from labkit.experiments.scaling import Crew
from tests.support import eventually


def prefetches(lab: Lab) -> list[int]:
    """Of every start of a worker, in the order of the workers."""
    logs = [log.read_text().splitlines() for log in lab.worker_logs.values()]
    lines = [json.loads(line) for log in logs for line in log]
    return [line["prefetch"] for line in lines if line["event"] == "ready"]


async def test_settings_may_be_of_single_workers_and_a_restart_keeps_them(place: str) -> None:
    async with Lab.open(place, prefetch=7, supervised=True) as lab:
        await lab.start_workers(1, prefetch=3)
        assert prefetches(lab) == [7, 3]
        await crash.kill(lab, "worker-2")

        async def again() -> bool:
            return prefetches(lab) == [7, 3, 3]

        await eventually(again, within=30)


async def test_each_kind_of_work_is_done_by_each_crew(place: str) -> None:
    async with Lab.open(place) as lab:
        client = await lab.client(timeout=60)
        works = {action: lambda a=action: client.call(a) for action in ("ping", "get_books")}
        table = await scaling.measure(lab, works, [Crew(1, 1), Crew(2, 4)], seconds=0.1)
        assert sorted(prefetches(lab)[1:]) == [1, 4, 4]
    assert table.index.tolist() == [
        (action, *crew) for action in works for crew in [(1, 1), (2, 4)]
    ]
    assert table["times"].loc[:, 1, 1].tolist() == [1, 1]
    assert (table["calls"] > 0).all()


async def test_a_load_ends_with_its_block_also_when_that_is_interrupted(place: str) -> None:
    async with Lab.open(place) as lab:
        client = await lab.client()

        async def cell() -> None:
            async with (
                crash.SteadyLoad(lambda number: client.call("ping"), per_second=50) as load,
                spike.Gauge(lab, load.now),
            ):
                await load.next_call()
                await asyncio.sleep(60)

        def at_work() -> list[str]:
            names = (repr(task.get_coro()) for task in asyncio.all_tasks())
            return [name for name in names if "SteadyLoad" in name or "Gauge" in name]

        running = asyncio.create_task(cell())
        await eventually(lambda: asyncio.sleep(0, len(lab.log()) > 2))
        assert at_work()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not at_work()
        await lab.settle()
        done = len(lab.log())
        await asyncio.sleep(0.2)
        assert len(lab.log()) == done


async def test_a_burst_waits_in_the_queue_and_the_gauge_sees_it(place: str) -> None:
    async with Lab.open(place) as lab:
        client = await lab.client(timeout=60)
        await lab.stop_workers()
        async with (
            crash.SteadyLoad(lambda number: client.call("ping"), per_second=20) as load,
            spike.Gauge(lab, load.now) as gauge,
        ):
            burst = asyncio.create_task(load.burst(50))

            async def all_wait() -> bool:
                return int((await lab.queues())["ready"]["api.requests"]) > 50

            await eventually(all_wait)
            await lab.start_workers(1)
            await burst
            calls = await load.stop()
            await lab.settle()
            readings = await gauge.stop()
    assert set(calls["outcome"]) == {"answered"}
    assert len(calls) > 50
    assert readings["at"].is_monotonic_increasing
    assert readings["ready"].max() > 50
    assert readings["ready"].iloc[-1] == 0
    assert (readings["cpu"] >= 0).all()
