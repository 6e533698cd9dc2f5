"""The soak's load is its seed's alone."""

from collections import Counter
from itertools import islice

import pytest

from bench.soak.plan import Ask, Made, Plan, Planned, Twice

MANY = 5000


@pytest.fixture(scope="module")
def planned() -> list[Planned]:
    return list(islice(Plan("7.0.1", clients=4), MANY))


def asks(planned: list[Planned]) -> list[Ask]:
    return [each.ask for each in planned if each.ask is not None]


def test_the_same_seed_asks_for_the_same_and_another_one_for_something_else(
    planned: list[Planned],
) -> None:
    assert list(islice(Plan("7.0.1", clients=4), MANY)) == planned
    assert list(islice(Plan("8.0.1", clients=4), 20)) != planned[:20]


def test_every_row_is_made_before_it_is_asked_for_and_is_of_its_kind(
    planned: list[Planned],
) -> None:
    made: dict[int, str] = {}
    for each in planned:
        if each.ask is None:
            continue
        verb, _, noun = each.ask.action.partition("_")
        for name, value in each.ask.data.items():
            if isinstance(value, Made):
                kind = "v2 author" if name == "author_id" else f"{each.ask.version} {noun}"
                assert made[value.by] == kind
        if verb == "create":
            made[each.number] = f"{each.ask.version} {noun}"


def test_no_id_is_missing_in_the_plan(planned: list[Planned]) -> None:
    assert all(None not in ask.data.values() for ask in asks(planned))


def test_all_that_a_library_does_is_planned(planned: list[Planned]) -> None:
    verbs = {"create", "update", "delete", "get"}
    kinds = {("v1", "book"), ("v2", "book"), ("v2", "author")}
    counts = Counter((ask.version, ask.action) for ask in asks(planned))
    for version, noun in kinds:
        for action in [*(f"{verb}_{noun}" for verb in verbs), f"get_{noun}s"]:
            assert counts[version, action] > 0.01 * MANY
    assert {ask.pages for ask in asks(planned)} > {1, 2, 3}


def test_one_in_ten_is_sent_twice_and_one_in_fifty_is_poison(planned: list[Planned]) -> None:
    twice = Counter(each.twice for each in planned)
    assert twice[Twice.AT_ONCE] + twice[Twice.AFTERWARDS] == pytest.approx(0.10 * MANY, rel=0.2)
    poison = [each.poison for each in planned if each.poison is not None]
    assert len(poison) == pytest.approx(0.02 * MANY, rel=0.4)
    assert all((each.ask is None) == (each.poison is not None) for each in planned)
    assert sum(each.pause for each in planned) == pytest.approx(MANY / 25, rel=0.1)


def test_a_write_has_a_key_of_its_own_and_a_read_none(planned: list[Planned]) -> None:
    keys = [ask.key for ask in asks(planned) if not ask.action.startswith("get_")]
    assert len(set(keys)) == len(keys)
    assert None not in keys
    assert {ask.key for ask in asks(planned) if ask.action.startswith("get_")} == {None}
