"""What AMQP says of one request, beside its body: properties and our own headers."""

import time
import uuid
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from aio_pika import DeliveryMode, Message

from server.contract import trace_context
from server.contract.envelope import JSON, Request, parse
from server.contract.errors import Expired, Malformed, TooLarge
from server.contract.headers import (
    ASKED_AS,
    ATTEMPT,
    CALLER,
    DEADLINE,
    FAILURES,
    ON_BEHALF_OF,
    REDELIVERED,
    REPLAYS,
    SENT_AT,
    SIGNED,
    TRACEPARENT,
    UNDECODABLE,
    WAITING_SINCE,
)
from server.contract.lane import Delivered
from server.contract.topology import RESERVED_PREFIX
from server.contract.vouching import is_vouched

UNKNOWN = "application/octet-stream"
"""What some libraries say when the program did not say."""

_NOT_CARRIED_OVER = ("CC", "BCC", "x-death", "x-delivery-count", "x-acquired-count", CALLER)
"""What the broker added, or would act on once more; and what only the server may say."""
_NOT_CARRIED_OVER_PREFIXES = ("x-first-death-", "x-last-death-")

LARGEST_HEADERS = 8 * 1024
"""Characters. A message's headers have to fit into one frame, and ours are added to them."""


class Failure(Protocol):
    """What a failed attempt leaves in ``FAILURES``."""

    @property
    def code(self) -> str: ...

    @property
    def summary(self) -> str: ...


class Delivery:
    """One delivery of a request. Reading it never fails; what it says may be refused.

    ``own_user`` is the broker's user that receives it.
    """

    def __init__(self, message: Delivered, own_user: str) -> None:
        self.message = message
        self.own_user = own_user
        self.is_vouched_for = is_vouched(message.user_id, own_user)
        """Whether the broker says that the server or the operator has sent it."""

    @property
    def headers(self) -> dict[str, Any]:
        """The headers that go along when the request is set aside: the plain ones, and those that
        are signed only if they are believed.

        AMQP tables can hold values that arrive, but cannot be written again.
        """
        writable = {
            name: value
            for name, value in self.message.headers.items()
            if isinstance(value, str | int)
            and name not in _NOT_CARRIED_OVER
            and not name.startswith(_NOT_CARRIED_OVER_PREFIXES)
        }
        ours = {name: writable.pop(name) for name in SIGNED if name in writable}
        plain = writable if len(str(writable)) <= LARGEST_HEADERS else {}
        return plain | ours if self.is_vouched_for else plain

    @property
    def sent_at(self) -> float | None:
        """Milliseconds since 1970; None if the sender did not say, or names what is to come."""
        said = self.message.headers.get(SENT_AT)
        now = time.time() * 1000
        return said if isinstance(said, int) and 0 < said <= now else None

    @property
    def traceparent(self) -> str | None:
        return trace_context.well_formed(self.message.headers.get(TRACEPARENT))

    def _signed(self, name: str) -> Any:
        """What a header says that only the server and the operator may write."""
        return self.message.headers.get(name) if self.is_vouched_for else None

    @property
    def asked_as(self) -> str | None:
        """By what its sender knows it, as far as that can be said without the body."""
        given = self._signed(ASKED_AS)
        return given if given and isinstance(given, str) else self.message.correlation_id

    @property
    def attempt(self) -> int:
        given = self._signed(ATTEMPT)
        return given if isinstance(given, int) and given > 0 else 1

    @property
    def is_replay(self) -> bool:
        """An operator sent it again out of the dead letter queue: it may be the only copy."""
        replays = self._signed(REPLAYS)
        return isinstance(replays, int) and replays > 0

    @property
    def waiting_since(self) -> float:
        """Seconds since 1970: when it was first set aside because too many were waiting; or now."""
        given = self._signed(WAITING_SINCE)
        return given / 1000 if isinstance(given, int) else time.time()

    @property
    def is_redelivered(self) -> bool:
        """This message, or the one that it is a copy of, was delivered before."""
        return bool(self.message.redelivered) or self._signed(REDELIVERED) is True

    @property
    def on_behalf_of(self) -> str | None:
        """Whose request it is, if an operator sends it for another user."""
        given = self._signed(ON_BEHALF_OF)
        return given if isinstance(given, str) else None

    @property
    def failures(self) -> list[Any]:
        given = self._signed(FAILURES)
        flat = [each for each in given if _is_flat(each)] if isinstance(given, list) else []
        return flat if len(str(flat)) <= LARGEST_HEADERS else []

    @cached_property
    def reply_to(self) -> str | None:
        """Where the reply goes, or None if the sender named no queue of its own.

        The server never writes into its own queues: a reply there would be taken for a request.
        Any other name is taken as it is, not only ``amq.gen-…`` and ``amq.rabbitmq.reply-to…``. The
        server writes to the default exchange only, where every sender of a request may write, too:
        it grants no right that the sender has not. And another client's reply queue cannot be
        guessed: its name is 128 random bits, and no client may list queues. A reply to a queue
        that does not exist is dropped.
        """
        address = self.message.reply_to or ""
        return None if not address or address.startswith(RESERVED_PREFIX) else address

    def require_reply_to(self) -> None:
        if UNDECODABLE in self.message.headers:
            raise Malformed("Its AMQP properties cannot be decoded: send text in UTF-8.")
        if self.reply_to is None:
            raise Malformed(
                "reply_to names a queue of the server: name a queue of your own."
                if self.message.reply_to
                else "There is no reply_to: name the queue in which you wait for the reply."
            )

    @property
    def is_repeated(self) -> bool:
        """It may have been worked on before, and even have been applied.

        What is refused now says nothing of what was done then.
        """
        return self.is_redelivered or self.attempt > 1 or self.is_replay

    def require_time_left(self) -> None:
        """Raises ``Expired``. The sender's clock set the deadline, and ours judges it."""
        deadline = self.message.headers.get(DEADLINE)
        if self.is_repeated or not isinstance(deadline, int):
            return
        if time.time() * 1000 > deadline:
            raise Expired

    def request(self, max_body: int) -> Request:
        """Raises ``Malformed`` or ``TooLarge``."""
        size = len(self.message.body)
        if size > max_body:
            raise TooLarge(
                f"The request has {size} bytes; the server accepts {max_body}.",
                {"size": size, "limit": max_body},
            )
        _require_json(self.message.content_type, self.message.content_encoding)
        return parse(self.message.body, default_id=self.message.correlation_id)


