"""Secrets are taken out of a message before it is set aside for people to read."""

import re
from typing import Any

from pydantic_core import from_json, to_json

SECRET_FIELDS = ("auth_token", "auth", "password")
REDACTED = "[redacted]"


def redact(body: bytes) -> bytes:
    """The body without the values of its secret fields, whether or not it can be parsed."""
    try:
        document = from_json(body)
    except ValueError:
        document = None
    if not isinstance(document, dict | list):
        return cut(body)
    redacted = _redacted(document)
    return body if redacted == document else to_json(redacted)


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: REDACTED
            if name.lower() in SECRET_FIELDS and inner is not None
            else _redacted(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_redacted(inner) for inner in value]
    return value


def cut(body: bytes) -> bytes:
    """Up to the first name of a secret field. Where nothing can be parsed, nobody can tell where
    the value behind that name ends.
    """
    name = _SECRET_NAME.search(body)
    return body if name is None else body[: name.end()] + b" " + REDACTED.encode()


def _spelled(name: str) -> bytes:
    """In UTF-16 and UTF-32 there are zeros between the letters."""
    return rb"\x00*".join(letter.encode() for letter in name)


# Not followed by a letter: an author is no secret.
_SECRET_NAME = re.compile(
    b"(?i)(?:" + b"|".join(map(_spelled, SECRET_FIELDS)) + rb")(?!\x00*[a-z])"
)
