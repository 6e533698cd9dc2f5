"""What the broker itself saw: its firehose copies every message that is published or delivered.

https://www.rabbitmq.com/docs/firehose. It is switched on for the lab's virtual host only, and costs
every message a copy: so it is on while a recording lasts, and never else.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from labkit.broker.management import Broker
from server.contract.headers import ATTEMPT, REPLAYED

EXCHANGE = "amq.rabbitmq.trace"


@dataclass(frozen=True)
class Seen:
    """One message, as it was ``published`` to, or ``delivered`` from, ``queue``."""

    at: float
    """Seconds since 1970, when the copy came; the order is the broker's."""
    what: str
    queue: str
    request_id: str
    attempt: int = 1
    redelivered: bool = False
    status: str = ""
    """Of a reply: ``ok``, or the error's code."""
    replayed: bool = False


class Firehose:
    """``seen`` grows while it is open."""

    def __init__(self, broker: Broker, vhost: str, amqp_url: str) -> None:
        self._broker, self._vhost, self._url = broker, vhost, amqp_url
        self.seen: list[Seen] = []
        self._connection: aio_pika.abc.AbstractConnection

    async def open(self) -> None:
        """Raises ``BrokerAway``."""
        self._connection = await aio_pika.connect(self._url)
        channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=1000)
        copies = await channel.declare_queue(exclusive=True)
        for key in ("publish.#", "deliver.#"):
            await copies.bind(EXCHANGE, key)
        await copies.consume(self._look, no_ack=True)
        await self._broker.trace(self._vhost, on=True)

    async def close(self) -> None:
        try:
            await self._broker.trace(self._vhost, on=False)
        finally:
            await self._connection.close()

    async def _look(self, copy: AbstractIncomingMessage) -> None:
        what, _, name = (copy.routing_key or "").partition(".")
        headers: Mapping[str, Any] = copy.headers
        queue = name if what == "deliver" else str((headers.get("routing_keys") or [""])[0])
        properties = headers.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        document = _document(copy.body)
        request_id = properties.get("correlation_id") or document.get("id") or ""
        error = document.get("error")
        status = error["code"] if isinstance(error, dict) else document.get("status", "")
        own = properties.get("headers")
        own = own if isinstance(own, dict) else {}
        self.seen.append(
            Seen(
                time.time(),
                "published" if what == "publish" else "delivered",
                queue,
                str(request_id),
                attempt=int(own.get(ATTEMPT) or 1),
                redelivered=bool(headers.get("redelivered")),
                status=str(status),
                replayed=bool(own.get(REPLAYED)),
            )
        )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