def _is_flat(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str | int) for v in value.values())


def _require_json(content_type: str | None, encoding: str | None) -> None:
    """Missing properties are taken for JSON in UTF-8: the API asks for none."""
    kind, _, parameters = (content_type or JSON).lower().partition(";")
    if kind.strip() == UNKNOWN:
        kind = JSON
    charset = parameters.partition("charset=")[2].strip(" \"'") or "utf-8"
    if kind.strip() != JSON:
        raise Malformed(
            f"The content type is {content_type!r}: send {JSON}.",
            summary=f"The content type is not {JSON}.",
        )
    if charset not in ("utf-8", "utf8") or (encoding or "utf-8").lower() not in ("utf-8", "utf8"):
        raise Malformed("The body has to be UTF-8, not compressed or encoded otherwise.")


def persistent(
    delivery: Delivery, body: bytes, message_id: str, headers: dict[str, Any]
) -> Message:
    """The same request as a message of ours, to be set aside; with these headers.

    Its ``expiration`` stays behind: in a queue that dead-letters what expires, it would cut the
    wait short.
    """
    return Message(
        body,
        content_type=delivery.message.content_type,
        content_encoding=delivery.message.content_encoding,
        correlation_id=delivery.message.correlation_id,
        reply_to=delivery.message.reply_to,
        message_id=message_id,
        user_id=delivery.own_user,
        delivery_mode=DeliveryMode.PERSISTENT,
        headers={name: value for name, value in headers.items() if value is not None},
    )


def copy_id(delivery: Delivery, queue: str) -> str:
    """The ``message_id`` of its copy for ``queue``: the same one however often it is made."""
    original = delivery.message.message_id or delivery.message.correlation_id or uuid.uuid4()
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{original} {delivery.attempt} {queue}").hex


def failures_with(delivery: Delivery, why: Failure) -> list[Any]:
    """Its failures so far, and this one."""
    this = {"attempt": delivery.attempt, "code": why.code, "error": why.summary, "at": now()}
    return [*delivery.failures, this]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
