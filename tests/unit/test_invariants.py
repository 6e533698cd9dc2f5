"""I1 to I7 over evidence that is right, and over the same evidence falsified."""

import json
from dataclasses import replace
from typing import Any

import pytest

from labkit.ledger import Operation
from labkit.ledger.effects import effect_of
from labkit.ledger.evidence import DeadLetter, FaultPeriod, LogLine, Removal
from labkit.ledger.operations import EffectKey, essence, failed, judged, without_secrets
from server.contract.envelope import BY_REQUEST_ID
from server.contract.errors import BY_CODE
from tests.unit.runs import (
    CLAIM,
    answer,
    asked,
    changed,
    delete,
    found,
    made,
    refused,
    row,
    seen,
    unknown,
    update,
)

STORED = [(CLAIM, json.dumps([row(), None], separators=(",", ":")))]
TWICE = [made(row()), made(row(2), 2, 10.6)]
"""The same book, under the same claim."""


def test_a_right_run_violates_nothing() -> None:
    assert seen(asked(), changes=[made(row())], stored=STORED) == []
    assert seen() == []


def test_i1_names_what_was_answered_ok_and_is_not_there() -> None:
    (violation,) = found(asked())
    assert (violation.invariant, violation.operation) == ("I1", "a")
    assert "not there" in violation.seen
    assert "1984" in violation.seen


def test_i1_names_a_reply_that_tells_of_another_row_or_of_other_values() -> None:
    (violation,) = found(asked(), changes=[made(row(2))])
    assert violation.seen.endswith("its reply tells of row 1, which is another")
    other = asked(answer=answer(row(title="1985")))
    (violation,) = found(other, changes=[made(row())])
    assert violation.invariant == "I1"
    assert '"title": "1985"' in violation.seen


def test_i1_names_an_update_that_is_another_or_was_not_made() -> None:
    before, after = made(row()), row(year=1949)
    year = update("u", {"year": 1949}, after)
    right = [before, changed(row(), after, 2, 10.6)]
    assert seen(asked(), year, changes=right) == []
    wrong = [before, changed(row(), row(year=1950), 2, 10.6)]
    assert seen(asked(), year, changes=wrong) == ["I1", "I8"]
    assert seen(asked(), year, changes=right[:1]) == ["I1"]


def test_i1_names_a_delete_that_did_not_happen() -> None:
    gone = [made(row()), changed(row(), None, 2, 10.6)]
    assert seen(asked(), delete("d"), changes=gone) == []
    assert seen(asked(), delete("d"), changes=gone[:1]) == ["I1"]


def test_i1_names_the_second_payload_under_one_key_that_was_ignored() -> None:
    ignored = asked("b", title="1985", replayed=True)
    assert seen(asked(), ignored, changes=[made(row())]) == ["I1"]


def test_i1_names_a_reply_that_was_stored_without_its_effect() -> None:
    half = {"stored": STORED, "claims": [CLAIM], "lines": [LogLine("a", 1, "ok")]}
    assert seen(unknown(), changes=[made(row())], **half) == []
    other = made(row(9, "another"))
    assert "I1" in seen(unknown(), changes=[other], **half)


def test_i1_asks_for_no_effect_of_what_was_done_before_the_run() -> None:
    assert seen(asked(replayed=True), stored=STORED) == []


def test_a_request_is_the_same_with_its_key_and_under_the_same_id_without() -> None:
    again = asked(key=None, replayed=True)
    assert seen(asked(), again, changes=[made(row())]) == []
    assert seen(asked(), replace(again, data={"title": "1985"}), changes=[made(row())]) == ["I1"]


@pytest.mark.parametrize("second", [asked("b"), unknown("b"), refused("b", "in_progress")])
def test_i2_names_a_key_whose_effect_is_there_twice(second: Operation) -> None:
    twice: dict[str, Any] = {"changes": TWICE, "claims": [CLAIM, CLAIM]}
    violation, *_ = found(asked(), second, lines=[LogLine("b", 1, "ok")], **twice)
    assert (violation.invariant, violation.operation) == ("I2", "a")
    assert "key k (book_v1): twice in the database" in violation.seen


def test_i2_counts_what_was_applied_without_any_claim_and_i8_names_it() -> None:
    assert seen(asked(), changes=TWICE, claims=[]) == ["I2", "I8", "I8", "I8"]


