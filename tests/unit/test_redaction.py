"""No secret gets into a queue that people read."""

import json

import pytest

from server.redaction import redact


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"id": "1", "auth": "canary"}).encode(),
        json.dumps({"data": {"auth_token": "canary", "password": "canary"}}).encode(),
        json.dumps({"data": [{"Auth": "canary"}]}).encode(),
        json.dumps({"auth": {"key": "canary"}}).encode(),
        b'{"id": "1", "auth": "canary"',
        b'{"id": "1", "auth": "canary',
        b"{'auth': 'canary'}",
        b"auth=canary&id=1",
        b"auth: canary\nid: 1",
        b'{"auth"   :\n"canary", "broken": }',
        b'"{\\"auth\\": \\"canary\\"}',
        b'{"auth": "a \\" canary", oops}',
        '{"id": "1", "auth": "canary"}'.encode("utf-16"),
        '{"id": "1", "auth": "canary"'.encode("utf-16-le"),
        '{"id": "1", "auth": "canary"'.encode("utf-32"),
        b'\xef\xbb\xbf{"auth": "canary"}',
        json.dumps(json.dumps({"auth": "canary"})).encode(),
    ],
)
def test_the_secret_is_gone_from_what_can_and_what_cannot_be_parsed(body: bytes) -> None:
    redacted = redact(body)
    assert b"canary" not in redacted.replace(b"\x00", b"")


def test_all_else_stays() -> None:
    body = {
        "id": "1",
        "action": "create_book",
        "data": {"title": "Auth für Anfänger"},
        "auth": None,
    }
    assert json.loads(redact(json.dumps(body).encode())) == body
    assert b'"id": "1"' in redact(b'{"id": "1", "auth": "canary", broken}')
