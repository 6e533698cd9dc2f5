"""What of a message people may see: in the dead letter queue, in an archive, on a screen.

A key can be anywhere: under a misspelt name, in a member that is there twice, in a body that is no
JSON at all. So nothing is taken out of the sender's bytes. A new body is built, of those members
whose names the API knows in that place and that are no secrets.
"""

import hashlib
import math
import re
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from server.contract.credentials import SECRET_FIELDS, TOKEN_FIELD
from server.contract.envelope import LARGEST_ID, Request
from server.contract.payloads import common, v1, v2

REDACTED = "[redacted]"
LEFT_OUT = "[left out]"
"""How many members were left out. A request that is sent again with it is refused, as it was
before: it must not become another one."""
TOO_LARGE = "[a number too large to show]"

_MEDIA_TYPES = frozenset(
    f"{kind}/{name}"
    for kind, names in {
        "application": "json octet-stream xml x-www-form-urlencoded msgpack x-protobuf avro gzip",
        "text": "plain html xml csv json",
    }.items()
    for name in names.split()
)
ANOTHER_TYPE = "unknown/unknown"
_SHA256 = re.compile("[0-9a-f]{64}")
_DESCRIBED = frozenset({"size", "content_type", "sha256"})
_ENVELOPE = frozenset(Request.model_fields) - {"data"}
_ERROR = frozenset({"code", "message"})


def _fields_of_data() -> frozenset[str]:
    """Every field of what any action takes or answers."""
    values = [value for module in (common, v1, v2) for value in vars(module).values()]
    models = [m for m in values if isinstance(m, type) and issubclass(m, BaseModel)]
    fields = {field for model in models for field in model.model_fields}
    return frozenset(fields | {TOKEN_FIELD} - _ENVELOPE) | {"id"}


_DATA = _fields_of_data()


def presentable(body: bytes, content_type: str | None = None) -> bytes:
    """A request's or a reply's body as JSON, rebuilt from what is known to be no secret. What it
    has returned once it leaves as it is.

    Of a body that is no JSON object its size, content type and SHA-256 are shown, by which its
    sender can recognise it.
    """
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return described(body, content_type)
    if _is_described(document):
        return to_json(document)
    is_reply = document.get("status") in ("ok", "error") and "action" not in document
    return to_json(_reply(document) if is_reply else _request(document))


def described(body: bytes, content_type: str | None = None) -> bytes:
    """As JSON, what can be said of a body without reading it."""
    digest = hashlib.sha256(body).hexdigest()
    summary = {"size": len(body), "content_type": media_type(content_type), "sha256": digest}
    return to_json({"unreadable": summary})


def _is_described(document: dict[str, Any]) -> bool:
    """Whether this is what ``described`` returns: nothing that it holds could be a text."""
    summary = document.get("unreadable")
    if len(document) != 1 or not isinstance(summary, dict) or set(summary) != _DESCRIBED:
        return False
    size, kind, digest = summary["size"], summary["content_type"], summary["sha256"]
    return (
        type(size) is int
        and (kind is None or (isinstance(kind, str) and media_type(kind) == kind))
        and isinstance(digest, str)
        and _SHA256.fullmatch(digest) is not None
    )


def media_type(content_type: str | None) -> str | None:
    """Without its parameters; ``ANOTHER_TYPE`` for all but the usual ones."""
    if content_type is None:
        return None
    given = content_type.partition(";")[0].strip().lower()
    return given if given in _MEDIA_TYPES else ANOTHER_TYPE


def _request(document: dict[str, Any]) -> dict[str, Any]:
    data = document.get("data")
    shown = {"data": _members(data, _DATA)} if isinstance(data, dict) else {}
    return _members(document, _ENVELOPE, shown)


def _reply(document: dict[str, Any]) -> dict[str, Any]:
    data, error = document.get("data"), document.get("error")
    shown: dict[str, Any] = {}
    if isinstance(data, dict):
        rows = {
            name: [_members(row, _DATA) for row in value if isinstance(row, dict)]
            for name, value in data.items()
            if name in _DATA and isinstance(value, list)
        }
        shown["data"] = _members(data, _DATA, rows)
    if isinstance(error, dict):
        shown["error"] = _members(error, _ERROR)
    return _members(document, frozenset({"correlation_id", "status", "data", "error"}), shown)


def _members(
    document: dict[str, Any], known: frozenset[str], shown: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The plain values under known names, in their order; ``shown`` is what they hold besides."""
    members: dict[str, Any] = {}
    for name, value in document.items():
        if shown and name in shown:
            members[name] = shown[name]
        elif name in known and name in SECRET_FIELDS:
            members[name] = None if value is None else REDACTED
        elif name in known and not isinstance(value, dict | list):
            members[name] = _plain(value)
    before = document.get(LEFT_OUT)
    left_out = len(document) - len(members) + (before - 1 if type(before) is int else 0)
    return members | ({LEFT_OUT: left_out} if left_out else {})


def _plain(value: Any) -> Any:
    is_too_large = isinstance(value, int) and abs(value) > LARGEST_ID
    is_no_number = isinstance(value, float) and not math.isfinite(value)
    return TOO_LARGE if is_too_large or is_no_number else value
