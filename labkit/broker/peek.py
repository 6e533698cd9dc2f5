"""A look at the first messages of a queue: what is in it, and in which order, stays as it was."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from aio_pika import IncomingMessage
from aiormq.abc import DeliveredMessage

from labkit.broker import quorum
from labkit.broker.held import Held, connected, holding
from labkit.broker.management import Broker
from labkit.errors import BadSelection, CannotLook, NoSuchQueue
from labkit.services import Console
from labkit.ui.printable import printable
from server.contract.headers import ATTEMPT, REASON
from server.contract.redaction import presentable

MOST = 1000
"""Messages of one look. It is one at the first of them; all of them are read by consuming."""
BATCH = 100
"""Messages that are borrowed at a time, beyond those that were asked for."""
WIDTH = 80
"""Characters of a body, and of anything else that its sender has written."""
GIVING_BACK_IS_FREE = (4, 3)
"""The RabbitMQ from which on a quorum queue does not count a message that is given back."""

COLUMNS = [
    *("redelivered", "message_id", "correlation_id", "reply_to"),
    *("attempt", "reason", "size", "body"),
]


async def messages(
    broker: Broker, vhost: str, amqp_url: str, console: Console | None, queue: str, count: int
) -> list[IncomingMessage]:
    """The first ``count`` of those that are ready, fewer if there are no more.

    A classic queue lends them for a moment, to a consumer of ours: afterwards they are where they
    were, ``redelivered``. A quorum queue counts how often it lent a message, and one time too many
    makes it a dead letter. So its leader is asked, through ``console``, and nothing is taken;
    without, from RabbitMQ 4.3 on, the messages are given back in the way that does not count,
    unless we are killed meanwhile.

    Raises ``NoSuchQueue``, ``BadSelection``, ``QueueInUse``, ``BrokerAway``; and ``CannotLook``
    where looking would change something.
    """
    if not 0 <= count <= MOST:
        raise BadSelection(f"{count} messages? Give a number from 0 to {MOST}.")
    there = await _there(broker, vhost, queue)
    is_quorum = there["type"] == "quorum"
    counts = is_quorum and await broker.version() < GIVING_BACK_IS_FREE
    if is_quorum and console is not None:
        found = await quorum.first(console, vhost, queue, count, returns_count=counts)
    else:
        _refuse_to_borrow(there, counts)
        found = await _borrowed(amqp_url, queue, count, with_returned=is_quorum)
    return [IncomingMessage(message, no_ack=True) for message in found]


async def _there(broker: Broker, vhost: str, queue: str) -> dict[str, Any]:
    """What the broker says of this queue."""
    queues = {each["name"]: each for each in await broker.queues(vhost)}
    if queue not in queues:
        names = ", ".join(sorted(queues)) or "none"
        raise NoSuchQueue(f"There is no queue {queue!r} in {vhost}; there is: {names}.")
    kind = queues[queue]["type"]
    if kind not in ("classic", "quorum"):
        raise CannotLook(queue, f"a {kind} is read from an offset, and keeps what was read.")
    return queues[queue]


def _refuse_to_borrow(there: dict[str, Any], counts: bool) -> None:
    arguments = there["arguments"]
    if counts:
        raise CannotLook(there["name"], _COUNTS)
    if there["exclusive"]:
        raise CannotLook(there["name"], "only the connection that declared it may read it.")
    if arguments.get("x-single-active-consumer"):
        raise CannotLook(there["name"], "it serves one consumer, and we would wait for our turn.")
    if arguments.get("x-delivery-limit") == NO_LIMIT or DELAYED in arguments:
        raise CannotLook(there["name"], "what is given back goes to its end, or waits.")


NO_LIMIT, DELAYED = -1, "x-delayed-retry-type"
_COUNTS = (
    "this broker is not one of this machine's labs, and its quorum queues count a look as a "
    "delivery; one too many makes a message a dead letter. Where the broker runs: "
    "rabbitmq-queues peek QUEUE POSITION"
)


async def _borrowed(
    amqp_url: str, queue: str, count: int, *, with_returned: bool
) -> list[DeliveredMessage]:
    async with connected(amqp_url) as connection, holding(connection, queue) as held:
        taken = await held.take(count)
        if with_returned:
            taken += await _returned_behind(held, taken)
        await held.give_back(taken)
        return taken[:count]


async def _returned_behind(held: Held, taken: list[DeliveredMessage]) -> list[DeliveredMessage]:
    """Those behind the first ones that came back before: a quorum queue puts what comes back behind
    these. When all of them are given back, in their order, all are where they were.
    """
    found: list[DeliveredMessage] = []
    while taken and taken[-1].redelivered and (taken := await held.take(BATCH)):
        found += taken
    return found


def table(found: Sequence[IncomingMessage]) -> pd.DataFrame:
    """One row for each message, by its position, from 1; without any key that is in a body."""
    rows = [_row(message) for message in found]
    positions = pd.RangeIndex(1, len(rows) + 1, name="position")
    return pd.DataFrame(rows, index=positions, columns=COLUMNS)


def _row(message: IncomingMessage) -> tuple[Any, ...]:
    return (
        bool(message.redelivered),
        _plain(message.message_id),
        _plain(message.correlation_id),
        _plain(message.reply_to),
        _plain(message.headers.get(ATTEMPT)),
        _plain(_reason(message)),
        message.body_size,
        _body(message),
    )


def _reason(message: IncomingMessage) -> Any:
    """Why the server, or else the broker, has set it aside."""
    if (said := message.headers.get(REASON)) is not None:
        return said
    deaths = message.headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return last.get("reason") if isinstance(last, dict) else None


def _body(message: IncomingMessage) -> Any:
    """What of it is known to be no secret."""
    return _plain(presentable(message.body, message.content_type).decode())


def _plain(value: Any) -> Any:
    """A number as it is; anything else on one line, shortened, and safe to print."""
    if value is None or isinstance(value, int):
        return value
    shown = printable(str(value)[: WIDTH + 1])
    return shown if len(shown) <= WIDTH else f"{shown[: WIDTH - 1]}…"