def test_i2_holds_for_an_outcome_that_no_caller_knows() -> None:
    assert seen(unknown()) == ["I5"]
    assert seen(unknown(), changes=TWICE[:1], dropped=["a"]) == []
    assert seen(unknown(), changes=TWICE, claims=[CLAIM] * 2, dropped=["a"]) == ["I2", "I8"]


def test_i2_goes_by_the_id_where_there_is_no_key() -> None:
    twins = [asked("a", key=None), asked("b", key=None, answer=answer(row(2)))]
    assert seen(*twins, changes=TWICE) == []
    ids = [twin.claim for twin in twins]
    again = [*TWICE, made(row(3), 3, 10.7)]
    assert seen(*twins, changes=again, claims=[*ids, ids[0]]) == ["I2", "I8"]
    assert seen(*twins, changes=TWICE[:1]) == ["I1"]


def test_i2_allows_one_of_several_payloads_under_one_key() -> None:
    other = unknown("b", title="1985")
    both: dict[str, Any] = {"changes": [made(row()), made(row(2, "1985"), 2)], "dropped": ["b"]}
    assert seen(asked(), other, changes=[made(row())], dropped=["b"]) == []
    assert seen(asked(), other, claims=[CLAIM] * 2, **both) == ["I2", "I8"]


def test_the_same_key_of_another_user_or_resource_is_another_key() -> None:
    other = asked("b", title="1985", user="2", answer=answer(row(2, "1985")))
    assert seen(asked(), other, changes=[made(row()), made(row(2, "1985"), 2)]) == []


def test_i3_names_what_was_refused_and_is_there_all_the_same() -> None:
    assert seen(refused(code="forbidden")) == []
    (violation,) = found(refused(code="forbidden"), changes=[made(row())])
    assert (violation.invariant, violation.operation) == ("I3", "a")


def test_i3_does_not_blame_a_refusal_beside_a_success_of_the_same_key() -> None:
    """Of two that were sent at once one may be said to slow down."""
    assert seen(asked(), refused("b", "rate_limited"), changes=[made(row())]) == []
    early = [unknown("a"), refused("b", "expired")]
    assert seen(*early, changes=[made(row())], dropped=["a"]) == []


def test_i4_names_another_answer_to_the_same_key() -> None:
    other = asked("b", answer=answer(row()).replace("Orwell", "Blair"))
    violations = found(asked(), other, changes=[made(row())])
    assert [(v.invariant, v.operation) for v in violations] == [("I1", "b"), ("I4", "b")]


def test_i4_names_an_answer_that_is_not_the_stored_one() -> None:
    stored = [(CLAIM, '[{"id":7},null]')]
    assert seen(asked(), changes=[made(row())], stored=stored) == ["I4"]


def test_i4_counts_stored_refusals_and_no_others() -> None:
    author: dict[str, Any] = {"action": "delete_author", "version": "v2", "data": {"id": 1}}
    first, second = refused("a", **author), refused("b", answer=",another", **author)
    assert "I4" in seen(first, second)
    later = asked("b")
    assert seen(refused("a", "rate_limited"), later, changes=[made(row())]) == []
    assert "I4" in seen(refused("a", "conflict"), later, changes=[made(row())])


def test_i4_lets_a_reused_key_be_refused() -> None:
    reused = refused("b", "key_reused", data={"title": "1985", "author": "Orwell"})
    assert seen(asked(), reused, changes=[made(row())]) == []


@pytest.mark.parametrize(
    "proof",
    [
        {"lines": [LogLine("a", 1, "ok")]},
        {"stored": [(CLAIM, "[1,null]")]},
        {"letters": [DeadLetter("a", "internal", 4)]},
        {"dropped": ["a"]},
    ],
)
def test_i5_is_content_with_a_proof_of_where_the_request_is(proof: dict[str, Any]) -> None:
    assert seen(unknown()) == ["I5"]
    assert seen(unknown(), **proof) == []


def test_i5_names_what_was_set_aside_and_never_seen_again() -> None:
    assert seen(unknown(), lines=[LogLine("a", 1, "retry_scheduled")]) == ["I5"]


def test_i5_does_not_take_the_reply_to_a_duplicate_for_the_lost_one() -> None:
    assert seen(unknown("a"), asked("b"), changes=[made(row())], stored=STORED) == ["I5"]


def test_i5_asks_nothing_of_what_the_broker_never_confirmed() -> None:
    assert seen(unknown(accepted=False)) == []
    assert seen(refused(code="queue_full", replied=False, accepted=False)) == []


