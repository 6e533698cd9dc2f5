"""One delivery of a request, from the moment it is received to its acknowledgement.

    receive ──► execute ──► reply ──► ack           the request has its answer
                   │
                   ├──► api.retry.<delay> ──► ack    it may succeed later
                   └──► reply, api.dlq ──► ack       it cannot be worked on: people have to look

The acknowledgement is always last. Whatever dies before it, the broker delivers the request again,
and ``once()`` knows whether it was applied.
"""

import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from server.application import Application
from server.contract import JSON, PARKED, REPLAYED, Reply, Request
from server.delivery import Delivery
from server.direct_reply import ADDRESS as DIRECT
from server.direct_reply import DirectReplies
from server.errors import (
    ApiError,
    Expired,
    InProgress,
    Internal,
    Malformed,
    TooLarge,
    Unavailable,
)
from server.handlers import VERSIONS
from server.lines import Crowded
from server.parking import Parking
from server.settings import Settings
from server.steps import Observer, Step, nobody

log = structlog.get_logger()

SET_ASIDE = "tried again later"
"""The outcome of a request that has none yet: it comes again."""


class Consumer:
    """Answers deliveries. It owns nothing: channels and application are borrowed.

    ``replies`` is the channel that consumes. The broker works off one channel's frames in order,
    so on it a reply needs no confirm: if it is lost, so is the ack behind it, and the redelivered
    request is answered from the stored reply.

    ``direct`` is the way for replies whose address is no queue.

    ``parking`` waits for confirms. A request that is set aside has no stored reply, so the broker
    has to say that it has the copy before the original is acknowledged.
    """

    def __init__(
        self,
        application: Application,
        settings: Settings,
        replies: AbstractChannel,
        direct: DirectReplies,
        parking: Parking,
        observe: Observer = nobody,
    ) -> None:
        self._application = application
        self._settings = settings
        self._replies = replies
        self._direct = direct
        self._parking = parking
        self._observe = observe

    def delivery(self, message: AbstractIncomingMessage) -> Delivery:
        return Delivery(message, self._settings.amqp_user)

    async def process(self, message: AbstractIncomingMessage) -> None:
        """Raises whatever aio-pika raises when the connection is lost: nothing can be acknowledged
        any more, and the broker delivers everything unacknowledged again by itself.
        """
        delivery = self.delivery(message)
        record = Record(message.correlation_id, delivery.attempt)
        await self._work(delivery, record)
        log.info("request", **record.finished())
        await self._acknowledge(message, record)

    async def _acknowledge(self, message: AbstractIncomingMessage, record: "Record") -> None:
        await message.ack()
        await self._observe(Step.ACKED, record.id)

    async def _work(self, delivery: Delivery, record: "Record") -> None:
        reply = await self._outcome(delivery, record)
        if reply is None:
            return
        record.outcome, record.replayed = reply.outcome, reply.replayed
        await self._reply(delivery, reply, record.id)
        await self._observe(Step.REPLIED, record.id)

    async def _outcome(self, delivery: Delivery, record: "Record") -> Reply | None:
        """The reply; None if the request was set aside, and there is none yet."""
        try:
            return await self._execute(delivery, record)
        except Malformed as error:
            record.id = error.request_id or record.id
            return await self._park(delivery, error)
        except (Unavailable, InProgress) as error:
            return await self._again(delivery, error)
        except Crowded:
            await self._let_wait(delivery)
            return None
        except Exception:
            log.exception("unexpected_error", id=record.id, action=record.action)
            return await self._again(delivery, Internal())

    async def _execute(self, delivery: Delivery, record: "Record") -> Reply:
        """Raises ``Malformed`` for what is no request, and ``Unavailable``, ``InProgress`` or
        ``Crowded`` for what has to be set aside.
        """
        await self._observe(Step.RECEIVED, delivery.asked_as)
        delivery.require_reply_to()
        try:
            delivery.require_time_left()
            request = delivery.request(self._settings.max_body)
        except (TooLarge, Expired) as refusal:
            return Reply.refusal(refusal)
        record.know(request)
        await self._observe(Step.PARSED, request.id)
        try:
            return await self._application.execute(
                request,
                again=delivery.is_repeated,
                on_behalf_of=delivery.on_behalf_of,
                can_wait=time.time() - delivery.waiting_since < self._settings.lock_timeout,
            )
        except InProgress as refusal:
            if delivery.is_repeated:  # it may be the only copy that there is: keep it
                raise
            return Reply.refusal(refusal)

    async def _reply(self, delivery: Delivery, reply: Reply, request_id: str | None) -> None:
        if delivery.reply_to is None:
            return
        message = Message(
            reply.to_bytes(request_id),
            content_type=JSON,
            correlation_id=delivery.message.correlation_id or request_id,
            message_id=uuid.uuid4().hex,
            headers={REPLAYED: True} if reply.replayed else {PARKED: True} if reply.parked else {},
        )
        if delivery.reply_to.startswith(DIRECT):
            self._direct.send(message, delivery.reply_to)
            return
        # Not mandatory: a client that is gone needs no reply, and its reply is stored.
        await self._replies.default_exchange.publish(message, delivery.reply_to, mandatory=False)

    async def _again(self, delivery: Delivery, error: ApiError) -> Reply | None:
        """Set the request aside for its next attempt: no reply yet. After the last one, park it."""
        delays = self._settings.retry_delays
        if delivery.attempt > len(delays):
            return await self._park(delivery, error)
        await self._parking.try_again(delivery, error, delays[delivery.attempt - 1])
        return None

    async def _let_wait(self, delivery: Delivery) -> None:
        """Set the request aside until those before it are done, as a rule. It is no attempt."""
        await self._parking.let_wait(delivery, self._settings.retry_delays[0])

    async def _park(self, delivery: Delivery, error: ApiError) -> Reply:
        """Dead-letter the request. Returns the refusal."""
        await self._parking.park(delivery, error)
        return replace(Reply.refusal(error), parked=True)


@dataclass
class Record:
    """One line of the log: what became of a request. ``ms`` is what it took up to its reply."""

    id: str | None
    attempt: int
    action: str | None = None
    version: str | None = None
    outcome: str = SET_ASIDE
    replayed: bool = False
    started: float = field(default_factory=time.perf_counter)

    def know(self, request: Request) -> None:
        """Only what the API knows: a secret in a wrong place is none of it."""
        self.id = request.id
        if request.action in VERSIONS.get(request.version, {}):
            self.action, self.version = request.action, request.version

    def finished(self) -> dict[str, Any]:
        line = dict(vars(self))
        line["ms"] = round((time.perf_counter() - line.pop("started")) * 1000, 1)
        return line
