"""Each invariant over evidence that is right, and over the same evidence falsified."""

from dataclasses import replace
from typing import Any

import pytest

from labkit.ledger import Evidence, Operation, Violation, judge
from labkit.ledger.evidence import Change, Effect, Letter, Line, Outage, effect_of, updated
from labkit.ledger.history import changes
from labkit.ledger.operations import BY_ID, Claim, essence, failed, judged, without_secrets
from server.errors import BY_CODE

ANSWER = ',"status":"ok","data":{"id":1},"error":null}'
CLAIM = Claim("1", "book_v1", "k")


def asked(request_id: str = "a", title: str = "1984", **fields: Any) -> Operation:
    """A book, created and answered ok, under the key ``k``."""
    book = {"title": title, "author": "Orwell"}
    right = Operation(request_id, "create_book", "v1", book, "k", user="1", asked=10.0)
    answered: dict[str, Any] = {
        "answered": 11.0,
        "outcome": "ok",
        "code": None,
        "replied": True,
        "answer": ANSWER,
        "row_id": 1,
        "accepted": True,
    }
    return replace(right, **(answered | fields))


def refused(request_id: str = "a", code: str = "conflict", **fields: Any) -> Operation:
    error = f',"status":"error","data":null,"error":{{"code":"{code}"}}}}'
    told: dict[str, Any] = {"outcome": "refused", "code": code, "answer": error, "row_id": None}
    return asked(request_id, **(told | fields))


def unknown(request_id: str = "a", **fields: Any) -> Operation:
    told: dict[str, Any] = {
        "outcome": "unknown",
        "code": "timeout",
        "replied": False,
        "answer": None,
    }
    return asked(request_id, **(told | {"row_id": None} | fields))


def done(operation: Operation, row_id: int = 1) -> Change:
    effect = effect_of(operation)
    assert effect is not None
    return Change(effect, row_id)


def seen(*operations: Operation, **fields: Any) -> list[str]:
    """The invariants that this evidence violates."""
    return [violation.invariant for violation in found(*operations, **fields)]


def found(*operations: Operation, **fields: Any) -> tuple[Violation, ...]:
    return judge(Evidence(list(operations), **fields)).found


def test_a_right_run_violates_nothing() -> None:
    assert seen(asked(), changes=[done(asked())], stored=[(CLAIM, '[{"id":1},null]')]) == []
    assert seen() == []


def test_i1_names_what_was_answered_ok_and_is_not_there() -> None:
    (violation,) = found(asked())
    assert (violation.invariant, violation.operation) == ("I1", "a")
    assert "not there" in violation.seen
    assert "1984" in violation.seen


def test_i1_names_a_reply_that_tells_of_another_row() -> None:
    assert seen(asked(), changes=[done(asked(), row_id=2)]) == ["I1"]


def test_i1_names_an_update_whose_value_is_another() -> None:
    update = asked(action="update_book", data={"id": 1, "year": 1949})
    assert seen(update, changes=[done(update)]) == []
    other = Change(updated("books_v1", 1, {"year": 1950}), 1)
    assert seen(update, changes=[other]) == ["I1"]


def test_i1_names_a_delete_that_did_not_happen() -> None:
    delete = asked(action="delete_book", data={"id": 1})
    assert seen(delete, changes=[done(delete)]) == []
    assert seen(delete) == ["I1"]


def test_i1_names_the_second_payload_under_one_key_that_was_ignored() -> None:
    ignored = asked("b", title="1985", replayed=True)
    assert seen(asked(), ignored, changes=[done(asked())]) == ["I1"]


@pytest.mark.parametrize("second", [asked("b"), unknown("b"), refused("b", "in_progress")])
def test_i2_names_a_key_whose_effect_is_there_twice(second: Operation) -> None:
    twice = [done(asked()), done(asked())]
    (violation,) = found(asked(), second, changes=twice, lines=[Line("b", 1, "ok")])
    assert (violation.invariant, violation.operation) == ("I2", "a")
    assert "key k (book_v1): twice in the database" in violation.seen


def test_i2_holds_for_an_outcome_that_nobody_knows() -> None:
    assert seen(unknown()) == ["I5"]
    assert seen(unknown(), changes=[done(asked())], dropped=["a"]) == []
    assert seen(unknown(), changes=[done(asked())] * 2, dropped=["a"]) == ["I2"]


