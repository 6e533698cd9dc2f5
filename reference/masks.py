"""What is another at each run is shown as if it were always the same, and looks like the real one.

So that writing the documents again gives the same bytes, unless the server answers otherwise.
"""

import re
from typing import Any

from server.contract.headers import PARKED_AT

MASKS = {
    "created_at": "2026-01-31T12:00:00.123456Z",
    "expires_at": "2026-01-31T13:00:00.123456Z",
    "at": "2026-01-31T12:00:00.123+00:00",
    PARKED_AT: "2026-01-31T12:00:00.123+00:00",
    "token": "eyJhbGciOi…",
    "auth_token": "eyJhbGciOi…",
    "reply_to": "amq.gen-…",
}
"""Field → what stands for its value."""

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")


def mask(value: Any) -> Any:
    """A time is masked only if it is one: another form of time has to show in the documents."""
    if isinstance(value, list):
        return [mask(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {name: _masked(name, inner) for name, inner in value.items()}


def _masked(name: str, value: Any) -> Any:
    if name not in MASKS or not isinstance(value, str) or value == "[redacted]":
        return mask(value)
    return MASKS[name] if not _is_time(MASKS[name]) or _is_time(value) else value


def _is_time(text: str) -> bool:
    return _RFC_3339.fullmatch(text) is not None
