"""The queues of the system. This is the only place where they are named or declared.

client ──► api.requests ──► worker ──► the client's reply queue
             ▲      │         │
             │      │         ├──► api.retry.<delay>   waits, then back to api.requests
             └──────┼─────────┤
                    │         └──► api.dlq   terminal: only an operator leads a message out of it
                    │
                    └──► api.dlq.raw ──► worker ──► api.dlq   what the broker itself gives up
                              │                        │
                              └────────────────────────┴──► api.dlq.unreadable   set aside
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed

from server.contract.limits import Limits

REQUESTS = "api.requests"
DEAD_LETTERS = "api.dlq"
RAW_DEAD_LETTERS = "api.dlq.raw"
SET_ASIDE = "api.dlq.unreadable"
RETRY_PREFIX = "api.retry."
EXPIRED = "api.dlq.expired"
"""Never declared; see ``unreadable``."""
RESERVED_PREFIX = "api."
"""Queues of ours. No client's ``reply_to`` may lead into one of them."""

UNLIMITED = 2**31 - 1
"""As a delivery limit: any number of looks, on every RabbitMQ (from 4.0 none means 20)."""


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
            f"RabbitMQ keeps the arguments that a queue was created with. {_how_to_empty(name)}, "
            f"delete it (management page → Queues → {name} → Delete), and start again; "
            "or start the server with the settings that it was created with. A lab whose data you "
            "do not need starts from nothing: `make down`, delete .lab, `make up`."
        )


def _how_to_empty(name: str) -> str:
    if name == DEAD_LETTERS:
        return (
            "Move its letters into a file (`python -m labkit dead-letters archive FILE`; "
            "`restore FILE` puts them back afterwards)"
        )
    return f"Let the workers empty {name}"


def _dead_lettering(to: str) -> dict[str, Any]:
    """A full queue refuses, and what expires goes ``to`` another one. A policy cannot change it."""
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": to,
        "x-overflow": "reject-publish",
    }


def _safe_dead_lettering(to: str) -> dict[str, Any]:
    """Dead-letter ``at-least-once``: the broker keeps a message until ``to`` has confirmed it.

    It needs a quorum queue and ``reject-publish``; with anything else RabbitMQ silently falls
    back to at-most-once (https://www.rabbitmq.com/docs/quorum-queues#dead-lettering).
    """
    return _dead_lettering(to) | {
        "x-queue-type": "quorum",
        "x-dead-letter-strategy": "at-least-once",
    }


def requests(limits: Limits) -> Queue:
    return Queue(
        REQUESTS,
        _safe_dead_lettering(RAW_DEAD_LETTERS)
        | {
            "x-max-length": limits.max_queue_length,
            "x-delivery-limit": limits.delivery_limit,
        },
    )


def retry(delay: float, limits: Limits) -> Queue:
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
            "x-max-length": math.ceil(limits.max_queue_length / len(limits.retry_delays)),
        },
    )


def dead_letters(limits: Limits) -> Queue:
    """Classic, so that looking into it neither counts as a delivery nor changes the order: a quorum
    queue takes back what a client held in an order of its own. What is in it has to be published
    persistent.

    No policy takes a letter away. One that limits the queue makes it refuse, and the worker holds
    the request; what expires by one is set aside. (``expires`` deletes the queue: that no argument
    prevents.)

    A classic queue is away while its node is. So that of a cluster can be a quorum queue, which
    counts a look as a delivery, and to which an operator has to give letters back in their order.
    """
    if limits.clustered:
        arguments = _safe_dead_lettering(SET_ASIDE) | {"x-delivery-limit": UNLIMITED}
        return Queue(DEAD_LETTERS, arguments)
    return Queue(DEAD_LETTERS, _dead_lettering(SET_ASIDE))


def raw_dead_letters(limits: Limits) -> Queue:
    """What the broker dead-letters. A worker takes it from here to ``api.dlq``, and redacts it.

    What kills the worker here, too, ends in ``unreadable``. From RabbitMQ 4.3 on the deliveries in
    ``requests`` count as well, so its limit is twice as high.
    """
    limit = 2 * limits.delivery_limit
    return Queue(RAW_DEAD_LETTERS, _safe_dead_lettering(SET_ASIDE) | {"x-delivery-limit": limit})


def unreadable() -> Queue:
    """What is set aside: messages that no worker can even receive, and letters that an operator, or
    a policy, has moved out of ``api.dlq``.

    They are as they came, so only the lab's own user may look at them. What expires here,
    too, the broker holds in this queue, since there is no ``EXPIRED`` to lead it to; an operator
    who declares that queue gets it, within three minutes.
    """
    return Queue(SET_ASIDE, _safe_dead_lettering(EXPIRED) | {"x-delivery-limit": UNLIMITED})


def topology(limits: Limits) -> list[Queue]:
    """All queues, each after the queue it dead-letters to."""
    delays = dict.fromkeys(limits.retry_delays)
    always = [unreadable(), dead_letters(limits), raw_dead_letters(limits), requests(limits)]
    return [*always, *(retry(delay, limits) for delay in delays)]


async def declare(channel: AbstractChannel, limits: Limits) -> None:
    for queue in topology(limits):
        await queue.declare(channel)
