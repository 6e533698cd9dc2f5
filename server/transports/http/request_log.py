"""Around every HTTP request: its id, its line in the log, and an end for unexpected exceptions."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.application.handlers import VERSIONS
from server.contract.envelope import Reply
from server.contract.errors import Internal, Malformed
from server.contract.log_events import REQUEST
from server.contract.routes import HEALTH, REQUEST_ID
from server.transports.http.call import given_id
from server.transports.http.problem import problem

log = structlog.get_logger()


@dataclass
class RequestRecord:
    """One line of the log: what became of a request. Of its headers, body and query nothing.

    The fields are those of the worker's line, and the status.
    """

    id: str
    attempt: int = 1  # HTTP knows no other
    action: str | None = None
    version: str | None = None
    status: int | None = None
    outcome: str = "ok"
    replayed: bool = False
    started: float = field(default_factory=time.perf_counter)

    def name(self, route: Any) -> None:
        """By the route that was found, if one was: ``/v1/books`` is in version v1."""
        version = "" if route is None else route.path.split("/")[1]
        if version in VERSIONS:
            self.version, self.action = version, route.name

    def finished(self) -> dict[str, Any]:
        line = dict(vars(self))
        line["ms"] = round((time.perf_counter() - line.pop("started")) * 1000, 1)
        return line


class RequestLog:
    """ASGI middleware. Those inside find the ``RequestRecord`` as ``request.state.record``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = RequestRecord(_id(Headers(scope=scope)))
        scope.setdefault("state", {})["record"] = record

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = record.id.encode().decode("latin-1")
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            record.outcome = "client_gone"
        except Exception:
            record.name(scope.get("route"))
            log.exception("unexpected_error", id=record.id, action=record.action)
            record.outcome = Internal.code
            if record.status is None:
                answer = problem(Reply.refusal(Internal()), scope["path"])
                await answer(scope, receive, send_with_id)
        finally:
            record.name(scope.get("route"))
            if record.outcome != "ok" or scope["path"] != HEALTH:  # which is asked for all the time
                log.info(REQUEST, **record.finished())


def _id(headers: Headers) -> str:
    try:
        return given_id(headers) or str(uuid.uuid4())
    except Malformed:  # reading the request says so, under an id of our own
        return str(uuid.uuid4())
