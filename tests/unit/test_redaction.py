"""What people may see of a message is built from an allow-list, whatever its sender sent."""

import hashlib
import json
from typing import Any

import pytest

from server.contract.envelope import Reply
from server.contract.redaction import ANOTHER_TYPE, LEFT_OUT, REDACTED, TOO_LARGE, presentable

CANARY = "canary"

SPELLINGS: list[Any] = [
    *({name: CANARY} for name in ("auth", "api_key", "token", "Authorization", "auth ", "AUTH")),
    *({name: CANARY} for name in ("password", "x-api-key", "API_KEY", "secret", "\u0430uth", "")),
    *({"data": {name: CANARY}} for name in ("auth_token", "password", "auth", "Auth", "apikey")),
    *({name: {"key": CANARY}} for name in ("auth", "data", "id", "action", "idempotency_key")),
    *({"data": {name: [CANARY, {"title": CANARY}]}} for name in ("title", "books", "id")),
    {"data": {"title": {"title": CANARY}}},
    {"data": [{"auth": CANARY}]},
    {"error": {"message": CANARY}, "message": CANARY, "title": CANARY},
    {"status": "ok", "data": {"token": CANARY, "role": "reader"}},
    {"status": CANARY, "action": "ping"},
    {CANARY: 1, "data": {CANARY: 2}},
]

BROKEN = [
    b'{"id": "1", "auth": "canary"',
    b'{"\\u0061uth": "canary", oops}',
    b"{'auth': 'canary'}",
    b"auth=canary&id=1",
    b'"canary"',
    b'["password", "canary"]',
    json.dumps(json.dumps({"auth": "canary"})).encode(),
    *('{"id": "1", "auth": "canary"}'.encode(name) for name in ("utf-16", "utf-16-le", "utf-32")),
    b'\xef\xbb\xbf{"auth": "canary"}',
    b'{"auth": "canary", "year": NaN}',
    b'{"auth": "canary", "data": ' + b"[" * 50_000,
    b"",
]


@pytest.mark.parametrize("members", SPELLINGS, ids=repr)
def test_no_spelling_of_a_secret_is_shown(members: dict[str, Any]) -> None:
    document = {"id": "1", "version": "v1", "action": "ping"} | members
    for body in (json.dumps(document), json.dumps(members)):
        assert CANARY not in presentable(body.encode()).decode()


@pytest.mark.parametrize(
    "repeated", ['"auth":"canary","auth":null', '"data":{"auth":"canary"},"data":{}']
)
def test_nor_one_that_is_there_twice(repeated: str) -> None:
    assert b"canary" not in presentable(f"{{{repeated}}}".encode())


def test_nor_one_beside_a_number_of_five_thousand_digits() -> None:
    for digits, expected in ((400, TOO_LARGE), (5000, "sha256")):
        body = b'{"auth": "canary", "data": {"year": ' + b"9" * digits + b', "id": 1e308}}'
        shown = presentable(body).decode()
        assert expected in shown
        assert CANARY not in shown


@pytest.mark.parametrize("body", BROKEN)
def test_of_what_is_no_json_object_only_its_size_kind_and_digest_are_told(body: bytes) -> None:
    shown = json.loads(presentable(body, "text/plain; charset=canary"))
    digest = hashlib.sha256(body).hexdigest()
    kept = {"size": len(body), "content_type": "text/plain", "sha256": digest}
    assert shown == {"unreadable": kept}
    assert (
        json.loads(presentable(body, "text/canary"))["unreadable"]["content_type"] == ANOTHER_TYPE
    )


def test_a_request_of_the_api_stays_as_it_was_but_for_its_secrets() -> None:
    data = {"id": 7, "title": "Auth für Anfänger", "year": None, "limit": 5, "genre": "x"}
    request = {"id": "1", "version": "v1", "action": "create_book", "data": data, "auth": None}
    request["idempotency_key"] = "k"
    assert json.loads(presentable(json.dumps(request).encode())) == request
    secrets = request | {"auth": "key", "data": data | {"auth_token": "key"}}
    shown = json.loads(presentable(json.dumps(secrets).encode()))
    assert shown == request | {"auth": REDACTED, "data": data | {"auth_token": REDACTED}}


def test_how_much_was_left_out_is_said() -> None:
    body = json.dumps(
        {"id": "1", "idempotncy_key": "k", "data": {"titel": "T", "jahr": 1}}
    ).encode()
    assert json.loads(presentable(body)) == {"id": "1", "data": {LEFT_OUT: 2}, LEFT_OUT: 1}


def test_a_reply_is_shown_with_its_rows_and_without_its_token() -> None:
    books = {"books": [{"id": 1, "title": "1984", "secret": CANARY}], "next": None}
    shown = json.loads(presentable(Reply(data=books).to_bytes("c")))
    assert shown["data"] == {"books": [{"id": 1, "title": "1984", LEFT_OUT: 1}], "next": None}
    shown = json.loads(presentable(Reply(data={"token": CANARY, "role": "reader"}).to_bytes("c")))
    assert shown["data"] == {"token": REDACTED, "role": "reader"}


@pytest.mark.parametrize(
    "body", [*(json.dumps(members).encode() for members in SPELLINGS), *BROKEN], ids=repr
)
def test_what_can_be_shown_is_shown_again_as_it_is(body: bytes) -> None:
    shown = presentable(body, "text/plain; charset=utf-8")
    assert presentable(shown, "application/json") == shown


@pytest.mark.parametrize(
    "told",
    [
        {"size": CANARY, "content_type": None, "sha256": "0" * 64},
        {"size": 1, "content_type": f"{CANARY} /", "sha256": "0" * 64},
        {"size": 1, "content_type": None, "sha256": CANARY},
        {"size": 1, "content_type": None, "sha256": "0" * 64, CANARY: 1},
    ],
    ids=repr,
)
def test_what_only_looks_like_that_is_not(told: dict[str, Any]) -> None:
    assert CANARY not in presentable(json.dumps({"unreadable": told}).encode()).decode()
