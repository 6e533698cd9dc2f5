"""The queues of the system. This is the only place where they are named or declared.

client ──► api.requests ──► worker ──► the client's reply queue
             ▲      │         │
             │      │         ├──► api.retry.<delay>   waits, then back to api.requests
             └──────┼─────────┤
                    │         └──► api.dlq   terminal: only an operator leads a message out of it
                    │
                    └──► api.dlq.raw ──► worker ──► api.dlq   what the broker itself gives up
                              │
                              └──► api.dlq.unreadable   what breaks whoever receives it
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed

from server.settings import Settings

REQUESTS = "api.requests"
DEAD_LETTERS = "api.dlq"
RAW_DEAD_LETTERS = "api.dlq.raw"
UNREADABLE = "api.dlq.unreadable"
RETRY_PREFIX = "api.retry."
RESERVED_PREFIX = "api."
"""Queues of ours. No client's ``reply_to`` may lead into one of them."""


@dataclass(frozen=True)
class Queue:
    """A durable queue on the default exchange, where a message's routing key is a queue's name."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    async def declare(self, channel: AbstractChannel) -> None:
        """Raises ``TopologyMismatch`` if a queue of this name was declared differently."""
        try:
            await channel.declare_queue(self.name, durable=True, arguments=dict(self.arguments))
        except ChannelPreconditionFailed as error:
            raise TopologyMismatch(self.name, str(error)) from error


class TopologyMismatch(Exception):
    """A queue exists with other arguments, which RabbitMQ never changes in place."""

    def __init__(self, name: str, broker_says: str) -> None:
        super().__init__(
            f"The queue {name} exists, but was declared with other arguments ({broker_says}). "
            f"RabbitMQ keeps the arguments that a queue was created with. Let the workers empty "
            f"{name}, delete it (management page → Queues → {name} → Delete), and start again; "
            f"or start the server with the settings that it was created with."
        )


def _safe_dead_lettering(to: str) -> dict[str, Any]:
    """Dead-letter ``at-least-once``: the broker keeps a message until ``to`` has confirmed it.

    It needs a quorum queue and ``reject-publish``; with anything else RabbitMQ silently falls
    back to at-most-once (https://www.rabbitmq.com/docs/quorum-queues#dead-lettering).
    """
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": to,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def requests(settings: Settings) -> Queue:
    return Queue(
        REQUESTS,
        _safe_dead_lettering(RAW_DEAD_LETTERS)
        | {
            "x-max-length": settings.max_queue_length,
            "x-delivery-limit": settings.delivery_limit,
        },
    )


def retry(delay: float, settings: Settings) -> Queue:
    """The waiting room for one delay, in seconds. It has no consumer: its messages expire.

    One for each delay, because only the message at the head of a queue expires. All together hold
    as many as ``api.requests`` does: when they are full, the workers wait, the queue of requests
    fills up, and the broker refuses more.

    Requests wait here as they came, with their key: the server has to authenticate them again.
    They stay for the delay only, and no user but the server's and the lab's may read the queue.
    """
    milliseconds = round(delay * 1000)
    return Queue(
        f"{RETRY_PREFIX}{milliseconds}ms",
        _safe_dead_lettering(REQUESTS)
        | {
            "x-message-ttl": milliseconds,
            "x-max-length": math.ceil(settings.max_queue_length / len(settings.retry_delays)),
        },
    )


def dead_letters() -> Queue:
    """Classic, so that looking into it neither counts as a delivery nor changes the order."""
    return Queue(DEAD_LETTERS)


def raw_dead_letters(settings: Settings) -> Queue:
    """What the broker dead-letters. A worker takes it from here to ``api.dlq``, and redacts it.

    Its limit leaves room for a worker that finds out what it can do without dying.
    """
    limit = settings.delivery_limit + 15
    return Queue(RAW_DEAD_LETTERS, _safe_dead_lettering(UNREADABLE) | {"x-delivery-limit": limit})


def unreadable() -> Queue:
    """Messages that no worker can even receive: properties that are no valid AMQP, for one.

    They are as they came, so nobody but the lab's own user may read this queue.
    """
    return Queue(UNREADABLE)


def topology(settings: Settings) -> list[Queue]:
    """All queues, each after the queue it dead-letters to."""
    delays = dict.fromkeys(settings.retry_delays)
    always = [dead_letters(), unreadable(), raw_dead_letters(settings), requests(settings)]
    return [*always, *(retry(delay, settings) for delay in delays)]


async def declare(channel: AbstractChannel, settings: Settings) -> None:
    for queue in topology(settings):
        await queue.declare(channel)
