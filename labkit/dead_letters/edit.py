"""A letter is edited: its request is sent with other data, as a new one that names the old."""

import uuid
from typing import Any

from labkit.client.caller import Reply
from labkit.client.errors import ReplyTimeout
from labkit.dead_letters import copies
from labkit.dead_letters.letter import Letter
from labkit.dead_letters.post import Post
from labkit.errors import BadSelection
from server.contract.credentials import TOKEN_FIELD
from server.contract.errors import OUTCOMES
from server.contract.topology import REQUESTS


async def send(
    letter: Letter, new: dict[str, Any], post: Post, api_key: str, patience: float
) -> Reply:
    """The reply to the ``new`` request. Raises ``ReplyTimeout``."""
    properties, body = copies.edited(letter, api_key, new)
    answer = await post.ask(REQUESTS, properties, body, patience)
    if answer is None:
        raise ReplyTimeout(
            "No reply came in time; the letter stays. Edit it in the same way again."
        )
    return answer


def request(letter: Letter, changes: dict[str, Any]) -> dict[str, Any]:
    """The new request. It keeps the old one's idempotency key, or without one its id: if the old
    one was applied after all, the new one is refused (``key_reused``), and nothing is doubled.

    Only where the old one was refused for good it gets a key of its own: the server vouches that
    nothing was done. Raises ``BadSelection``.
    """
    old = letter.document
    given = {name: value for name, value in changes.items() if value is not None}
    new = {name: given.get(name, old.get(name)) for name in ("version", "action", "data")}
    if missing := [name for name, value in new.items() if value is None]:
        raise BadSelection(f"The letter does not tell its {', '.join(missing)}: give it, too.")
    if not given or all(old.get(name) == value for name, value in given.items()):
        raise BadSelection("Nothing is changed: replay it, or give other data.")
    data = new["data"] if isinstance(new["data"], dict) else {}
    new["data"] = {name: value for name, value in data.items() if name != TOKEN_FIELD}
    return new | _names(letter)


def _names(letter: Letter) -> dict[str, Any]:
    suffix = f"~{letter.summary.replays}" if letter.summary.error in OUTCOMES else ""
    if letter.key is not None:
        return {"id": str(uuid.uuid4()), "idempotency_key": letter.key + suffix}
    own = letter.id or letter.properties.message_id or str(uuid.uuid4())
    return {"id": own + suffix, "idempotency_key": None}
