"""One dead letter: what it says of itself, and what became of each attempt to work on it."""

import base64
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
from aiormq.abc import DeliveredMessage
from pamqp import commands as spec
from pydantic_core import from_json, to_json

from server.contract import ASKED_AS, CALLER, EDITED_FROM, FAILURES, REPLAYS

COLUMNS = [
    *("number", "id", "version", "action", "error", "attempts", "parked_at"),
    *("replays", "edited_from"),
]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list shows of a letter: small, for a hundred thousand of them have to fit."""

    number: int
    """Its place in the queue, from 1, at this moment."""
    id: str | None
    version: str | None
    action: str | None
    error: str | None
    attempts: int
    parked_at: str | None
    replays: int
    edited_from: str | None


@dataclass(frozen=True)
class Letter:
    """A whole letter. Its secrets were taken out before it came here."""

    summary: Summary
    headers: dict[str, Any]
    properties: spec.Basic.Properties = field(repr=False)
    body: bytes
    document: dict[str, Any] | None = field(repr=False)
    """The body as JSON; None if it is none."""

    @property
    def id(self) -> str | None:
        return self.summary.id

    @property
    def correlation_id(self) -> str | None:
        """Its sender's own."""
        return _correlation_id(self.properties, self.headers)

    @property
    def caller(self) -> str | None:
        """Who sent it, for ``x-on-behalf-of``."""
        caller = self.headers.get(CALLER)
        return caller if isinstance(caller, str) else None

    @property
    def key(self) -> str | None:
        key = (self.document or {}).get("idempotency_key")
        return key if isinstance(key, str) else None

    @property
    def failures(self) -> list[dict[str, Any]]:
        given = self.headers.get(FAILURES)
        return given if isinstance(given, list) else []

    @property
    def history(self) -> pd.DataFrame:
        """One row for each attempt that failed, and each replay that was refused."""
        return pd.DataFrame(self.failures, columns=["at", "attempt", "code", "error"])

    def __repr__(self) -> str:
        """As an operator reads it: first what it is, then what happened, then the request."""
        lines = {name: getattr(self.summary, name) for name in COLUMNS} | {
            "why": self.headers.get("x-error"),
            "caller": _short(self.caller),
            "correlation_id": self.correlation_id,
            "reply_to": self.properties.reply_to,
            "message_id": self.properties.message_id,
        }
        said = "\n".join(f"{name:15} {value}" for name, value in lines.items() if value)
        history = self.history.to_string(index=False) if self.failures else "no attempt was told of"
        return f"{said}\n\n{history}\n\n{self.text()}"

    def text(self) -> str:
        """The body, for people: JSON with indents, other text as it is, anything else in base64."""
        if self.document is not None:
            return to_json(self.document, indent=2).decode()
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            return "base64: " + base64.b64encode(self.body).decode()


def read(number: int, message: DeliveredMessage) -> Letter:
    """Never fails, whatever it is that somebody put into the queue."""
    properties = message.header.properties
    headers = dict(properties.headers or {})
    document = parsed(message.body)
    said = document or {}
    failures = headers.get(FAILURES)
    summary = Summary(
        number=number,
        id=_text(said.get("id")) or _correlation_id(properties, headers),
        version=_text(said.get("version")),
        action=_text(said.get("action")),
        error=_text(headers.get("x-reason")),
        attempts=len(failures) if isinstance(failures, list) else 0,
        parked_at=_text(headers.get("x-parked-at")),
        replays=replays(headers),
        edited_from=_text(headers.get(EDITED_FROM)),
    )
    return Letter(summary, headers, properties, message.body, document)


def _correlation_id(properties: spec.Basic.Properties, headers: dict[str, Any]) -> str | None:
    """A letter that was replayed and parked again came with one of the replay's."""
    asked_as = _text(headers.get(ASKED_AS))
    return (properties.correlation_id if asked_as is None else asked_as) or None


def parsed(body: bytes) -> dict[str, Any] | None:
    try:
        document = from_json(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def replays(headers: dict[str, Any]) -> int:
    given = headers.get(REPLAYS)
    return given if isinstance(given, int) else 0


def table(summaries: list[Summary]) -> pd.DataFrame:
    """One row for each letter, in the queue's order; times are UTC."""
    columns = {name: [getattr(each, name) for each in summaries] for name in COLUMNS}
    columns["parked_at"] = [_time(text) for text in columns["parked_at"]]
    return pd.DataFrame(columns, columns=COLUMNS).set_index("number")


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _short(caller: str | None) -> str | None:
    return caller and (caller if len(caller) <= 24 else f"{caller[:20]}…")