def test_i2_goes_by_the_id_where_there_is_no_key() -> None:
    twins = [asked("a", key=None), asked("b", key=None, row_id=2)]
    both = [done(twins[0], 1), done(twins[1], 2)]
    assert seen(*twins, changes=both) == []
    assert seen(*twins, changes=[*both, done(twins[0], 3)]) == ["I2"]
    assert seen(*twins, changes=both[:1]) == ["I1"]


def test_i2_allows_one_of_several_payloads_under_one_key() -> None:
    other = unknown("b", title="1985")
    assert seen(asked(), other, changes=[done(asked())], dropped=["b"]) == []
    assert seen(asked(), other, changes=[done(asked()), done(other)], dropped=["b"]) == ["I2"]


def test_the_same_key_of_another_user_or_resource_is_another_key() -> None:
    other = asked("b", title="1985", user="2", answer="another", row_id=2)
    assert seen(asked(), other, changes=[done(asked()), done(other, 2)]) == []


def test_i3_names_what_was_refused_and_is_there_all_the_same() -> None:
    assert seen(refused()) == []
    (violation,) = found(refused(), changes=[done(asked())])
    assert (violation.invariant, violation.operation) == ("I3", "a")


def test_i3_does_not_blame_a_refusal_beside_a_success_of_the_same_key() -> None:
    """Of two that were sent at once one may be told to slow down."""
    assert seen(asked(), refused("b", "rate_limited"), changes=[done(asked())]) == []
    early = [unknown("a"), refused("b", "expired")]
    assert seen(*early, changes=[done(asked())], dropped=["a"]) == []


def test_i4_names_another_answer_to_the_same_key() -> None:
    other = asked("b", answer=ANSWER.replace("1", "2"))
    (violation,) = found(asked(), other, changes=[done(asked())])
    assert (violation.invariant, violation.operation) == ("I4", "b")


def test_i4_names_an_answer_that_is_not_the_stored_one() -> None:
    stored = [(CLAIM, '[{"id":7},null]')]
    assert seen(asked(), changes=[done(asked())], stored=stored) == ["I4"]


def test_i4_counts_stored_refusals_and_no_others() -> None:
    assert seen(refused("a"), refused("b", answer=",another")) == ["I4"]
    later = asked("b")
    assert seen(refused("a", "rate_limited"), later, changes=[done(later)]) == []
    assert seen(refused("a", "conflict"), later, changes=[done(later)]) == ["I4"]


def test_i4_lets_a_reused_key_be_refused() -> None:
    reused = refused("b", "key_reused", data={"title": "1985", "author": "Orwell"})
    assert seen(asked(), reused, changes=[done(asked())]) == []


@pytest.mark.parametrize(
    "proof",
    [
        {"lines": [Line("a", 1, "ok")]},
        {"stored": [(CLAIM, "[1,null]")]},
        {"letters": [Letter("a", "internal", 4)]},
        {"dropped": ["a"]},
    ],
)
def test_i5_is_content_with_a_proof_of_where_the_request_is(proof: dict[str, Any]) -> None:
    assert seen(unknown()) == ["I5"]
    assert seen(unknown(), **proof) == []


def test_i5_names_what_was_set_aside_and_never_seen_again() -> None:
    assert seen(unknown(), lines=[Line("a", 1, "tried again later")]) == ["I5"]


def test_i5_does_not_take_the_reply_to_a_duplicate_for_the_lost_one() -> None:
    duplicate = asked("b")
    evidence: dict[str, Any] = {
        "changes": [done(duplicate)],
        "stored": [(CLAIM, '[{"id":1},null]')],
    }
    assert seen(unknown("a"), duplicate, **evidence) == ["I5"]


def test_i5_asks_nothing_of_what_the_broker_never_confirmed() -> None:
    assert seen(unknown(accepted=False)) == []
    assert seen(refused(code="queue_full", replied=False, accepted=False)) == []


