"""What a refusal says, word for word: its sender has nothing else to correct the request by."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from server.contract.envelope import LONGEST_ID, MAX_PROBLEMS, Reply, parse, validate
from server.contract.errors import BY_CODE, InvalidData, Malformed, NotFound, from_wire
from server.contract.limits import listed
from server.contract.payloads.common import YEARS_AHEAD
from server.contract.payloads.v1 import CreateBookV1
from server.contract.payloads.v2 import CreateBookV2
from server.contract.redaction import presentable
from server.contract.strict_json import read_json
from server.settings import Settings

BOOK: dict[str, Any] = {"title": "1984", "author": "George Orwell"}


def refused(data: dict[str, Any]) -> list[dict[str, str]]:
    with pytest.raises(InvalidData) as error:
        validate(CreateBookV1, data)
    problems: list[dict[str, str]] = error.value.details
    sentence = "; ".join(f"{each['field']}: {each['problem']}" for each in problems)
    assert str(error.value) == f"The data does not fit: {sentence}"
    return problems


@pytest.mark.parametrize(
    ("data", "field", "problem"),
    [
        ({"title": "a\x00b"}, "title", "must not contain the character U+0000"),
        ({"title": " \t"}, "title", "must not be blank"),
        ({"year": 9998}, "year", f"must not be more than {YEARS_AHEAD} years ahead"),
        ({"x" * 200: 1}, "x" * 100, "Extra inputs are not permitted"),
    ],
)
def test_each_problem_is_said_in_its_own_words(
    data: dict[str, Any], field: str, problem: str
) -> None:
    assert refused(BOOK | data) == [{"field": field, "problem": problem}]


def test_several_problems_are_one_sentence_and_too_many_are_cut_off() -> None:
    assert [each["field"] for each in refused({"author": 7})] == ["title", "author"]
    assert len(refused(BOOK | {str(number): 0 for number in range(100)})) == MAX_PROBLEMS


def test_a_book_may_be_announced_for_so_many_years_and_no_more() -> None:
    latest = datetime.now(UTC).year + YEARS_AHEAD
    assert validate(CreateBookV1, BOOK | {"year": latest}).year == latest
    refused(BOOK | {"year": latest + 1})


def test_a_wrong_isbn_says_what_is_wrong_with_it() -> None:
    with pytest.raises(InvalidData, match="isbn: not an ISBN-10 or ISBN-13: The number's checksum"):
        validate(CreateBookV2, {"title": "T", "author_id": 1, "isbn": "9780747532690"})


def request(**members: Any) -> bytes:
    return to_json({"id": "1", "version": "v1", "action": "ping"} | members)


def test_an_id_may_have_so_many_bytes_and_no_more() -> None:
    longest = "本" * (LONGEST_ID // 3)
    assert len(longest.encode()) == LONGEST_ID
    assert parse(request(id=longest)).id == longest
    with pytest.raises(Malformed, match=f"id: must not have more than {LONGEST_ID} bytes in UTF-8"):
        parse(request(id=longest + "i"))


def test_a_malformed_request_lists_its_problems_and_sums_up_those_that_are_safe_to_show() -> None:
    with pytest.raises(Malformed) as known:
        parse(request(version=7))
    assert known.value.details == [
        {"field": "version", "problem": "Input should be a valid string"}
    ]
    assert known.value.summary == str(known.value)
    with pytest.raises(Malformed) as unknown:
        parse(request(secret_name=7))
    assert "secret_name" in str(unknown.value)
    assert unknown.value.summary == (
        "The request cannot be read: it has a field that the API does not know"
    )


def test_a_member_that_is_there_twice_is_named_to_its_sender_alone() -> None:
    for body in (b'{"key": 1, "key": 2}', b'{"data": {"key": 1, "a": 2, "key": 3}}'):
        with pytest.raises(Malformed) as twice:
            read_json(body)
        assert str(twice.value) == "The member 'key' is there twice: give it once."
        assert twice.value.summary == "A member is there twice."
    long = "k" * 300
    with pytest.raises(Malformed, match=f"'{'k' * 100}' is"):
        read_json(f'{{"{long}": 1, "{long}": 2}}'.encode())


def test_a_number_of_any_length_is_read_without_counting_its_digits_twice() -> None:
    with pytest.raises(Malformed, match="not JSON"):
        read_json(b'{"a": ' + b"9" * 5000 + b"}")
    assert read_json(b'{"a": ' + b"9" * 4200 + b"}")["a"] > 0


def test_an_error_says_what_its_class_says_unless_it_has_words_of_its_own() -> None:
    assert NotFound().summary == str(NotFound()) == " ".join((NotFound.__doc__ or "").split())
    own = NotFound("There is no book 7.", {"id": 7}, summary="There is no book.")
    assert (str(own), own.details, own.summary) == (
        "There is no book 7.",
        {"id": 7},
        "There is no book.",
    )


@pytest.mark.parametrize("code", BY_CODE)
def test_a_refusal_crosses_the_wire_whole(code: str) -> None:
    sent = BY_CODE[code]("It is so.", {"why": ["a", 1]})
    wire = Reply.refusal(sent).error
    assert wire == {"code": code, "message": "It is so.", "details": {"why": ["a", 1]}}
    arrived = from_wire(wire)
    assert type(arrived) is BY_CODE[code]
    assert (str(arrived), arrived.details) == ("It is so.", {"why": ["a", 1]})
    assert str(from_wire({"code": code})) == str(BY_CODE[code]())


def test_a_refusal_is_shown_with_its_code_and_sentence_and_no_more() -> None:
    error = {"code": "not_found", "message": "There is no book 7.", "details": {"secret": 1}}
    reply = {"correlation_id": "1", "status": "error", "data": None, "error": error}
    shown = from_json(presentable(to_json(reply)))
    assert shown["correlation_id"] == "1"
    assert shown["status"] == "error"
    assert shown["data"] is None
    assert (shown["error"]["code"], shown["error"]["message"]) == ("not_found", error["message"])
    assert "secret" not in str(shown)


def test_a_server_without_settings_says_how_to_get_them() -> None:
    with pytest.raises(SystemExit) as error:
        Settings.from_env({})
    first, *missing, advice = str(error.value).split("\n")
    assert first == "The server cannot start."
    assert len(missing) == 2
    assert advice == "Start the lab with `make up`, then load its settings: `. .lab/lab.env`."


def test_a_list_in_the_environment_has_commas_and_a_list_is_one() -> None:
    assert listed("a,b") == ["a", "b"]
    assert listed(("a", "b")) == ("a", "b")
