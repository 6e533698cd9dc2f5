"""JSON that has one meaning only: an object, in UTF-8, without NaN, each member once."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from server.contract.errors import Malformed


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises ``Malformed`` for anything else, and for a member that is there twice:
    of two values, different programs take different ones.
    """
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"The body is not JSON in UTF-8: {error}") from None
    if not isinstance(document, dict):
        raise Malformed(f"The body has to be a JSON object, not {_json_type(document)}.")
    if _members_of(document) == _colons_in(body):
        return document
    try:
        # The first reader has refused what this one would not bear: depth, and numbers too long.
        json.loads(body, object_pairs_hook=_require_unique, parse_int=str)
    except _Repeated as repeated:
        raise Malformed(
            f"The member {str(repeated)[:100]!r} is there twice: give it once.",
            summary="A member is there twice.",
        ) from None
    return document


def _members_of(value: Any) -> int:
    """In all objects that it has: of members with the same name, one is left."""
    if isinstance(value, dict):
        return len(value) + sum(map(_members_of, value.values()))
    return sum(map(_members_of, value)) if isinstance(value, list) else 0


def _colons_in(body: bytes) -> int:
    """Outside of texts: one for each member. -1 if that cannot be said at a glance."""
    if b"\\" in body:  # perhaps before a quotation mark
        return -1
    return sum(piece.count(b":") for piece in body.split(b'"')[::2])


class _Repeated(Exception):
    """The name of the member."""


def _require_unique(members: Iterable[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise _Repeated(name)
        seen.add(name)


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
