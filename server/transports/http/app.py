"""The HTTP edge: the same actions as resources, for clients that would rather not wait in a queue.

    HTTP request ──► contract.Request ──► Dispatcher.execute ──► Reply ──► HTTP response

What is not answered with data is answered with a problem document, whatever went wrong.
"""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic_core import to_json
from sqlalchemy import select
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Match

from server.application.dispatcher import Dispatcher
from server.application.handlers import VERSIONS
from server.application.handlers.action import Action
from server.contract.envelope import JSON, Reply
from server.contract.errors import ApiError, Malformed, UnknownAction, UnsupportedVersion
from server.contract.routes import HEALTH, REPLAYED, ROUTES, Route
from server.persistence.database import Database
from server.settings import Settings
from server.transports.http import listener, openapi
from server.transports.http.problem import problem
from server.transports.http.request import read
from server.transports.http.request_log import Record, RequestLog
from server.transports.http.same_site import SameSite

Endpoint = Callable[[HttpRequest], Awaitable[Response]]


async def serve(
    dispatcher: Dispatcher, database: Database, settings: Settings, stop: asyncio.Event
) -> None:
    """Serve HTTP until ``stop`` is set, then drain. Raises ``SystemExit`` if the port is taken."""
    await listener.serve(create_app(dispatcher, database, settings), settings, stop)


def create_app(dispatcher: Dispatcher, database: Database, settings: Settings) -> FastAPI:
    """The ASGI application. It owns nothing: dispatcher and database are borrowed."""
    app = FastAPIOffline(
        redoc_url=None,
        title="Library API",
        version="2",
        description="Books and authors, in two versions. The same actions as over RabbitMQ.",
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for version, actions in VERSIONS.items():
        for route in ROUTES:
            if route.action in actions:
                action = actions[route.action]
                endpoint = _endpoint(dispatcher, settings, version, route, action)
                description = openapi.operation(version, route, action)
                app.add_api_route(
                    f"/{version}{route.path}", endpoint, methods=[route.method], **description
                )
    app.add_api_route(HEALTH, _health(database), tags=["health"], responses=openapi.HEALTH)
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_middleware(SameSite, hosts={settings.rest_host, *settings.rest_hosts})
    app.add_middleware(RequestLog)
    app.openapi = lambda: openapi.complete(app)  # type: ignore[method-assign]
    return app


def _endpoint(
    dispatcher: Dispatcher, settings: Settings, version: str, route: Route, action: Action
) -> Endpoint:
    async def endpoint(http: HttpRequest) -> Response:
        record: Record = http.state.record
        record.version, record.action = version, route.action
        request = await read(http, version, route, action, settings.max_body)
        reply = await dispatcher.execute(request)
        record.outcome, record.replayed = reply.outcome, reply.replayed
        return _response(reply, http, version, route)

    return endpoint


def _response(reply: Reply, http: HttpRequest, version: str, route: Route) -> Response:
    if reply.error is not None:
        return problem(reply, http.url.path)
    headers = {REPLAYED: "true"} if reply.replayed else {}
    if route.status == 201:
        headers["Location"] = f"/{version}{route.path}/{reply.data['id']}"
    return Response(to_json(reply.data), route.status, headers, media_type=JSON)


def _health(database: Database) -> Endpoint:
    async def healthz(http: HttpRequest) -> Response:
        """Whether requests can be served: the database answers. It needs no credentials."""
        async with database.reading() as connection:
            await connection.execute(select(1))
        return Response(b'{"status":"ok"}', media_type=JSON)

    return healthz


async def _refused(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  (it is registered for these)
    http.state.record.outcome = error.code
    return problem(Reply.refusal(error), http.url.path)


async def _no_route(http: HttpRequest, error: Exception) -> Response:
    """Starlette's own errors: nothing at this path, not with this method, not this content."""
    assert isinstance(error, HTTPException)  # noqa: S101
    refusal = _in_our_words(error, http.url.path)
    http.state.record.outcome = refusal.code
    headers = {"Allow": _methods(http)} if error.status_code == 405 else error.headers
    return problem(Reply.refusal(refusal), http.url.path, status=error.status_code, headers=headers)


def _in_our_words(error: HTTPException, path: str) -> ApiError:
    version, _, rest = path[1:200].partition("/")
    if error.status_code == 405:
        return UnknownAction("This path does not take this method; `Allow` says which it takes.")
    if error.status_code != 404:
        return Malformed(error.detail)
    if rest and version not in VERSIONS:
        return UnsupportedVersion(
            f"There is no version {version!r}; there is: {', '.join(VERSIONS)}.",
            {"versions": list(VERSIONS)},
        )
    return UnknownAction(f"There is nothing at {path[:200]}; /docs shows what there is.")


def _methods(http: HttpRequest) -> str:
    """All that this path takes: Starlette names only those of the first route that fits."""
    here = [route for route in http.app.routes if route.matches(http.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in here for method in getattr(route, "methods", ())}))