def test_i5_names_a_queue_that_does_not_drain() -> None:
    (violation,) = found(unknown(), queued={"api.retry.50ms": 1, "api.requests": 0})
    assert (violation.invariant, violation.operation) == ("I5", None)
    assert "api.retry.50ms still holds 1" in violation.seen


def waited(request_id: str = "a", **fields: Any) -> Operation:
    """In vain from 10 to 15, over one connection all the time."""
    times: dict[str, Any] = {"asked": 10.0, "deadline": 15.0, "answered": 15.01, "steady": True}
    return unknown(request_id, key=request_id, **(times | fields))


def sent(request_id: str = "a", at: float = 10.2) -> LogLine:
    return LogLine(request_id, 1, "ok", worker="worker-1", at=at, took=0.1)


def test_i5_names_a_reply_that_was_sent_and_did_not_come_without_a_fault() -> None:
    (violation,) = found(waited(), lines=[sent()])
    assert (violation.invariant, violation.operation) == ("I5", "a")
    assert "no fault explains the silence" in violation.seen
    other = asked("b", key="b", answered=10.9, code="forbidden", outcome="refused")
    short = waited(deadline=11.0, answered=11.0)
    (violation,) = found(short, other, lines=[sent(), sent("b", 10.4)])
    assert "a later one came" in violation.seen
    reset = [FaultPeriod("reset", 10.1, 10.3)]
    assert seen(short, other, lines=[sent(), sent("b", 10.4)], faults=reset) == []


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        (waited(code="cancelled"), sent()),
        (waited(steady=False), sent()),
        (waited(answered=18.0), sent()),
        (waited(), sent(at=14.9)),
        (waited(), sent(at=16.0)),
    ],
    ids=["given up", "another connection", "asleep", "just before", "too late"],
)
def test_i5_lets_a_reply_be_lost_that_had_no_time(operation: Operation, line: LogLine) -> None:
    assert seen(operation, lines=[line]) == []


def test_i5_lets_a_reply_be_lost_in_a_fault() -> None:
    assert seen(waited(), lines=[sent()], faults=[FaultPeriod("kill broker", 9.0, 12.0)]) == []
    assert seen(waited(), lines=[sent()], faults=[FaultPeriod("drop reply", 10.1, 10.1)]) == []


def test_i5_looks_for_what_was_said_to_be_parked() -> None:
    parked = refused(code="internal", parked=True)
    (violation,) = found(parked)
    assert (violation.invariant, violation.operation) == ("I5", "a")
    assert seen(parked, letters=[DeadLetter("a", "internal", 4)]) == []
    assert seen(parked, removals=[Removal("a", "replayed", 12.0)]) == []
    assert seen(parked, removals=[Removal(None, "purged", 12.0)]) == []
    assert seen(parked, removals=[Removal(None, "purged", 9.0)]) == ["I5"]
    assert seen(parked, removals=[Removal(None, "purged", 12.0, count=0)]) == ["I5"]
    assert seen(unknown(), lines=[LogLine("a", 4, "unavailable")]) == ["I5"]


def test_i5_a_purge_explains_as_many_as_it_purged() -> None:
    lost = [unknown(name, accepted=True, key=name) for name in "ab"]
    parked = refused("c", code="internal", parked=True, key="c")
    for count, missed in ((0, "abc"), (1, "ab"), (2, "b"), (3, "")):
        violated = found(*lost, parked, removals=[Removal(None, "purged", 12.0, count=count)])
        assert {v.operation for v in violated} == set(missed)


def test_i5_looks_for_poison_in_the_dead_letter_queue() -> None:
    poison = Operation("p", "poison", "", {}, asked=10.0, code="no reply", accepted=True)
    assert seen(poison, lines=[LogLine("p", 1, "malformed")]) == ["I5", "I5"]
    assert seen(poison, letters=[DeadLetter("", "malformed", 1, asked_as="p")]) == []
    assert seen(replace(poison, accepted=False)) == []


def test_i6_names_an_attempt_over_the_limit() -> None:
    lines = [LogLine("a", attempt, "retry_scheduled") for attempt in (1, 2)]
    last = LogLine("a", 3, "ok")
    assert seen(unknown(), lines=[*lines, last], max_attempts=3) == []
    assert seen(unknown(), lines=[*lines, last], max_attempts=2) == ["I6"]
    assert seen(unknown(), letters=[DeadLetter("a", "internal", 3)], max_attempts=2) == ["I6"]


