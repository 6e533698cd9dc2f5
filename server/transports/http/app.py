"""The HTTP edge: the same actions as resources, for clients that would rather not wait in a queue.

    HTTP request ──► contract.Request ──► Dispatcher.execute ──► Reply ──► HTTP response

What is not answered with data is answered with a problem document, whatever went wrong.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from sqlalchemy import select
from starlette.exceptions import HTTPException
from starlette.responses import Response

from server.application.dispatcher import Dispatcher
from server.application.handlers import VERSIONS
from server.application.handlers.action import Action
from server.contract.envelope import JSON
from server.contract.errors import ApiError
from server.contract.routes import HEALTH, ROUTES, Route
from server.persistence.database import Database
from server.settings import Settings
from server.transports.http import openapi, refusals
from server.transports.http.call import CREDENTIALS, Call, call
from server.transports.http.fields import PathId, in_body, in_query
from server.transports.http.request_log import RequestLog
from server.transports.http.same_site import SameSite
from server.transports.http.strict import route_class

Endpoint = Callable[..., Awaitable[Response]]
Dependency = Callable[..., Awaitable[Call]]


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
    app.state.dispatcher = dispatcher
    app.router.route_class = route_class(settings.max_body)
    for version, actions in VERSIONS.items():
        for route in ROUTES:
            if route.action in actions:
                _add(app, dispatcher, version, route, actions[route.action])
    app.add_api_route(HEALTH, _health(database), tags=["health"], responses=openapi.HEALTH)
    app.add_exception_handler(ApiError, refusals.refused)
    app.add_exception_handler(RequestValidationError, refusals.invalid)
    app.add_exception_handler(HTTPException, refusals.no_route)
    app.add_middleware(SameSite, hosts={settings.rest_host, *settings.rest_hosts})
    app.add_middleware(RequestLog)
    app.openapi = lambda: openapi.complete(app)  # type: ignore[method-assign]
    return app


def _add(app: FastAPI, dispatcher: Dispatcher, version: str, route: Route, action: Action) -> None:
    fields = [] if route.has_body or route.path_fields else list(action.payload.model_fields)
    here = call(dispatcher, version, route, writes=action.writes is not None, query=fields)
    app.add_api_route(
        f"/{version}{route.path}",
        _endpoint(here, route, action),
        methods=[route.method],
        dependencies=[] if action.public else CREDENTIALS,
        **openapi.operation(version, route, action),
    )


def _endpoint(here: Dependency, route: Route, action: Action) -> Endpoint:
    """Its signature says where in HTTP the action's data is; FastAPI reads, checks and documents
    it by that.
    """
    if route.path_fields:
        return _of_one(here, route, action)
    if route.has_body:
        return _of_new(here, action)
    return _of_all(here, action)


# The types in these signatures are made at run time, from each action's payload.
# mypy: disable-error-code="valid-type"


def _of_one(here: Dependency, route: Route, action: Action) -> Endpoint:
    Here = Annotated[Call, Depends(here)]
    Body = in_body(action.payload, route.path_fields)

    async def changed(call: Here, id: PathId, data: Body) -> Response:
        return await call(data, id=id)

    async def one(call: Here, id: PathId) -> Response:
        return await call(id=id)

    return changed if route.has_body else one


def _of_new(here: Dependency, action: Action) -> Endpoint:
    Here = Annotated[Call, Depends(here)]
    Body = action.payload

    async def new(call: Here, data: Body) -> Response:
        return await call(data)

    return new


def _of_all(here: Dependency, action: Action) -> Endpoint:
    Here = Annotated[Call, Depends(here)]
    Conditions = in_query(action.payload)

    async def some(call: Here, data: Annotated[Conditions, Query()]) -> Response:
        return await call(data)

    async def alone(call: Here) -> Response:
        return await call()

    return some if Conditions.model_fields else alone


def _health(database: Database) -> Endpoint:
    async def healthz() -> Response:
        """Whether requests can be served: the database answers. It needs no credentials."""
        async with database.reading() as connection:
            await connection.execute(select(1))
        return Response(b'{"status":"ok"}', media_type=JSON)

    return healthz
