"""I8, I9 and I10: every change was requested, every read is true, and time goes forwards."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from labkit.ledger import Evidence, judge
from labkit.ledger.clocks import Ahead, OtherClocks
from labkit.ledger.evidence import Change, LogLine, Row
from labkit.ledger.history import read as noted
from labkit.ledger.operations import EffectKey
from labkit.ledger.others import Others
from server.contract.envelope import BY_REQUEST_ID
from tests.unit.runs import (
    CLAIM,
    answer,
    asked,
    changed,
    delete,
    evidence,
    found,
    listed,
    made,
    read,
    refused,
    row,
    seen,
    unknown,
    update,
)

OLD, NEW = row(), row(year=1949)
AUSTEN: Row = {"id": 7, "name": "Jane Austen", "birth_year": None, "country": None}
EMMA: Row = {"id": 1, "title": "Emma", "year": 1815, "genre": "novel", "author_id": 7}
EMMA |= {"isbn": None, "created_at": "then"}
SANDITON: Row = EMMA | {"id": 2, "title": "Sanditon", "year": None}
MADE = made(OLD)
"""Between 10 and 11, by ``asked()``."""


def test_i8_names_a_row_that_was_not_asked_for() -> None:
    extra = made(row(7, "not asked for"), 2, transaction="1")
    (violation,) = found(asked(), changes=[MADE, extra])
    assert (violation.invariant, violation.operation) == ("I8", "a")
    assert "not asked for" in violation.seen


def test_i8_names_the_operation_during_which_something_else_was_changed() -> None:
    before = {"books_v1": [row(5, "Emma")]}
    other = changed(row(5, "Emma"), None, 2, 10.7)
    (violation,) = found(asked(), changes=[MADE, other], begun=before)
    assert (violation.invariant, violation.operation) == ("I8", "a")


def test_i8_names_what_others_have_changed_unless_they_are_declared() -> None:
    theirs = EffectKey("2", BY_REQUEST_ID, "their id")
    both: dict[str, Any] = {"changes": [MADE, made(row(2), 2)], "claims": [CLAIM, theirs]}
    (violation,) = found(asked(), **both)
    assert violation.operation is None
    assert "their id" in violation.seen
    for others in (Others(ids=["their id"]), Others(users=["2"]), Others(everybody=True)):
        assert seen(asked(), others=others, **both) == []
    assert seen(asked(), others=Others(keys=["their id"], sql=True), **both) == ["I8"]
    by_hand: dict[str, Any] = {"changes": both["changes"], "claims": [CLAIM]}
    assert seen(asked(), others=Others(sql=True), **by_hand) == []


def test_a_transaction_may_name_its_request_by_key_and_by_id_and_have_several() -> None:
    other = asked("b", key="b", title="1985", answer=answer(row(2, "1985")))
    mine = [
        ("1", EffectKey("1", BY_REQUEST_ID, "a")),
        ("1", CLAIM),
        ("1", EffectKey("1", BY_REQUEST_ID, "b")),
    ]
    together = [made(row(2, "1985"), 1, transaction="1"), made(OLD, 2, transaction="1")]
    assert judge(Evidence([asked(), other], changes=together, claimed=mine)).ok


def test_a_request_by_a_token_is_known_by_its_key_alone() -> None:
    assert seen(asked(user=""), changes=[MADE], claims=[CLAIM]) == []


def test_i8_compares_the_rows_with_the_sum_of_the_changes() -> None:
    assert seen(asked(), changes=[MADE], ended={"books_v1": [OLD]}) == []
    (violation,) = found(asked(), changes=[MADE], ended={"books_v1": [NEW]})
    assert (violation.invariant, violation.operation) == ("I8", "a")
    assert seen(asked(), changes=[MADE], ended={"books_v1": [OLD, row(9)]}) == ["I8"]
    emptied = Change(2, "2", "truncate", "books_v1", 0)
    assert seen(asked(), changes=[MADE, emptied], ended={"books_v1": []}) == ["I8"]


def later(start: float, *states: Row) -> list[Change]:
    """Updates of the book, each from the state before, a second apart."""
    every = itertools.pairwise([OLD, *states])
    return [changed(a, b, n, start + n) for n, (a, b) in enumerate(every, 2)]


def test_i9_accepts_every_state_between_request_and_reply_and_no_other() -> None:
    write = update("u", {"year": 1949}, NEW, asked=20.0, answered=24.0)
    changes = [MADE, changed(OLD, NEW, 2, 22.0)]
    for state, start, end in ((OLD, 12, 13), (OLD, 12, 23), (NEW, 21, 23), (NEW, 25, 26)):
        assert seen(asked(), write, read(state, start, end), changes=changes) == []
    for state, start, end in ((NEW, 12, 13), (row(year=1), 12, 26), (row(2), 12, 26)):
        wrong = read(state, start, end)
        assert seen(asked(), write, wrong, changes=changes) == ["I9"]
    (first, second) = found(asked(), write, read(OLD, 25, 26), changes=changes)
    assert (first.invariant, first.operation) == ("I9", "read 25")
    assert "at another time" in first.seen
    assert (second.invariant, second.operation) == ("I10", "read 25")
    assert "does not see the change" in second.seen


def test_i9_judges_a_refusal_that_says_that_there_is_no_such_row() -> None:
    error = {"code": "not_found", "details": {"id": 1}}
    fields: dict[str, Any] = {"action": "update_book", "data": {"id": 1, "year": 1}, "key": "u"}
    wrong = refused("u", "not_found", asked=12.0, answered=13.0, **fields)
    wrong = replace(wrong, answer=answer(None, error))
    assert seen(asked(), wrong, changes=[MADE]) == ["I9", "I10"]
    gone = [MADE, changed(OLD, None, 2, 12.5)]
    assert seen(asked(), delete("d", asked=12.1, answered=12.9), wrong, changes=gone) == []


def test_i9_judges_a_conflict_by_what_it_is_about() -> None:
    book = EMMA | {"author_id": 7}
    error = {"code": "conflict", "details": {"id": 7}}
    fields: dict[str, Any] = {"action": "delete_author", "version": "v2", "data": {"id": 7}}
    refusal = replace(refused(asked=12.0, answered=13.0, **fields), answer=answer(None, error))
    assert seen(refusal, begun={"books_v2": [book]}) == []
    assert seen(refusal) == ["I9"]


SHELF = [row(n, f"Book {n}") for n in range(1, 7)]
THERE: dict[str, Any] = {"begun": {"books_v1": SHELF}}


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (SHELF[:2] + SHELF[3:], "row 3 is missing"),
        (SHELF[:3] + SHELF[2:], "row 3 appears twice"),
        ([SHELF[1], SHELF[0], *SHELF[2:]], "row 1 is not in order"),
        ([*SHELF[:5], row(6, "Another")], "row 6 was not like this"),
        ([*SHELF, row(9)], "row 9 was not like this"),
    ],
)
def test_i9_names_a_list_that_is_not_what_was_there(rows: list[Row], why: str) -> None:
    assert seen(listed(SHELF, 12, 13), **THERE) == []
    (violation,) = found(listed(rows, 12, 13), **THERE)
    assert (violation.invariant, violation.operation) == ("I9", "list 12")
    assert why in violation.seen


def page(start: float, rows: list[Row], cursor: str | None, following: str | None) -> Any:
    return listed(
        rows, start, start + 0.5, data={"limit": 2, "cursor": cursor}, following=following
    )


def test_i9_follows_the_pages_of_a_list() -> None:
    first = page(12, SHELF[:2], None, "c2")
    second, third = page(13, SHELF[2:4], "c2", "c4"), page(14, SHELF[4:], "c4", None)
    assert seen(first, second, third, **THERE) == []
    twice = page(13, SHELF[1:3], "c2", "c3")
    assert "row 2 appears twice" in found(first, twice, **THERE)[0].seen
    skips = page(13, SHELF[3:5], "c2", "c5")
    assert "row 3 is missing" in found(first, skips, **THERE)[0].seen
    ends = page(13, SHELF[2:4], "c2", None)
    assert "row 5 is missing" in found(first, ends, **THERE)[0].seen
    short = page(13, SHELF[2:3], "c2", "c3")
    assert "has 1 rows, where 2" in found(first, short, **THERE)[0].seen
    goes_on = page(14, SHELF[4:], "c4", "c6")
    assert "there are none" in found(second, goes_on, **THERE)[0].seen


def test_i9_looks_for_one_moment_at_which_all_of_a_list_was_so() -> None:
    """Two changes, one after the other: who sees the later one sees the earlier one, too."""
    changes = [
        changed(SHELF[0], row(1, "first"), 1, 20.0),
        changed(SHELF[1], row(2, "second"), 2, 22.0),
    ]
    one = update("u", {"title": "first"}, row(1, "first"), asked=19.0, answered=21.0)
    two = update("v", {"title": "second"}, row(2, "second"), asked=21.5, answered=23.0)
    for shown in (SHELF, [row(1, "first"), *SHELF[1:]]):
        assert seen(one, two, listed(shown, 18, 24), changes=changes, **THERE) == []
    torn = listed([SHELF[0], row(2, "second"), *SHELF[2:]], 18, 24)
    assert seen(one, two, torn, changes=changes, **THERE) == ["I9"]


def test_i9_looks_for_one_moment_also_of_what_is_missing() -> None:
    """The first book is deleted, and then the second: a list has both, or the second, or none."""
    changes = [changed(SHELF[0], None, 1, 20.0), changed(SHELF[1], None, 2, 22.0)]
    one = delete("d", 1, asked=19.0, answered=21.0)
    two = delete("e", 2, asked=21.5, answered=23.0)
    for shown in (SHELF, SHELF[1:], SHELF[2:]):
        assert seen(one, two, listed(shown, 18, 24), changes=changes, **THERE) == []
    torn = listed([SHELF[0], *SHELF[2:]], 18, 24)
    assert seen(one, two, torn, changes=changes, **THERE) == ["I9"]


def books(*known: Row) -> dict[str, Any]:
    return {"begun": {"books_v2": list(known), "authors": [AUSTEN]}}


@pytest.mark.parametrize(
    ("asked_for", "right"),
    [
        ({"genre": "novel"}, [EMMA, SANDITON]),
        ({"genre": "poem"}, []),
        ({"year_from": 1800}, [EMMA]),
        ({"year_to": 1800}, []),
        ({"title": "emma"}, [EMMA]),
        ({"author": "austen", "sort": "-id"}, [SANDITON, EMMA]),
        ({"author": "bronte"}, []),
        ({"sort": "-year", "author_id": 7}, [SANDITON, EMMA]),
        ({"sort": "title"}, [EMMA, SANDITON]),
    ],
)
def test_i9_knows_the_filters_and_orders_of_version_2(asked_for: Row, right: list[Row]) -> None:
    texts = {"words": {"emma": ["Emma"], "austen": ["Jane Austen"], "bronte": []}}
    known: dict[str, Any] = books(EMMA, SANDITON) | {"titles": ["Emma", "Sanditon"]} | texts
    fields: dict[str, Any] = {"version": "v2", "data": asked_for}
    assert seen(listed(right, 12, 13, **fields), **known) == []
    for wrong in ([EMMA, SANDITON], [SANDITON, EMMA], [EMMA], []):
        if wrong != right:
            assert seen(listed(wrong, 12, 13, **fields), **known) == ["I9"]


def test_i9_judges_no_list_whose_words_or_cursor_it_does_not_know() -> None:
    unknown_words = listed([], 12, 13, version="v2", data={"title": "emma"})
    foreign = listed([], 12, 13, data={"cursor": "from elsewhere"})
    assert seen(unknown_words, **books(EMMA)) == []
    assert seen(foreign, **THERE) == []


def test_i10_names_a_read_that_goes_back_behind_another_read() -> None:
    """It is not known when the change was committed: but once it was seen, it was."""
    write = unknown("u", key="u", action="update_book", data={"id": 1, "year": 1949})
    lost: dict[str, Any] = {"changes": [MADE, changed(OLD, NEW, 2, 20.0)], "dropped": ["u"]}
    write = replace(write, asked=12.0, answered=40.0)
    assert seen(asked(), write, read(OLD, 21, 22), read(NEW, 23, 24), **lost) == []
    assert seen(asked(), write, read(NEW, 21, 24), read(OLD, 23, 25), **lost) == []
    back = [read(NEW, 21, 22), read(OLD, 23, 24)]
    (violation,) = found(asked(), write, *back, **lost)
    assert (violation.invariant, violation.operation) == ("I10", "read 23")
    in_a_list = [listed([NEW], 21, 22), read(OLD, 23, 24)]
    assert seen(asked(), write, *in_a_list, **lost) == ["I10"]


def test_i10_names_what_was_acknowledged_before_it_was_committed() -> None:
    (violation,) = found(asked(), changes=[made(OLD, at=11.2)])
    assert (violation.invariant, violation.operation) == ("I10", "a")
    assert "200.0 ms before it was committed" in violation.seen


@pytest.mark.parametrize("ahead", [-3600.0, -0.02, 0.02, 3600.0])
def test_a_clock_of_postgresql_that_differs_neither_accuses_nor_acquits(ahead: float) -> None:
    clocks = OtherClocks(database=Ahead(ahead - 0.001, ahead + 0.001))
    write = update("u", {"year": 1949}, NEW, asked=20.0, answered=21.0)
    reads = [read(OLD, 18, 19), read(NEW, 22, 23)]
    changes = [made(OLD, at=10.995 + ahead), changed(OLD, NEW, 2, 20.005 + ahead)]
    assert seen(asked(), write, *reads, changes=changes, clocks=clocks) == []
    for late in (11.2, 9.8):
        assert seen(asked(), changes=[made(OLD, at=late + ahead)], clocks=clocks) == ["I10"]
    behind = read(OLD, 22, 23)
    assert seen(asked(), write, behind, changes=changes, clocks=clocks) == ["I9", "I10"]


def test_a_clock_that_was_set_during_the_run_tells_no_more_than_it_knows() -> None:
    """PostgreSQL's was set back by an hour, after the first change."""
    clocks = OtherClocks(database=Ahead(-3600.0, 0.0), machine=Ahead(-3600.0, 0.0))
    write = update("u", {"year": 1949}, NEW, asked=20.0, answered=21.0)
    changes = [MADE, changed(OLD, NEW, 2, 20.5 - 3600)]
    lines = [LogLine("a", 1, "ok", at=10.9), LogLine("u", 1, "ok", at=20.9 - 3600)]
    run: dict[str, Any] = {"changes": changes, "clocks": clocks, "lines": lines}
    assert seen(asked(), write, read(OLD, 18, 19), read(NEW, 22, 23), **run) == []
    assert seen(asked(), write, read(OLD, 22, 23), **run) == ["I9", "I10"]  # by callers' times
    verdict = judge(evidence(asked(), **(run | {"changes": [MADE]})))
    assert "compared to 3600.0 s only" in repr(verdict)
    assert "compared" not in repr(judge(evidence(asked(), changes=[MADE])))


