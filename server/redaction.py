"""Secrets are taken out of a message before it is set aside for people to read."""

import re
from typing import Any

from pydantic_core import from_json, to_json

SECRET_FIELDS = frozenset({"auth", "auth_token", "password"})
REDACTED = "[redacted]"

# In bytes that are no JSON, all that can be known of a secret is the name in front of it. What
# follows goes as far as the value could: to its closing quote, or else to the end.
_AFTER_A_NAME = re.compile(
    rb"(?i)((?:auth|auth_token|password)[\\\"'\s]*[:=][\\\"'\s]*)"
    rb"(?:(?<=[\"'])[^\"']*|[^\s,;}\]\"']+)"
)


def redact(body: bytes) -> bytes:
    """The body without the values of its secret fields, whether or not it can be parsed."""
    try:
        document = from_json(body)
    except ValueError:
        return _AFTER_A_NAME.sub(rb"\g<1>" + REDACTED.encode(), body)
    return to_json(_redacted(document))


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