def test_i5_names_a_queue_that_does_not_drain() -> None:
    (violation,) = found(unknown(), queued={"api.retry.50ms": 1, "api.requests": 0})
    assert (violation.invariant, violation.operation) == ("I5", None)
    assert "api.retry.50ms still holds 1" in violation.seen


def test_i6_names_an_attempt_over_the_limit() -> None:
    lines = [Line("a", attempt, "tried again later") for attempt in (1, 2)]
    last = Line("a", 3, "ok")
    assert seen(unknown(), lines=[*lines, last], max_attempts=3) == []
    assert seen(unknown(), lines=[*lines, last], max_attempts=2) == ["I6"]
    assert seen(unknown(), letters=[Letter("a", "internal", 3)], max_attempts=2) == ["I6"]


def test_i6_names_a_message_that_goes_round_and_round() -> None:
    again = Line("a", 1, "internal")
    evidence: dict[str, Any] = {"max_attempts": 2, "delivery_limit": 1}
    assert seen(unknown(sent=1), lines=[again] * 8, **evidence) == []
    assert seen(unknown(sent=1), lines=[again] * 9, **evidence) == ["I6"]
    assert seen(unknown(sent=2), lines=[again] * 9, **evidence) == []


def at(moment: float, answered: float | None = None) -> Operation:
    ping = Operation("p", "ping", "v1", {}, asked=moment, replied=answered is not None)
    told: dict[str, Any] = {"outcome": "ok", "code": None} if answered else {}
    return replace(ping, answered=answered, **told)


def test_i7_names_a_heal_after_which_nothing_is_answered() -> None:
    outage = Outage("kill broker", began=0, healed=10)
    assert seen(at(11, answered=39), outages=[outage], until=100) == []
    assert seen(at(11, answered=41), outages=[outage], until=100) == ["I7"]
    (violation,) = found(at(11), outages=[outage], until=100)
    assert violation.seen == "no answer for 90 s after kill broker was healed"


def test_i7_asks_for_no_answers_where_nobody_asked() -> None:
    outage = Outage("kill broker", began=0, healed=10)
    assert seen(at(5), outages=[outage], until=100) == []
    assert seen(at(11), outages=[outage], until=35) == []
    assert seen(at(11), outages=[replace(outage, healed=None)], until=100) == []


def test_i7_stops_the_clock_while_another_fault_is_active() -> None:
    outages = [Outage("pause", 0, 10), Outage("kill", 15, 40), Outage("stop", 30, 45)]
    assert seen(at(11, answered=69), outages=outages, until=100) == []
    assert seen(at(45.5, answered=76), outages=outages, until=100) == ["I7", "I7", "I7"]


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
    assert asked(key=None).claim == Claim("1", BY_ID, "a")
    for action, version in [("get_book", "v1"), ("ping", "v1"), ("create_author", "v1")]:
        assert asked(action=action, version=version).claim is None


def test_an_isbn_is_the_same_in_every_spelling_of_version_2() -> None:
    spellings = ["0-452-28423-6", "9780452284234"]
    books = [{"title": "1984", "author_id": 1, "isbn": isbn} for isbn in spellings]
    effects = {effect_of(asked(version="v2", data=book)) for book in books}
    assert len(effects) == 1
    assert len({effect_of(asked(data=book)) for book in books}) == 2


def test_the_columns_that_one_statement_sets_are_one_change() -> None:
    year, title = ("year", '{"year": 1, "title": "T"}'), ("title", '{"year": 1, "title": "T"}')
    rows = [("7", "books_v1", "UPDATE", 1, *column) for column in (title, year, year)]
    assert [change.effect.values for change in changes(rows)] == [
        '{"title": "T", "year": 1}',
        '{"year": 1}',
    ]
    gone = [("8", "books_v1", "DELETE", 1, None, None)]
    assert list(changes(gone)) == [Change(Effect("delete", "books_v1", 1, "{}"), 1)]


def test_of_a_reply_everything_counts_but_its_correlation_id() -> None:
    tricky = b'{"correlation_id":"\\",\\"status\\":","status":"ok","data":1,"error":null}'
    assert essence(tricky) == ',"status":"ok","data":1,"error":null}'


def test_secrets_are_not_written_down() -> None:
    assert without_secrets({"name": "n", "password": "p", "auth_token": "t"}) == {"name": "n"}
