"""What is made of a letter: a request again, the same letter with a mark, or another request."""

import uuid
from datetime import UTC, datetime
from typing import Any

from pamqp import commands as spec
from pydantic_core import to_json

from labkit.dead_letters.letter import Letter
from server.contract import (
    ATTEMPT,
    CALLER,
    DEADLINE,
    EDITED_FROM,
    FAILURES,
    JSON,
    ON_BEHALF_OF,
    REPLAYS,
)

PERSISTENT = 2
OF_THE_PARKING = (CALLER, "x-reason", "x-error", "x-origin", "x-parked-at")
"""What the server writes when it parks a request; when it does so again, it writes it anew."""
OF_THE_FIRST_JOURNEY = (ATTEMPT, DEADLINE, "x-death", "CC", "BCC")
_PREFIXES = ("x-first-death-", "x-last-death-")
MOST_FAILURES = 20
"""Told of one letter, however often it is replayed: headers have to fit into a frame."""

Message = tuple[spec.Basic.Properties, bytes]


def request_again(letter: Letter, api_key: str) -> Message:
    """The same request: the operator's key opens the door, and it is its first sender's.

    Where the body has no id, the server takes the correlation id; but a replay sends another one,
    and a write without a key is claimed by the id. So it is said in the body. A letter without any
    is still refused: an id of ours would let it be applied once for each copy.
    """
    document = {"id": letter.correlation_id, **(letter.document or {}), "auth": api_key}
    if isinstance(data := document.get("data"), dict):
        document["data"] = {name: v for name, v in data.items() if name != "auth_token"}
    count = letter.summary.replays + 1
    headers = _journey(letter) | {REPLAYS: count, ON_BEHALF_OF: letter.caller}
    return _properties(letter, headers, f"replay {count}"), to_json(document)


def elsewhere(letter: Letter) -> Message:
    """For another queue: the letter as it is, without any key, and with the mark."""
    return marked(letter, {})


def marked(letter: Letter, refusal: dict[str, str]) -> Message:
    """The letter, replayed once more; with the refusal it met, if it met one."""
    count = letter.summary.replays + 1
    headers = letter.headers | {REPLAYS: count}
    if refusal:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        failure = {"attempt": 1, "code": refusal["code"], "error": refusal["error"], "at": now}
        headers[FAILURES] = [*letter.failures, failure][-MOST_FAILURES:]
        headers |= {"x-reason": refusal["code"], "x-error": refusal["error"], "x-parked-at": now}
    properties = _properties(letter, headers, f"letter {count}")
    properties.reply_to = letter.properties.reply_to
    return properties, letter.body


def edited(letter: Letter, api_key: str, request: dict[str, Any]) -> Message:
    headers: dict[str, Any] = {EDITED_FROM: letter.id or "", REPLAYS: letter.summary.replays + 1}
    if letter.caller is not None:
        headers[ON_BEHALF_OF] = letter.caller
    properties = spec.Basic.Properties(
        content_type=JSON,
        correlation_id=request["id"],
        message_id=uuid.uuid4().hex,
        delivery_mode=PERSISTENT,
        headers=headers,
    )
    return properties, to_json({**request, "auth": api_key})


def _journey(letter: Letter) -> dict[str, Any]:
    """The sender's headers and the history, without what belongs to the way it came."""
    left_out = (*OF_THE_PARKING, *OF_THE_FIRST_JOURNEY)
    return {
        name: value
        for name, value in letter.headers.items()
        if name not in left_out and not name.startswith(_PREFIXES)
    }


def _properties(letter: Letter, headers: dict[str, Any], what: str) -> spec.Basic.Properties:
    """Without ``expiration``. Copies that are made twice, because of a crash, have equal ids."""
    given = letter.properties
    name = f"{given.message_id or letter.id} {what}"
    return spec.Basic.Properties(
        content_type=given.content_type,
        content_encoding=given.content_encoding,
        correlation_id=letter.correlation_id or letter.id,
        message_id=uuid.uuid5(uuid.NAMESPACE_OID, name).hex,
        delivery_mode=PERSISTENT,
        headers=headers,
    )