def test_i10_names_an_update_that_undoes_another_one() -> None:
    first = update("u", {"year": 1949}, NEW, asked=20.0, answered=24.0)
    lost = row(isbn="x")
    second = update("v", {"isbn": "x"}, lost, asked=20.0, answered=24.0)
    right = later(20.0, NEW, NEW | {"isbn": "x"})
    good = replace(second, answer=answer(NEW | {"isbn": "x"}))
    assert seen(asked(), first, good, changes=[MADE, *right]) == []
    violations = found(asked(), first, second, changes=[MADE, *later(20.0, NEW, lost)])
    assert {v.invariant for v in violations} == {"I1", "I8", "I10"}
    undone = next(v for v in violations if v.invariant == "I10")
    assert undone.operation == "v"
    assert "undid year" in undone.seen


def test_i10_names_a_deleted_row_that_returns() -> None:
    gone = [MADE, changed(OLD, None, 2, 20.0), made(OLD, 3, 30.0)]
    again = asked("b", key="b", asked=29.0, answered=31.0)
    away = delete("d", asked=19.0, answered=21.0)
    (violation,) = found(asked(), away, again, changes=gone)
    assert (violation.invariant, violation.operation) == ("I10", "b")


def test_a_change_is_read_as_postgresql_notes_it() -> None:
    then = "2026-11-25T18:40:13.85+00:00"
    text = f'{{"id": 1, "title": "T", "author": "A", "created_at": "{then}", "more": 1}}'
    (change,) = noted([(4, "7", "DELETE", "books_v1", 1, text, None, 1.5)])
    assert (change.what, change.after, change.noted) == ("delete", None, 1.5)
    same = row(title="T", author="A", created_at="2026-11-25T18:40:13.850000Z")
    assert change.before == same
