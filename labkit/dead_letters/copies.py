"""What is made of a letter: a request again, the same letter with a mark, or another request.

None of them has ``CC``, ``expiration`` or anything else that the broker would act on: a letter was
rebuilt when it was read. ``Post`` signs them.
"""

import uuid
from copy import copy
from datetime import UTC, datetime
from typing import Any

from aio_pika import DeliveryMode
from pamqp import commands as spec
from pydantic_core import to_json

from labkit.dead_letters.letter import Letter
from labkit.dead_letters.trusted import MOST_FAILURES, MOST_REPLAYS
from server.contract.credentials import TOKEN_FIELD
from server.contract.envelope import JSON, LONGEST_ID
from server.contract.headers import (
    EDITED_FROM,
    ERROR,
    FAILURES,
    ON_BEHALF_OF,
    PARKED_AT,
    REASON,
    REPLAYS,
    TRACEPARENT,
)

OF_THE_REQUEST = (FAILURES, EDITED_FROM, TRACEPARENT)
"""Headers of a letter that its request keeps. The others the server writes when it parks it."""

LONGEST_ERROR = 1000
"""Characters of a refusal: twenty of them have to fit into one frame."""

Message = tuple[spec.Basic.Properties, bytes]


def request_again(letter: Letter, api_key: str) -> Message:
    """The same request: the operator's key opens the door, and it is its first sender's.

    Where the body has no id, the server takes the correlation id; but a replay sends another one,
    and a write without a key is claimed by the id. So it is said in the body. A letter without any
    is still refused: an id of ours would let it be applied once for each copy.
    """
    document = {"id": letter.correlation_id, **letter.document, "auth": api_key}
    if isinstance(data := document.get("data"), dict):
        document["data"] = {name: v for name, v in data.items() if name != TOKEN_FIELD}
    headers = {name: v for name, v in letter.headers.items() if name in OF_THE_REQUEST}
    headers |= {REPLAYS: replays_of(letter) + 1, ON_BEHALF_OF: letter.caller}
    return _copy(letter, headers, "replay"), to_json(document)


def moved(letter: Letter) -> Message:
    """The letter as it is: set aside, or put back from an archive."""
    properties = copy(letter.properties)
    properties.message_id = properties.message_id or uuid.uuid4().hex
    return properties, letter.body


def marked(letter: Letter, refusal: dict[str, str]) -> Message:
    """The letter, replayed once more; with the refusal it met, if it met one."""
    headers = letter.headers | {REPLAYS: replays_of(letter) + 1}
    if refusal:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        code, error = refusal["code"], refusal["error"][:LONGEST_ERROR]
        failure = {"attempt": 1, "code": code, "error": error, "at": now}
        headers[FAILURES] = [*letter.failures, failure][-MOST_FAILURES:]
        headers |= {REASON: code, ERROR: error, PARKED_AT: now}
    properties = _copy(letter, headers, "letter")
    properties.reply_to = letter.properties.reply_to
    return properties, letter.body


def edited(letter: Letter, api_key: str, request: dict[str, Any]) -> Message:
    edited_from = (letter.id or "")[:LONGEST_ID]
    headers: dict[str, Any] = {EDITED_FROM: edited_from, REPLAYS: replays_of(letter) + 1}
    if letter.caller is not None:
        headers[ON_BEHALF_OF] = letter.caller
    if TRACEPARENT in letter.headers:
        headers[TRACEPARENT] = letter.headers[TRACEPARENT]
    properties = spec.Basic.Properties(
        content_type=JSON,
        correlation_id=request["id"],
        message_id=uuid.uuid4().hex,
        delivery_mode=DeliveryMode.PERSISTENT,
        headers=headers,
    )
    return properties, to_json({**request, "auth": api_key})


def replays_of(letter: Letter) -> int:
    """So many that there is one more to come, and a header that is believed."""
    return min(letter.summary.replays, MOST_REPLAYS - 1)


def _copy(letter: Letter, headers: dict[str, Any], what: str) -> spec.Basic.Properties:
    """Copies that are made twice, because of a crash, have equal ids."""
    given = letter.properties
    original = given.message_id or letter.id or uuid.uuid4()
    name = f"{original} {what} {replays_of(letter) + 1}"
    known_as = letter.correlation_id or letter.id or ""
    return spec.Basic.Properties(
        content_type=given.content_type,
        correlation_id=known_as if len(known_as.encode()) <= LONGEST_ID else None,
        message_id=uuid.uuid5(uuid.NAMESPACE_OID, name).hex,
        delivery_mode=DeliveryMode.PERSISTENT,
        headers=dict(headers),
    )
