"""One delivery of a request, from the moment it is received to its acknowledgement.

    receive ──► execute ──► reply ──► ack           the request has its answer
                   │
                   ├──► api.retry.<delay> ──► ack    it may succeed later
                   └──► reply, api.dlq ──► ack       it cannot be worked on: people have to look

The acknowledgement is always last. Whatever dies before it, the broker delivers the request again,
and ``once()`` knows whether it was applied.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from aio_pika import DeliveryMode

from server.application.dispatcher import Dispatcher
from server.application.handlers import VERSIONS
from server.application.hooks import Observer, no_observer
from server.application.keyed_locks import TooManyWaiting
from server.contract.envelope import JSON, Reply, Request
from server.contract.errors import (
    ApiError,
    Expired,
    InProgress,
    Internal,
    Malformed,
    TooLarge,
    Unavailable,
)
from server.contract.headers import PARKED, REPLAYED
from server.contract.lane import Delivered, Lane
from server.contract.log_events import REQUEST, RETRY_SCHEDULED
from server.contract.message_id import new_message_id
from server.contract.properties import Properties
from server.contract.steps import Step
from server.settings import Settings
from server.transports.amqp.dead_letters import DeadLetters
from server.transports.amqp.delivery import Delivery
from server.transports.amqp.direct_reply import ADDRESS as DIRECT
from server.transports.amqp.direct_reply import DirectReplies
from server.transports.amqp.retry import Retries

log = structlog.get_logger()


class DeliveryProcessor:
    """Answers deliveries. It owns nothing: channels and application are borrowed.

    ``replies`` is the lane of the channel that consumes. The broker works off one channel's frames
    in order, so on it a reply needs no confirm: if it is lost, so is the ack behind it, and the
    redelivered request is answered from the stored reply.

    ``direct`` is the way for replies whose address is no queue.

    ``retries`` and ``dead_letters`` wait for confirms. A request that leaves without a reply is
    stored nowhere else, so the broker has to hold the copy before the original is acknowledged.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        settings: Settings,
        replies: Lane,
        direct: DirectReplies,
        retries: Retries,
        dead_letters: DeadLetters,
        observe: Observer = no_observer,
    ) -> None:
        self._dispatcher = dispatcher
        self._settings = settings
        self._own_user = settings.amqp_user
        self._replies = replies
        self._direct = direct
        self._retries = retries
        self._dead_letters = dead_letters
        self._observe = observe

    def delivery(self, message: Delivered) -> Delivery:
        return Delivery(message, self._own_user)

    async def process(self, message: Delivered) -> None:
        """Raises what the publisher raises when the connection is lost: nothing can be acknowledged
        any more, and the broker delivers everything unacknowledged again by itself.
        """
        delivery = self.delivery(message)
        entry = LogEntry(message.correlation_id, delivery.attempt, sent_at=delivery.sent_at)
        await self._work(delivery, entry)
        log.info(REQUEST, **entry.finished())
        await self._acknowledge(message, entry)

    async def _acknowledge(self, message: Delivered, entry: "LogEntry") -> None:
        message.ack()
        await self._announce(Step.ACKED, entry.id)

    async def _announce(self, step: Step, request_id: str | None) -> None:
        """Of what was written to the broker: it is on its way when that is announced."""
        if self._observe is not no_observer:
            self._replies.flush()
            await self._observe(step, request_id)

    async def _work(self, delivery: Delivery, entry: "LogEntry") -> None:
        reply = await self._outcome(delivery, entry)
        if reply is None:
            return
        entry.outcome, entry.replayed = reply.outcome, reply.replayed
        await self._reply(delivery, reply, entry.id)
        await self._announce(Step.REPLIED, entry.id)

    async def _outcome(self, delivery: Delivery, entry: "LogEntry") -> Reply | None:
        """The reply; None if the request was set aside, and there is none yet."""
        try:
            return await self._execute(delivery, entry)
        except Malformed as error:
            entry.id = error.request_id or entry.id
            return await self._dead_letter(delivery, error)
        except (Unavailable, InProgress) as error:
            return await self._retry(delivery, error)
        except TooManyWaiting:
            await self._retries.postpone(delivery)  # no attempt: it has not been worked on
            return None
        except Exception:
            log.exception("unexpected_error", id=entry.id, action=entry.action)
            return await self._retry(delivery, Internal())

    async def _execute(self, delivery: Delivery, entry: "LogEntry") -> Reply:
        """Raises ``Malformed`` for what is no request, and ``Unavailable``, ``InProgress`` or
        ``TooManyWaiting`` for what has to be set aside.
        """
        await self._observe(Step.RECEIVED, delivery.asked_as)
        delivery.require_reply_to()
        try:
            delivery.require_time_left()
            request = delivery.request(self._settings.max_body)
        except (TooLarge, Expired) as refusal:
            return Reply.refusal(refusal)
        entry.know(request)
        await self._observe(Step.PARSED, request.id)
        try:
            return await self._dispatcher.execute(
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
        body = reply.to_bytes(request_id)
        properties = Properties(
            content_type=JSON,
            correlation_id=delivery.message.correlation_id or request_id,
            message_id=new_message_id(),
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
            headers={REPLAYED: True} if reply.replayed else {PARKED: True} if reply.parked else {},
        )
        if delivery.reply_to.startswith(DIRECT):
            self._direct.send(delivery.reply_to, properties, body)
            return
        # Not mandatory: a client that is gone needs no reply, and its reply is stored.
        self._replies.publish(delivery.reply_to, properties, body)

    async def _retry(self, delivery: Delivery, error: ApiError) -> Reply | None:
        """Schedule its next attempt: no reply yet. After the last one, dead-letter it."""
        if self._retries.are_used_up(delivery):
            return await self._dead_letter(delivery, error)
        await self._retries.schedule(delivery, error)
        return None

    async def _dead_letter(self, delivery: Delivery, error: ApiError) -> Reply:
        """Returns the refusal."""
        await self._dead_letters.add(delivery, error)
        return replace(Reply.refusal(error), parked=True)


@dataclass
class LogEntry:
    """One line of the log: what became of a request. ``ms`` is what it took up to its reply, and
    ``since_sent_ms`` what it took since its sender sent it, by the clocks of both, if they said.
    """

    id: str | None
    attempt: int
    action: str | None = None
    version: str | None = None
    outcome: str = RETRY_SCHEDULED
    replayed: bool = False
    sent_at: float | None = None
    started: float = field(default_factory=time.perf_counter)

    def know(self, request: Request) -> None:
        """Only what the API knows: a secret in a wrong place is none of it."""
        self.id = request.id
        if request.action in VERSIONS.get(request.version, {}):
            self.action, self.version = request.action, request.version

    def finished(self) -> dict[str, Any]:
        line = dict(vars(self))
        line["ms"] = round((time.perf_counter() - line.pop("started")) * 1000, 1)
        if (sent_at := line.pop("sent_at")) is not None:
            line["since_sent_ms"] = round(time.time() * 1000 - sent_at, 1)
        return line
