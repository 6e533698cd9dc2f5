"""A look at the first messages of a queue: what is in it, and in which order, stays as it was.

AMQP cannot look: a message is consumed, and given back. A classic queue does not mind. A quorum
queue counts every delivery, and one beyond the limit makes the message a dead letter. So there we
look as the broker's own tool does, ``rabbitmq-queues peek``
(https://www.rabbitmq.com/docs/man/rabbitmq-queues.8), which shows 64 bytes of a body.
"""

from typing import Any

import pandas as pd
from aio_pika import IncomingMessage
from pamqp.constants import DOMAIN_REGEX

from labkit.broker import quorum_peek
from labkit.broker.held import connected, holding
from labkit.broker.management import Broker
from labkit.errors import BadSelection, CannotLook, NoSuchQueue
from labkit.services.broker_tools import BrokerTools
from labkit.ui.printable import printable
from server.contract.headers import ATTEMPT, REASON
from server.contract.redaction import presentable

MOST = 1000
"""Messages of one look at a classic queue: all of them are held at a time."""
MOST_IN_QUORUM_QUEUES = 100
"""Messages of one look at a quorum queue: for each, those before it are counted once more."""
WIDTH = 80
"""Characters of a body, and of anything else that its sender has written."""
DTYPES = {
    "redelivered": "bool",
    "message_id": "object",
    "correlation_id": "object",
    "reply_to": "object",
    "attempt": "object",
    "reason": "object",
    "size": "Int64",
    "body": "object",
}
"""Column → dtype; ``size`` is in bytes, missing where the broker does not say it."""


async def look(
    broker: Broker, vhost: str, amqp_url: str, tools: BrokerTools | None, queue: str, count: int
) -> pd.DataFrame:
    """One row for each of the first ``count`` messages that are ready, by its position from 1; see
    ``DTYPES``. No key that is in a body is shown.

    A message in a classic queue is ``redelivered`` from then on, in a quorum queue nothing changes.

    Raises ``NoSuchQueue``, ``BadSelection``, ``QueueInUse``, ``BrokerAway``; and ``CannotLook``
    where looking would change something.
    """
    there = await _there(broker, vhost, queue)
    most = MOST if there["type"] == "classic" else MOST_IN_QUORUM_QUEUES
    if not 0 <= count <= most:
        raise BadSelection(f"{count} messages? Give a number from 0 to {most}.")
    if there["type"] == "quorum":
        if tools is None:
            raise CannotLook(queue, _NO_TOOLS)
        found = await quorum_peek.first(tools, vhost, queue, count, NAMES)
        return _table([_of_tool(shown) for shown in found])
    _refuse_to_borrow(there)
    return _table([_of_message(message) for message in await _borrowed(amqp_url, queue, count)])


_NO_TOOLS = (
    "a quorum queue counts a look as a delivery, and one too many makes a message a dead letter. "
    "Where this broker runs, look with: rabbitmq-queues peek QUEUE POSITION"
)


async def _there(broker: Broker, vhost: str, queue: str) -> dict[str, Any]:
    """What the broker says of this queue."""
    queues = {each["name"]: each for each in await broker.queues_last_reported(vhost)}
    if queue not in queues:
        names = ", ".join(sorted(queues)) or "none"
        raise NoSuchQueue(f"There is no queue {queue!r} in {vhost}. Its queues are: {names}.")
    kind = queues[queue]["type"]
    if kind not in ("classic", "quorum"):
        raise CannotLook(queue, f"a {kind} is read from an offset, and keeps what was read.")
    return queues[queue]


_NAME = DOMAIN_REGEX["queue-name"]
"""The names that pamqp takes; RabbitMQ has no such limit."""


def _refuse_to_borrow(there: dict[str, Any]) -> None:
    if not _NAME.fullmatch(there["name"]):
        raise CannotLook(there["name"], "the AMQP library takes no name with such characters.")
    if there["exclusive"]:
        raise CannotLook(there["name"], "only the connection that declared it may read it.")
    if there["arguments"].get("x-single-active-consumer"):
        raise CannotLook(there["name"], "it serves one consumer, and we would wait for our turn.")


async def _borrowed(amqp_url: str, queue: str, count: int) -> list[IncomingMessage]:
    async with connected(amqp_url) as connection, holding(connection, queue) as held:
        taken = await held.take(count)
        await held.give_back()
        return [IncomingMessage(message, no_ack=True) for message in taken]


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    positions = pd.RangeIndex(1, len(rows) + 1, name="position")
    return pd.DataFrame(rows, index=positions, columns=list(DTYPES)).astype(DTYPES)


def _of_message(message: IncomingMessage) -> dict[str, Any]:
    deaths = message.headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return _row(
        redelivered=bool(message.redelivered),
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        attempt=message.headers.get(ATTEMPT),
        reason=message.headers.get(REASON, last.get("reason") if isinstance(last, dict) else None),
        size=message.body_size,
        body=presentable(message.body, message.content_type).decode(),
    )


NAMES = (
    *quorum_peek.COUNTS,
    *("message_id", "correlation_id", "reply_to"),
    *(f"header.{ATTEMPT}", f"header.{REASON}"),
    quorum_peek.BODY,
)
"""What the tool calls that which is shown."""


def _of_tool(shown: quorum_peek.Shown) -> dict[str, Any]:
    def of(name: str) -> Any:
        return quorum_peek.text(shown.get(name))

    return _row(
        redelivered=any(of(count) for count in quorum_peek.COUNTS),
        message_id=of("message_id"),
        correlation_id=of("correlation_id"),
        reply_to=of("reply_to"),
        attempt=of(f"header.{ATTEMPT}"),
        reason=of(f"header.{REASON}"),
        size=None,
        body=quorum_peek.beginning(shown.get(quorum_peek.BODY)),
    )


def _row(**values: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """A number as it is; anything else on one line, shortened, and safe to print."""
    if value is None or isinstance(value, int):
        return value
    shown = printable(str(value)[: WIDTH + 1])
    return shown if len(shown) <= WIDTH else f"{shown[: WIDTH - 1]}…"
