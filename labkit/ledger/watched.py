"""A client whose every operation is written down."""

import base64
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Self

from labkit.client.amqp import AsyncAPIClient
from labkit.client.caller import Caller, Reply
from labkit.client.moments import Moment
from labkit.ledger.clocks import Clock
from labkit.ledger.operations import Operation, essence, failed, judged, without_secrets
from server.contract.credentials import TOKEN_FIELD

Begin = Callable[[], Awaitable[None]]


class Watched(Caller):
    """The same calls, with the same results and errors, as those of ``client``, which is borrowed.

    Each is written into ``operations`` when it is asked, and again when it has ended: also one
    that is cancelled.
    """

    def __init__(
        self,
        client: Caller,
        operations: dict[int, Operation],
        begin: Begin,
        number: int,
        clock: Clock,
    ) -> None:
        """``number`` is the client's own: it may be watched twice."""
        super().__init__(client._timeout)
        self._number = number
        self._client = client
        self._operations = operations
        self._begin = begin
        self._clock = clock
        self._user = key_digest(getattr(client, "_api_key", None))
        self._transport = "rest"
        self._numbers: dict[str, int] = {}
        """The request's id → the number of its newest operation."""
        if isinstance(client, AsyncAPIClient):
            self._transport = "amqp"
            client.observers.append(self._observe)

    async def connect(self) -> Self:
        await self._client.connect()
        return self

    async def close(self) -> None:
        await self._client.close()

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
        await self._begin()
        request_id = request_id or str(uuid.uuid4())
        number = len(self._operations)
        asked, link = self._clock.now(), self._link()
        self._operations[number] = Operation(
            request_id,
            action,
            version,
            without_secrets(data or {}),
            idempotency_key,
            user=self._user or _subject(data or {}),
            transport=self._transport,
            asked=asked,
            deadline=asked + (self._timeout if timeout is None else timeout),
            client=self._number,
        )
        self._numbers[request_id] = number
        try:
            reply = await self._client.request(
                action,
                data,
                version=version,
                idempotency_key=idempotency_key,
                timeout=timeout,
                request_id=request_id,
            )
        except BaseException as error:
            outcome, code = failed(error)
            steady = link is not None and link is self._link()
            self._note(number, outcome=outcome, code=code, steady=steady)
            raise
        else:
            self._operations[number] = with_reply(
                self._operations[number], reply, self._clock.now()
            )
            return reply
        finally:
            if self._numbers.get(request_id) == number:
                del self._numbers[request_id]

    def _link(self) -> object | None:
        """The client's connection, unless it is lost."""
        link = getattr(self._client, "_link", None)
        return None if link is None or link.lost.is_set() else link

    def _note(self, number: int, **changes: Any) -> None:
        operation = self._operations[number]
        self._operations[number] = replace(operation, answered=self._clock.now(), **changes)

    def _observe(self, moment: Moment, request_id: str) -> None:
        number = self._numbers.get(request_id)
        if number is None:
            return
        operation = self._operations[number]
        if moment is Moment.SENT:
            self._operations[number] = replace(operation, sent=operation.sent + 1)
        elif moment is Moment.ACCEPTED:
            self._operations[number] = replace(operation, accepted=True)


def with_reply(operation: Operation, reply: Reply, at: float) -> Operation:
    """The operation, answered by this reply; ``at`` is by the run's clock."""
    outcome, code = judged(reply.error)
    row_id = reply.data.get("id") if isinstance(reply.data, dict) else None
    kept = operation.resource is not None
    return replace(
        operation,
        answered=at,
        outcome=outcome,
        code=code,
        replied=True,
        accepted=True,
        replayed=reply.replayed,
        parked=reply.parked,
        answer=essence(reply.body) if operation.table is not None else None,
        row_id=row_id if kept and isinstance(row_id, int) else None,
    )


def key_digest(api_key: str | None) -> str:
    """A name for the user of this key, which is no secret: a digest, as the server keeps it."""
    return hashlib.sha256(api_key.encode()).hexdigest() if api_key else ""


def _subject(data: dict[str, Any]) -> str:
    """The user that a token says it is of: its subject, which is not secret."""
    try:
        _, payload, _ = str(data[TOKEN_FIELD]).split(".")
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(said["sub"])
    except (KeyError, ValueError, TypeError):
        return ""
