"""What is a request, and what is told to whoever sent something else."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.contract.envelope import Reply, parse, validate
from server.contract.errors import ApiError, InvalidData, Malformed, NotFound
from server.contract.payloads.v1 import CreateBookV1, UpdateBookV1
from server.contract.payloads.v2 import CreateBookV2

ENVELOPE = {"id": "1", "version": "v1", "action": "ping", "data": {}, "auth": "secret-key"}


def test_the_request_of_the_brief_is_read() -> None:
    request = parse(json.dumps(ENVELOPE | {"idempotency_key": "create-1984-v1"}).encode())
    assert (request.id, request.version, request.action) == ("1", "v1", "ping")
    assert request.idempotency_key == "create-1984-v1"


def test_the_correlation_id_stands_in_for_a_missing_id() -> None:
    body = json.dumps({"version": "v1", "action": "ping"}).encode()
    assert parse(body, default_id="from-amqp").id == "from-amqp"


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (json.dumps(ENVELOPE).encode("utf-16"), "not JSON"),
        (b"[]", "JSON object, not an array"),
        (b'"text"', "JSON object, not a string"),
        (b"12", "JSON object, not a number"),
        (b"true", "JSON object, not true or false"),
        (b"null", "JSON object, not null"),
        (b"{}", "id: Field required"),
        (b'{"id": 1, "version": "v1", "action": "ping"}', "id: Input should be a valid string"),
        (b'{"id": "", "version": "v1", "action": "ping"}', "id: String should have at least"),
        (b'{"id": "1", "version": 1, "action": "ping"}', "version: Input should be"),
        (b'{"id": "1", "version": "v1", "action": "ping", "data": [1]}', "data: Input should be"),
        (b'{"id": "1", "version": "v1", "action": "ping", "data": NaN}', "not JSON"),
        (b'{"id": "1", "version": "v1", "action": "ping", "auth": 7}', "auth: Input should be"),
        (
            b'{"id": "1", "version": "v1", "action": "ping", "idempotencykey": "k"}',
            "idempotencykey",
        ),
        (b'{"id": "a\\u0000b", "version": "v1", "action": "ping"}', "U+0000"),
        (b'{"id": "\\ud800", "version": "v1", "action": "ping"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"data":' * 100_000, "not JSON"),
        (b'{"id": "1", "data": ' + b"9" * 100_000 + b"}", "not JSON"),
    ],
)
def test_what_is_no_request_is_refused_with_a_hint(body: bytes, hint: str) -> None:
    with pytest.raises(Malformed) as refusal:
        parse(body)
    assert hint in str(refusal.value)
    assert len(str(refusal.value)) < 1000


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_malformed(body: bytes) -> None:
    with suppress(Malformed):
        parse(body)


@pytest.mark.parametrize("nothing", [b"null", b"[]", b"{}"])
def test_every_languages_nothing_is_no_data(nothing: bytes) -> None:
    assert parse(b'{"id": "1", "version": "v1", "action": "ping", "data": %s}' % nothing).data == {}


def test_a_refusal_knows_the_id_if_that_can_be_read() -> None:
    with pytest.raises(Malformed) as refusal:
        parse(json.dumps(ENVELOPE | {"id": "known", "foo": 1}).encode())
    assert refusal.value.request_id == "known"
    with pytest.raises(Malformed) as refusal:
        parse(json.dumps(ENVELOPE | {"id": 7}).encode())
    assert refusal.value.request_id is None


def test_no_secret_is_shown_by_a_request_or_by_its_refusal() -> None:
    assert "secret-key" not in repr(parse(json.dumps(ENVELOPE).encode()))
    with pytest.raises(Malformed) as refusal:
        parse(json.dumps(ENVELOPE | {"auth": ["secret-key"], "id": 1}).encode())
    assert "secret-key" not in str(refusal.value) + str(refusal.value.details)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"author": "A"}, "title"),
        ({"title": "", "author": "A"}, "title"),
        ({"title": " ", "author": "A"}, "title"),
        ({"title": "T" * 501, "author": "A"}, "title"),
        ({"title": "T\x00", "author": "A"}, "title"),
        ({"title": None, "author": "A"}, "title"),
        ({"title": "T", "author": "A", "year": "1949"}, "year"),
        ({"title": "T", "author": "A", "year": 10**30}, "year"),
        ({"title": "T", "author": "A", "year": 1949.5}, "year"),
        ({"title": "T", "author": "A", "year": True}, "year"),
        ({"title": "T", "author": "A", "year": 3000}, "year"),
        ({"title": "T", "author": "A", "isbn": "1" * 21}, "isbn"),
        ({"title": "T", "author": "A", "pages": 3}, "pages"),
    ],
)
def test_a_field_that_does_not_fit_is_named(data: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidData) as refusal:
        validate(CreateBookV1, data)
    assert [problem["field"] for problem in refusal.value.details] == [field]


@pytest.mark.parametrize("year", [b"1949.0", b"1.949e3", b"1949"])
def test_an_integer_is_one_however_json_writes_it(year: bytes) -> None:
    body = b'{"id": "1", "version": "v1", "action": "create_book", "data": {"year": ' + year + b"}}"
    data = parse(body).data | {"title": "1984", "author": "George Orwell"}
    book = validate(CreateBookV1, data)
    assert book.model_dump_json(include={"year"}) == '{"year":1949}'


@pytest.mark.parametrize("year", [1949.5, float("1e300"), True, "1949", "1949.0"])
def test_what_is_no_integer_is_refused(year: object) -> None:
    with pytest.raises(InvalidData, match="year"):
        validate(CreateBookV1, {"title": "1984", "author": "George Orwell", "year": year})


def test_every_wrong_field_is_told_at_once() -> None:
    with pytest.raises(InvalidData) as refusal:
        validate(CreateBookV1, {"year": "x"})
    assert {problem["field"] for problem in refusal.value.details} == {"title", "author", "year"}


@pytest.mark.parametrize(
    "spelling", ["978-0451524935", "9780451524935", "0-451-52493-4", "0451524934", "978 0451524935"]
)
def test_version_2_knows_every_spelling_of_an_isbn(spelling: str) -> None:
    book = validate(CreateBookV2, {"title": "1984", "author_id": 1, "isbn": spelling})
    assert book.isbn == "9780451524935"


@pytest.mark.parametrize(
    "isbn", ["978-0451524936", "1", "", "not an isbn", "9" * 13, "٩٧٨٠٤٥١٥٢٤٩٣٥"]
)
def test_version_2_refuses_what_is_no_isbn(isbn: str) -> None:
    with pytest.raises(InvalidData, match="isbn"):
        validate(CreateBookV2, {"title": "1984", "author_id": 1, "isbn": isbn})


def test_an_update_without_changes_is_refused() -> None:
    with pytest.raises(InvalidData, match="nothing to change"):
        validate(UpdateBookV1, {"id": 1})


def test_an_update_tells_null_from_absent() -> None:
    assert validate(UpdateBookV1, {"id": 1, "year": None}).changes == {"year": None}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_a_stored_reply_comes_back_byte_for_byte(data: object) -> None:
    first = Reply(data=data)
    assert Reply.from_stored(first.to_stored()).to_bytes("c") == first.to_bytes("c")


def test_a_replay_differs_from_the_first_reply_in_nothing_but_its_correlation_id() -> None:
    first = Reply.refusal(NotFound("There is no book 7.", {"id": 7}))
    replay = Reply.from_stored(first.to_stored())
    assert replay.replayed
    assert replay.to_bytes("2") == first.to_bytes("1").replace(b'"1"', b'"2"')


def _all(error: type[ApiError]) -> list[type[ApiError]]:
    return [error, *(leaf for child in error.__subclasses__() for leaf in _all(child))]


def test_every_error_explains_itself() -> None:
    assert all(str(error()) for error in _all(ApiError) if error.__init__ is ApiError.__init__)
