"""One dead letter: what it says of itself, and what became of each attempt to work on it."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from aio_pika import DeliveryMode
from aiormq.abc import DeliveredMessage
from pamqp import commands as spec
from pydantic_core import from_json, to_json

from labkit.dead_letters import trusted
from labkit.ui.printable import printable, printable_lines
from server.contract.headers import (
    ASKED_AS,
    CALLER,
    EDITED_FROM,
    ERROR,
    FAILURES,
    PARKED_AT,
    REASON,
    REPLAYS,
    UNDECODABLE,
)
from server.contract.redaction import media_type, presentable
from server.contract.vouching import is_vouched

COLUMNS = [
    *("number", "id", "version", "action", "error", "attempts", "parked_at"),
    *("replays", "edited_from"),
]

UNREADABLE = "unreadable"
"""The error of a letter whose AMQP properties cannot be decoded."""
WHY_UNREADABLE = "Its AMQP properties cannot be decoded. Set it aside, or purge it alone."
WHY_UNSIGNED = "The server did not write it: what its headers say is not believed."


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list shows of a letter: small, for a hundred thousand of them have to fit. Its texts
    are safe to print.
    """

    number: int
    """Its place in the queue, from 1, at this moment."""
    id: str | None
    version: str | None
    action: str | None
    error: str | None
    attempts: int
    parked_at: str | None
    """UTC, ISO 8601 with milliseconds."""
    replays: int
    edited_from: str | None


@dataclass(frozen=True)
class Letter:
    """A whole letter, built of what is known to be no secret, and of headers that are believed."""

    summary: Summary
    headers: dict[str, Any]
    properties: spec.Basic.Properties = field(repr=False)
    """As it is to be published again: persistent, without anything that the broker acts on."""
    body: bytes
    document: dict[str, Any] = field(repr=False)
    """The body as JSON."""
    id: str | None
    """Its request's own, else its correlation id."""

    @property
    def is_readable(self) -> bool:
        return self.headers.get(REASON) != UNREADABLE

    @property
    def correlation_id(self) -> str | None:
        """Its sender's own."""
        return _correlation_id(self.properties, self.headers)

    @property
    def caller(self) -> str | None:
        """Who sent it, for ``x-on-behalf-of``."""
        return self.headers.get(CALLER)

    @property
    def key(self) -> str | None:
        return _text(self.document.get("idempotency_key"))

    @property
    def failures(self) -> list[dict[str, Any]]:
        given: list[dict[str, Any]] = self.headers.get(FAILURES, [])
        return given

    @property
    def history(self) -> pd.DataFrame:
        """One row for each attempt that failed, and each replay that was refused: ``at`` (str, UTC,
        ISO 8601), ``attempt`` (int64, from 1), ``code`` and ``error``, its sentence (str).
        """
        rows = [{name: _shown(value) for name, value in each.items()} for each in self.failures]
        return pd.DataFrame(rows, columns=["at", "attempt", "code", "error"])

    def __repr__(self) -> str:
        """As an operator reads it: first what it is, then what happened, then the request."""
        lines = {name: getattr(self.summary, name) for name in COLUMNS} | {
            "why": self.headers.get(ERROR, WHY_UNSIGNED),
            "caller": _short(self.caller),
            "correlation_id": self.correlation_id,
            "reply_to": self.properties.reply_to,
            "message_id": self.properties.message_id,
        }
        said = "\n".join(f"{name:15} {_shown(value)}" for name, value in lines.items() if value)
        history = self.history.to_string(index=False) if self.failures else "no attempt is known"
        return f"{said}\n\n{history}\n\n{self.text()}"

    def text(self) -> str:
        """The body, for people: JSON with indents."""
        return printable_lines(to_json(self.document, indent=2).decode())


def read(number: int, message: DeliveredMessage, own_user: str) -> Letter:
    """Never fails, whatever is in the queue. ``own_user`` is the broker's user that receives it."""
    return of(number, message.header.properties, message.body, own_user)


def of(number: int, given: spec.Basic.Properties, body: bytes, own_user: str) -> Letter:
    """The letter that this message is, in a queue or an archive."""
    headers = _believed(given, own_user)
    properties = _rebuilt(given, headers)
    body = presentable(body, given.content_type)
    document = parsed(body) or {}
    id_ = _text(document.get("id")) or _correlation_id(properties, headers)
    summary = Summary(
        number=number,
        id=_shown(id_),
        version=_shown(_text(document.get("version"))),
        action=_shown(_text(document.get("action"))),
        error=_shown(headers.get(REASON)),
        attempts=len(headers.get(FAILURES, [])),
        parked_at=headers.get(PARKED_AT),
        replays=headers.get(REPLAYS, 0),
        edited_from=_shown(headers.get(EDITED_FROM)),
    )
    return Letter(summary, headers, properties, body, document, id_)


def _believed(given: spec.Basic.Properties, own_user: str) -> dict[str, Any]:
    headers = given.headers or {}
    if list(headers) == [UNDECODABLE]:
        return {REASON: UNREADABLE, ERROR: WHY_UNREADABLE}
    return trusted.headers(headers) if is_vouched(given.user_id, own_user) else {}


def _rebuilt(given: spec.Basic.Properties, headers: dict[str, Any]) -> spec.Basic.Properties:
    return spec.Basic.Properties(
        content_type=media_type(given.content_type),
        correlation_id=given.correlation_id,
        reply_to=given.reply_to,
        message_id=given.message_id,
        delivery_mode=DeliveryMode.PERSISTENT,
        headers=headers,
    )


def _correlation_id(properties: spec.Basic.Properties, headers: dict[str, Any]) -> str | None:
    """A letter that was replayed and parked again came with one of the replay's."""
    asked_as = headers.get(ASKED_AS)
    return (properties.correlation_id if asked_as is None else asked_as) or None


def parsed(body: bytes) -> dict[str, Any] | None:
    try:
        document = from_json(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def table(summaries: list[Summary]) -> pd.DataFrame:
    """One row for each letter, in the queue's order; times are UTC, NaT where none is known."""
    columns: dict[str, Any] = {name: [getattr(s, name) for s in summaries] for name in COLUMNS}
    times = pd.to_datetime(columns["parked_at"], utc=True, format="ISO8601")
    columns["parked_at"] = times.astype("datetime64[us, UTC]")
    return pd.DataFrame(columns, columns=COLUMNS).set_index("number")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _shown(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _short(caller: str | None) -> str | None:
    return caller and (caller if len(caller) <= 24 else f"{caller[:20]}…")
