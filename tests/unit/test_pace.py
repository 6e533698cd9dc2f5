"""How many writes share a transaction follows what the last ones took."""

import pytest

from server.application import pace
from server.application.pace import SLOW, SLOW_FOR, Pace

QUICK = SLOW / 10


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def test_all_may_share_until_something_is_slow(clock: list[float]) -> None:
    mine = Pace(64)
    mine.took(64, 64 * QUICK)
    assert (mine.is_sharing, mine.size) == (True, 64)


def test_after_slow_writes_none_share_for_a_while_and_then_two_and_twice_as_many_each_time(
    clock: list[float],
) -> None:
    mine = Pace(20)
    mine.took(3, 3 * SLOW * 1.1)
    assert not mine.is_sharing
    clock[0] += SLOW_FOR
    sizes = []
    for _ in range(5):
        assert mine.is_sharing
        sizes.append(mine.size)
        mine.took(mine.size, mine.size * QUICK)
    assert sizes == [2, 4, 8, 16, 20]


def test_a_transaction_with_room_says_nothing_about_a_larger_one(clock: list[float]) -> None:
    mine = Pace(64)
    mine.was_slow()
    clock[0] += SLOW_FOR
    mine.took(1, QUICK)
    assert mine.size == 2


def test_a_single_slow_write_says_nothing(clock: list[float]) -> None:
    mine = Pace(64)
    mine.took(1, 100 * SLOW)
    assert (mine.is_sharing, mine.size) == (True, 64)


def test_where_no_two_may_share_none_ever_do(clock: list[float]) -> None:
    mine = Pace(1)
    mine.was_slow()
    clock[0] += SLOW_FOR
    mine.took(1, QUICK)
    assert (mine.is_sharing, mine.size) == (False, 1)
