"""What the OpenAPI document says beyond what FastAPI reads from the endpoints' signatures."""

from typing import Any, get_type_hints

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from server.application.handlers.action import Action
from server.contract import routes
from server.contract.envelope import JSON
from server.contract.routes import PROBLEM, Route
from server.transports.http.problem import STATUS, Problem

_LOGIN = {"name": "anna", "password": "correct horse battery staple"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "v1_login": _LOGIN,
    "v1_create_book": {
        "title": "1984",
        "author": "George Orwell",
        "year": 1949,
        "isbn": "978-0451524935",
    },
    "v1_update_book": {"year": 1948},
    "v2_login": _LOGIN,
    "v2_create_author": {"name": "J.K. Rowling", "birth_year": 1965, "country": "UK"},
    "v2_update_author": {"country": "United Kingdom"},
    "v2_create_book": {
        "title": "Harry Potter and the Philosopher's Stone",
        "author_id": 1,
        "genre": "Fantasy",
        "year": 1997,
        "isbn": "9780747532699",
    },
    "v2_update_book": {"genre": "Fantasy"},
}
"""Operation → the body that it is shown with."""

_ANY_REQUEST = {"malformed", "too_large", "rate_limited", "internal", "unavailable", "expired"}
_AUTHENTICATED = {"unauthorized", "forbidden"}
_WRITE = {"conflict", "in_progress", "key_reused"}


def operation(version: str, route: Route, action: Action) -> dict[str, Any]:
    """What ``FastAPI.add_api_route`` takes to describe the action."""
    name = f"{version}_{action.name}"
    example = {"requestBody": {"content": {JSON: {"example": EXAMPLES.get(name)}}}}
    return {
        "name": action.name,
        "operation_id": name,
        "summary": action.name.replace("_", " ").capitalize(),
        "tags": [f"{version} {route.path.split('/')[1]}"],
        "status_code": route.status,
        "response_model": get_type_hints(action.handler)["return"],
        "responses": _success(route, action) | _errors(route, action),
        "openapi_extra": example if route.has_body else None,
    }


def complete(app: FastAPI) -> dict[str, Any]:
    """FastAPI's own document, with the schema of problems, and without that of its own errors."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = document["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = document
    return app.openapi_schema


def problems(codes: set[str]) -> dict[int | str, dict[str, Any]]:
    """One response for each status that these error codes have."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {
            "description": ", ".join(
                f"`{c}`" for c in STATUS if c in codes and STATUS[c] == status
            ),
            "content": {PROBLEM: schema},
        }
        for status in sorted({STATUS[code] for code in codes})
    }


def _errors(route: Route, action: Action) -> dict[int | str, dict[str, Any]]:
    codes = _ANY_REQUEST | {"invalid_data", "unauthorized"}
    codes |= set() if action.public else _AUTHENTICATED
    codes |= _WRITE if action.writes else set()
    codes |= {"not_found"} if route.path_fields or action.writes else set()
    unsupported = {415: problems({"malformed"})[400]} if route.has_body else {}
    return problems(codes) | unsupported


def _success(route: Route, action: Action) -> dict[int | str, dict[str, Any]]:
    headers = {routes.REQUEST_ID: _text("The request's id.")}
    if action.writes:
        headers[routes.REPLAYED] = _text("`true` if this was answered before, for the same key.")
    if route.status == 201:
        headers["Location"] = _text("Where the new one is.")
    return {route.status: {"description": "Done.", "headers": headers}}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


HEALTH = {
    200: {"description": "The database answers.", "content": {JSON: {"example": {"status": "ok"}}}}
} | problems({"unavailable"})
