"""The RPC client: one request out, one reply back, matched by its correlation id.

A request is a message to ``api.requests`` with ``reply_to`` and ``correlation_id``; a reply is a
message in a queue of the client's own. Notebook 02 writes the same by hand.
"""

import asyncio
import math
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from labkit.client.backoff import Pauses
from labkit.client.caller import ConnectedCaller, Reply, encoded, traces_of
from labkit.client.channel import Confirmation, Link, OnConfirmation, address
from labkit.client.errors import QueueFull, ReplyTimeout, Unroutable
from labkit.client.moments import Moment, Observer
from labkit.errors import BadArgument, BrokerAway
from server.contract import brokers
from server.contract.connection import is_ours
from server.contract.envelope import LONGEST_ID
from server.contract.errors import Expired, Forbidden, InProgress, RateLimited, Unauthorized
from server.contract.headers import DEADLINE, SENT_AT

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds up to which it waits before the first attempt to reconnect, and before a later one."""

RESEND_PAUSE = 0.5
"""Seconds until a request is sent again of which only the newest copy was refused."""

ELECTION, ELECTION_PAUSE = 5.0, 0.1
"""Seconds for which a refused request is sent again to a cluster, and from one time to the next.
The broker does not say why it refuses, and a queue whose leader has died takes nothing until the
others have elected a new one. What is full for so long is full."""

OF_THIS_COPY = {kind.code for kind in (InProgress, RateLimited, Expired, Unauthorized, Forbidden)}
"""What such a refusal says is true of one copy of a request, and proves nothing of the others."""

LARGEST_BODY = 16 * 1024 * 1024 - 1
"""Bytes. Of a larger message RabbitMQ closes the channel, from 4.0 on."""


@dataclass
class Pending:
    """A call that waits for its reply, with what it takes to send the request again."""

    id: str
    body: bytes = field(repr=False)  # it holds the API key
    deadline: int
    """Milliseconds since 1970, as the server reads it."""
    sent_at: int
    """The same: when it was first sent."""
    reply: "asyncio.Future[Reply]" = field(default_factory=asyncio.Future)
    sent: int = 0
    """How many copies of the request the broker may have taken."""
    refused_since: float = math.inf
    """When it was refused first, by ``time.monotonic()``."""

    def fail(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class AsyncAPIClient(ConnectedCaller):
    """Calls the Library API over RabbitMQ; any number of calls may be in flight at a time.

    A lost connection is opened again, and every request that still waits is sent again with the
    same id, by which the server knows it. A call ends in data, in a definite error, or in one that
    says that the outcome is unknown (``is_definite`` is False): that is ``ReplyTimeout``, or what
    the server answers when it does not know either, ``unavailable``, ``internal``, ``in_progress``.

    Where the URL names the brokers of a cluster, it goes on with the next of them; and a request
    that the broker refuses is sent again for some seconds, for its queue may elect a leader.
    """

    def __init__(
        self,
        amqp_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 10.0,
        tracer: "Tracer | None" = None,
    ) -> None:
        """``timeout`` is the deadline of a call in seconds, unless the call gives its own. With an
        OpenTelemetry ``tracer`` each call is a span, in which the server's go on.

        Raises ``ValueError`` for what is no AMQP URL.
        """
        if not str(amqp_url).startswith(("amqp://", "amqps://")):
            raise BadArgument("amqp_url has to begin with amqp://: the lab's is in .lab/lab.env.")
        super().__init__(timeout)
        self.url = amqp_url
        """Where it connects to, from the next ``connect()`` on."""
        self._api_key = api_key
        self.refused = 0
        """How often the broker refused a request."""
        self._pending: dict[str, Pending] = {}
        self._link: Link | None = None
        self._keeper: asyncio.Task[None]
        self._closing: asyncio.Event
        self._pauses = Pauses(FIRST_PAUSE, LONGEST_PAUSE)
        self.observers: list[Observer] = []
        """Each is called with every moment of a call, and the request's id."""
        self._traces = traces_of(tracer)

    async def _open(self) -> None:
        """Raises ``BrokerAway``."""
        try:
            self._link = await Link.open(self.url, self._on_reply)
        except Exception as error:  # aiormq raises all kinds
            raise BrokerAway(address(self.url), error) from error
        self._closing = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep_linked(self._link))

    async def _close(self) -> None:
        self._closing.set()
        await asyncio.wait([self._keeper])
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        for pending in self._pending.values():
            pending.fail(ReplyTimeout("The client was closed before the reply came."))

    def abandon(self) -> None:
        """Calls that still wait are cancelled: for who knows that no reply will ever come."""
        for pending in self._pending.values():
            pending.reply.cancel()

    async def request(
        self,
        action: str,
        data: dict[str, Any] | None = None,
        *,
        version: str = "v1",
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        request_id: str | None = None,
    ) -> Reply:
        """The whole reply, whether it says ok or error.

        Raises ``ReplyTimeout``; ``Unroutable`` or ``QueueFull`` at once if the broker does not
        take the request; ``NotConnected``, ``WrongLoop``; ``ValueError`` for what JSON or AMQP
        cannot carry.
        """
        self._require_open()
        seconds = self._seconds(timeout)
        request_id = request_id or str(uuid.uuid4())
        body = {
            "id": request_id,
            "version": version,
            "action": action,
            "data": data or {},
            "auth": self._api_key,
            "idempotency_key": idempotency_key,
        }
        now = time.time()
        deadline, sent_at = round((now + seconds) * 1000), int(now * 1000)
        pending = Pending(request_id, encoded(body), deadline, sent_at)
        _require_sendable(pending)
        if pending.id in self._pending:
            raise BadArgument(f"A request with the id {pending.id!r} is in flight already.")
        if self._traces is None:
            return await self._reply_to(pending, action, seconds)
        return await self._traces.call(
            action, pending.id, lambda _: self._reply_to(pending, action, seconds)
        )

    async def _reply_to(self, pending: Pending, action: str, seconds: float) -> Reply:
        self._pending[pending.id] = pending  # before publishing: the reply may be very quick
        self._note(Moment.ASKED, pending.id)
        try:
            self._send(pending)
            async with asyncio.timeout(seconds):
                return await pending.reply
        except TimeoutError:
            self._note(Moment.GAVE_UP, pending.id)
            raise ReplyTimeout(
                f"No reply to {action} within {seconds:g} s. It may have been applied, or may yet "
                "be: ask again with the same idempotency key, which doubles nothing."
            ) from None
        finally:
            del self._pending[pending.id]

    def _send(self, pending: Pending) -> None:
        """Publish without waiting for the confirm: the reply is the better one."""
        if self._link is not None and not pending.reply.done():
            pending.sent += 1
            self._note(Moment.SENT, pending.id)
            on_outcome: OnConfirmation = partial(self._on_outcome, pending)
            headers: dict[str, Any] = {DEADLINE: pending.deadline, SENT_AT: pending.sent_at}
            if self._traces is not None:
                traced, on_outcome = self._traces.sent(pending.id, on_outcome)
                headers |= traced
            self._link.publish(pending.body, pending.id, headers, on_outcome)

    def _on_outcome(self, pending: Pending, outcome: Confirmation) -> None:
        match outcome:
            case Confirmation.ACCEPTED:
                self._note(Moment.ACCEPTED, pending.id)
            case Confirmation.RETURNED:
                self._note(Moment.RETURNED, pending.id)
                self._refuse(pending, Unroutable())
            case Confirmation.REFUSED:
                self.refused += 1
                self._note(Moment.REFUSED, pending.id)
                self._refuse(pending, QueueFull())

    def _refuse(self, pending: Pending, error: Exception) -> None:
        pending.sent -= 1
        if pending.sent:  # what became of the copy before is not known: only a reply can tell
            self._ask_again(RESEND_PAUSE, pending)
        elif isinstance(error, QueueFull) and self._may_be_electing(pending):
            self._ask_again(ELECTION_PAUSE, pending)
        else:
            pending.fail(error)

    def _may_be_electing(self, pending: Pending) -> bool:
        now = time.monotonic()
        pending.refused_since = min(pending.refused_since, now)
        return brokers.are_several(self.url) and now - pending.refused_since < ELECTION

    def _ask_again(self, seconds: float, pending: Pending) -> None:
        """RabbitMQ 3.10 refuses a channel for ever that has first asked while there was no leader,
        so a link that was never let in is replaced; what waits is sent over the new one.
        """
        to_cluster = brokers.are_several(self.url)
        if to_cluster and self._link is not None and not self._link.taken:
            self._link.lose()
        else:
            self._send_after(seconds, pending)

    def _note(self, moment: Moment, request_id: str) -> None:
        for observer in self.observers:
            observer(moment, request_id)

    def _send_after(self, seconds: float, pending: Pending) -> None:
        asyncio.get_running_loop().call_later(seconds, self._send, pending)

    def _on_reply(
        self, correlation_id: str | None, body: bytes, replayed: bool, parked: bool
    ) -> None:
        """Wakes the call that waits. Late replies are dropped: their call has ended already."""
        pending = self._pending.get(correlation_id or "")
        if pending is None or pending.reply.done():
            self._note(Moment.CAME_LATE, correlation_id or "")
            return
        try:
            reply = Reply(**from_json(body), replayed=replayed, parked=parked, body=body)
        except (ValueError, TypeError) as error:
            pending.fail(ReplyTimeout(f"The reply cannot be read ({error}): outcome unknown."))
            return
        if reply.error is not None and reply.error["code"] in OF_THIS_COPY and pending.sent > 1:
            # Our first copy may be in progress, or done: its reply went where we no longer are.
            self._send_after(RESEND_PAUSE, pending)
        else:
            pending.reply.set_result(reply)

    async def _keep_linked(self, link: Link) -> None:
        opened_at = time.monotonic()
        while not await self._is_closed_before(link.lost):
            # One that was lost as soon as it was open may be lost again: not at once.
            if time.monotonic() - opened_at > LONGEST_PAUSE:
                self._pauses.begin_again()
            self._link = None
            with suppress(Exception):  # it is broken: there are many ways to say so
                await link.close()
            opened = self._link = await self._link_again()
            if opened is None:
                return
            link, opened_at = opened, time.monotonic()
            for pending in list(self._pending.values()):
                self._send(pending)

    async def _is_closed_before(self, lost: asyncio.Event) -> bool:
        waits = [asyncio.create_task(event.wait()) for event in (lost, self._closing)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self._closing.is_set()

    async def _link_again(self) -> Link | None:
        """A new link after a pause; None if the client is closed first.

        An attempt to connect is never cancelled: aiormq would leave its socket open.
        """
        while not await self._is_closed_within(self._pauses.next()):
            try:
                return await Link.open(self.url, self._on_reply)
            except asyncio.CancelledError:
                if is_ours():
                    raise
            except Exception:  # noqa: S110  (aiormq raises all kinds when a connection breaks early)
                pass
        return None

    async def _is_closed_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return self._closing.is_set()


def _require_sendable(pending: Pending) -> None:
    """Raises ``ValueError``: what cannot be sent would only break the connection."""
    if len(pending.id.encode()) > LONGEST_ID:
        raise BadArgument(f"The request's id has more than {LONGEST_ID} bytes: take a shorter one.")
    if len(pending.body) > LARGEST_BODY:
        raise BadArgument(f"The request has more than {LARGEST_BODY:,} bytes: send less at a time.")
