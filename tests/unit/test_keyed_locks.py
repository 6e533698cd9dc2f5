"""Locks by key: one at a time has each key, and nothing is left of those that gave up."""

import asyncio
import random
from collections import Counter
from contextlib import suppress

import pytest

from server.application.keyed_locks import Busy, KeyedLocks, TooManyWaiting

LONG = 30.0


async def test_one_at_a_time_has_a_key_in_the_order_in_which_they_came() -> None:
    locks, seen = KeyedLocks(room=10), []

    async def one(number: int) -> None:
        async with locks.hold(["a", f"own {number}"], LONG) as others_had:
            seen.append((number, others_had))
            await asyncio.sleep(0.001)

    await asyncio.gather(*map(one, range(5)))
    assert seen == [(0, []), *((number, ["a"]) for number in range(1, 5))]


async def test_who_has_waited_long_enough_is_said_for_which_key() -> None:
    locks = KeyedLocks(room=10)
    async with locks.hold(["b"], LONG):
        with pytest.raises(Busy, match="b") as busy:
            async with locks.hold(["a", "b"], 0.01):
                pass
    assert busy.value.key == "b"
    async with locks.hold(["a", "b"], LONG) as others_had:
        assert others_had == []


async def test_no_more_than_fit_wait_for_all_keys_together() -> None:
    locks = KeyedLocks(room=1)
    async with locks.hold(["a", "b"], LONG):
        waits = asyncio.create_task(locks.hold(["a"], LONG).__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(TooManyWaiting):
            async with locks.hold(["b"], LONG):
                pass
    assert await waits == ["a"]


@pytest.mark.parametrize("seed", range(3))
async def test_of_many_that_give_up_or_are_cancelled_nothing_is_left(seed: int) -> None:
    dice = random.Random(seed)
    locks, holders, held = KeyedLocks(room=32), Counter[int](), 0

    async def one() -> None:
        nonlocal held
        keys = sorted(dice.sample(range(6), dice.choice([1, 2])))
        with suppress(Busy):
            async with locks.hold(keys, dice.choice([0.001, 0.003, 0.02])):
                holders.update(keys)
                held += 1
                assert max(holders.values()) == 1
                try:
                    await asyncio.sleep(dice.choice([0, 0, 0.001, 0.002]))
                finally:
                    holders.subtract(keys)

    async def some() -> None:
        for _ in range(100):
            task = asyncio.create_task(one())
            if dice.random() < 0.3:
                await asyncio.sleep(dice.choice([0, 0, 0.001, 0.002]))
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    await asyncio.gather(*(some() for _ in range(20)))
    assert held > 100
    async with locks.hold(range(6), 0.001) as others_had:
        assert others_had == []
