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
from server.contract.connection import connect
from server.contract.headers import ATTEMPT, EDITED_FROM, REPLAYED, REPLAYS
from server.contract.topology import DEAD_LETTERS, REQUESTS

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
    replays: int = 0
    """Of a request: how often it was sent again out of the dead letter queue."""
    edited_from: str = ""

    @property
    def published(self) -> bool:
        return self.what == "published"

    def enters(self, queue: str) -> bool:
        return self.published and self.queue == queue

    @property
    def is_reply(self) -> bool:
        return bool(self.status) and self.queue not in (REQUESTS, DEAD_LETTERS)

    @property
    def kind_of_request(self) -> str:
        """``request``, or what an operator made of a dead letter."""
        replay = f"replay {self.replays}" if self.replays else "request"
        return f"{replay}, edited from {self.edited_from}" if self.edited_from else replay

    @property
    def kind_of_reply(self) -> str:
        return f"reply: {self.status}" + (", replayed" if self.replayed else "")


class Firehose:
    """``seen`` grows while it is open."""

    def __init__(self, broker: Broker, vhost: str, amqp_url: str) -> None:
        self._broker, self._vhost, self._url = broker, vhost, amqp_url
        self.seen: list[Seen] = []
        self._sent_as: dict[str, str] = {}
        """Correlation id → the request's own id, where they differ."""
        self._connection: aio_pika.abc.AbstractConnection

    async def open(self) -> None:
        """Raises ``BrokerAway``."""
        self._connection = await connect(self._url)
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
        request_id = self._request_id(document, str(properties.get("correlation_id") or ""))
        error = document.get("error")
        status = error["code"] if isinstance(error, dict) else document.get("status", "")
        own = properties.get("headers")
        own = own if isinstance(own, dict) else {}
        self.seen.append(
            Seen(
                time.time(),
                "published" if what == "publish" else "delivered",
                queue,
                request_id,
                attempt=_number(own.get(ATTEMPT)) or 1,
                redelivered=bool(headers.get("redelivered")),
                status=str(status),
                replayed=bool(own.get(REPLAYED)),
                replays=_number(own.get(REPLAYS)),
                edited_from=str(own.get(EDITED_FROM) or ""),
            )
        )

    def _request_id(self, document: Mapping[str, Any], correlation_id: str) -> str:
        """A letter that is sent again has a correlation id of its own, and its reply has that."""
        if (own := document.get("id")) is None:
            return self._sent_as.get(correlation_id, correlation_id)
        if correlation_id != own:
            self._sent_as[correlation_id] = str(own)
        return str(own)


def _number(header: object) -> int:
    """A client may write what it likes into a header."""
    return header if isinstance(header, int) else 0


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
