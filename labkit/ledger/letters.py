"""The dead letters of a lab, as far as the ledger needs them."""

import asyncio
from typing import TYPE_CHECKING, Any

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from pydantic_core import from_json

from labkit.ledger.evidence import DeadLetter
from server.contract.connection import connect
from server.contract.headers import ASKED_AS, FAILURES, REASON
from server.contract.topology import DEAD_LETTERS

if TYPE_CHECKING:
    from labkit.lab import Lab


async def letters(lab: "Lab") -> list[DeadLetter]:
    """What is in the dead letter queue, which is left as it was: closing gives everything back."""
    found: list[DeadLetter] = []
    async with await connect(lab.amqp_url) as connection:
        channel = await connection.channel()
        try:
            queue = await channel.declare_queue(DEAD_LETTERS, passive=True)
        except ChannelNotFoundEntity:
            return found  # no worker was ever started
        count = queue.declaration_result.message_count or 0
        complete = asyncio.Event()

        async def look(message: AbstractIncomingMessage) -> None:
            found.append(_letter(message))
            if len(found) >= count:
                complete.set()

        if count:
            await queue.consume(look)
            await asyncio.wait_for(complete.wait(), 60)
            await channel.close()
    return found


def _letter(message: AbstractIncomingMessage) -> DeadLetter:
    failures = message.headers.get(FAILURES)
    attempts = [f["attempt"] for f in _tables(failures) if isinstance(f.get("attempt"), int)]
    reason = str(message.headers.get(REASON, "unknown"))
    asked_as = str(message.headers.get(ASKED_AS) or message.correlation_id or "")
    return DeadLetter(_id(message), reason, max(attempts, default=0), asked_as)


def _tables(failures: Any) -> list[dict[str, Any]]:
    return [f for f in failures if isinstance(f, dict)] if isinstance(failures, list) else []


def _id(message: AbstractIncomingMessage) -> str:
    """The request's, or AMQP's own, which our client makes the same."""
    try:
        document = from_json(message.body)  # unlike json, it has a limit for how deep a body may be
        return str(document["id"])
    except (ValueError, TypeError, KeyError):
        return message.correlation_id or ""