def test_i6_names_a_message_that_goes_round_and_round() -> None:
    again = LogLine("a", 1, "internal")
    letter = [DeadLetter("a", "internal", 1)]
    evidence: dict[str, Any] = {"max_attempts": 2, "delivery_limit": 1, "letters": letter}
    assert seen(unknown(sent=1), lines=[again] * 8, **evidence) == []
    assert seen(unknown(sent=1), lines=[again] * 9, **evidence) == ["I6"]
    assert seen(unknown(sent=2), lines=[again] * 9, **evidence) == []
    assert seen(unknown(sent=1), lines=[again] * 9, waits=1, **evidence) == []


def at(moment: float, answered: float | None = None) -> Operation:
    ping = Operation("p", "ping", "v1", {}, asked=moment, replied=answered is not None)
    said: dict[str, Any] = {"outcome": "ok", "code": None} if answered else {}
    return replace(ping, answered=answered, **said)


def test_i7_names_a_heal_after_which_nothing_is_answered() -> None:
    fault = FaultPeriod("kill broker", began=0, healed=10)
    assert seen(at(11, answered=39), faults=[fault], until=100) == []
    assert seen(at(11, answered=41), faults=[fault], until=100) == ["I7"]
    (violation,) = found(at(11), faults=[fault], until=100)
    assert violation.seen == "no answer for 90 s after kill broker was healed"


def test_i7_asks_for_no_answers_where_nobody_asked() -> None:
    fault = FaultPeriod("kill broker", began=0, healed=10)
    assert seen(at(5), faults=[fault], until=100) == []
    assert seen(at(11), faults=[fault], until=35) == []
    assert seen(at(11), faults=[replace(fault, healed=None)], until=100) == []


def test_i7_stops_the_clock_while_another_fault_is_active() -> None:
    faults = [FaultPeriod("pause", 0, 10), FaultPeriod("kill", 15, 40), FaultPeriod("stop", 30, 45)]
    assert seen(at(11, answered=69), faults=faults, until=100) == []
    assert seen(at(45.5, answered=76), faults=faults, until=100) == ["I7", "I7", "I7"]


def test_every_error_is_judged_by_what_it_says_of_itself() -> None:
    for code, kind in BY_CODE.items():
        outcome = "refused" if kind.is_definite else "unknown"
        assert judged({"code": code, "message": ""}) == (outcome, code)
        assert failed(kind()) == (outcome, code)
    assert judged({"code": "from_the_future", "message": ""}) == ("unknown", "from_the_future")
    assert failed(ValueError("a timeout that is none")) == ("refused", "not_sent")
    assert failed(ConnectionError()) == ("unknown", "ConnectionError")
    assert failed(KeyboardInterrupt()) == ("unknown", "cancelled")


def test_a_write_is_claimed_by_its_key_or_else_its_id_and_a_read_not_at_all() -> None:
    assert asked().claim == CLAIM
    assert asked(key=None).claim == EffectKey("1", BY_REQUEST_ID, "a")
    for action, version in [("get_book", "v1"), ("ping", "v1"), ("create_author", "v1")]:
        assert asked(action=action, version=version).claim is None


def test_an_isbn_is_the_same_in_every_spelling_of_version_2() -> None:
    spellings = ["0-452-28423-6", "9780452284234"]
    books = [{"title": "1984", "author_id": 1, "isbn": isbn} for isbn in spellings]
    assert len({str(effect_of(asked(version="v2", data=book))) for book in books}) == 1
    assert len({str(effect_of(asked(data=book))) for book in books}) == 2


def test_of_a_reply_everything_counts_but_its_correlation_id() -> None:
    tricky = b'{"correlation_id":"\\",\\"status\\":","status":"ok","data":1,"error":null}'
    assert essence(tricky) == ',"status":"ok","data":1,"error":null}'


def test_secrets_are_not_written_down() -> None:
    assert without_secrets({"name": "n", "password": "p", "auth_token": "t"}) == {"name": "n"}


def test_replies_of_a_server_that_writes_its_json_differently_are_compared_all_the_same() -> None:
    spaced = [
        f'{{"correlation_id": "{name}", "status": "ok", "data": 1, "error": null}}' for name in "ab"
    ]
    turned = '{"status": "ok", "data": 1, "error": null, "correlation_id": "c"}'
    essences = [essence(body.encode()) for body in (*spaced, turned)]
    assert essences == [essences[0]] * 3
    assert json.loads("{" + essences[0].removeprefix(",")) == {
        "status": "ok",
        "data": 1,
        "error": None,
    }
