"""The OpenAPI document of the REST edge, from the same table and models that serve it."""

from typing import Any, get_type_hints

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from server.application.handlers.action import Action
from server.contract import routes
from server.contract.envelope import JSON
from server.contract.routes import PROBLEM, Route
from server.transports.http.problem import STATUS, Problem

EXAMPLES: dict[str, dict[str, Any]] = {
    "v1_login": {"name": "anna", "password": "correct horse battery staple"},
    "v1_create_book": {
        "title": "1984",
        "author": "George Orwell",
        "year": 1949,
        "isbn": "978-0451524935",
    },
    "v1_update_book": {"year": 1948},
    "v2_login": {"name": "anna", "password": "correct horse battery staple"},
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
    "v2_get_books": {"genre": "Fantasy"},
}
"""Operation → fields that it is shown with."""

_ANY_REQUEST = {"malformed", "too_large", "rate_limited", "internal", "unavailable", "expired"}
_AUTHENTICATED = {"unauthorized", "forbidden"}
_WRITE = {"conflict", "in_progress", "key_reused"}


def operation(version: str, route: Route, action: Action) -> dict[str, Any]:
    """What ``FastAPI.add_api_route`` takes to describe the action."""
    name = f"{version}_{action.name}"
    return {
        "operation_id": name,
        "summary": action.name.replace("_", " ").capitalize(),
        "tags": [f"{version} {route.path.split('/')[1]}"],
        "status_code": route.status,
        "response_model": get_type_hints(action.handler)["return"],
        "responses": _success(route, action) | _errors(route, action),
        "openapi_extra": {
            "security": [] if action.public else [{"ApiKey": []}, {"Token": []}],
            **_input(name, route, action),
        },
    }


def complete(app: FastAPI) -> dict[str, Any]:
    """FastAPI's own document, with the components that all operations refer to."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        document["components"]["securitySchemes"] = {
            "ApiKey": {"type": "apiKey", "in": "header", "name": routes.API_KEY},
            "Token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        }
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


def _input(name: str, route: Route, action: Action) -> dict[str, Any]:
    """Each field of the payload where HTTP has it: in the path, the query or the body."""
    schema = action.payload.model_json_schema()
    fields: dict[str, Any] = schema.pop("properties", {})
    required: list[str] = schema.pop("required", [])
    example = EXAMPLES.get(name, {})
    parameters = [_parameter(f, "path", fields.pop(f), {}) for f in route.path_fields]
    if not route.has_body:
        parameters += [_parameter(f, "query", _never_null(s), example) for f, s in fields.items()]
        return {"parameters": parameters + _headers(action)}
    if route.method == "PATCH":  # what is left out does not change: it has no default
        fields = {f: {k: v for k, v in s.items() if k != "default"} for f, s in fields.items()}
    required = [field for field in required if field in fields]
    body = schema | {"properties": fields} | ({"required": required} if required else {})
    content = {JSON: {"schema": body, "example": example}}
    request_body = {"required": True, "content": content}
    return {"parameters": parameters + _headers(action), "requestBody": request_body}


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Text has no null: what is not given is left out of a query."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    return {k: v for k, v in schema.items() if k != "anyOf"} | kinds[0] if kinds else schema


def _parameter(
    name: str, where: str, schema: dict[str, Any], example: dict[str, Any]
) -> dict[str, Any]:
    parameter = {"name": name, "in": where, "required": where == "path", "schema": schema}
    return parameter | ({"example": example[name]} if name in example else {})


def _headers(action: Action) -> list[dict[str, Any]]:
    text: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 128}
    headers = [_parameter(routes.REQUEST_ID, "header", text, {})]
    if action.writes:
        headers.append(_parameter(routes.IDEMPOTENCY_KEY, "header", text | {"maxLength": 255}, {}))
    return headers


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


HEALTH = {
    200: {"description": "The database answers.", "content": {JSON: {"example": {"status": "ok"}}}}
} | problems({"unavailable"})
