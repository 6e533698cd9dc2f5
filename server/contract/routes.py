"""Where each action is in HTTP: one table, from which come the server's routes and the client's
calls, and the names of the headers that both use.
"""

import re
from dataclasses import dataclass

API_KEY = "X-API-Key"
"""``auth`` of a request."""
REQUEST_ID = "X-Request-Id"
"""For correlation only: the response has the same, and so has the log. It identifies no write: all
requests of one trace may share it."""
IDEMPOTENCY_KEY = "Idempotency-Key"
"""``idempotency_key``: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/"""
REPLAYED = "Idempotent-Replayed"
"""``true`` on a reply whose outcome was reached earlier, by a request with the same key."""
PROBLEM = "application/problem+json"
"""The content type of every error (RFC 9457)."""
HEALTH = "/healthz"
"""Whether the server can serve; without authentication."""


@dataclass(frozen=True)
class Route:
    """``path`` comes after the version; the names in braces are fields of the action's data.

    The other fields are the JSON body of a POST or PATCH, or else the query.
    """

    method: str
    path: str
    action: str
    status: int = 200
    """Of a success."""

    @property
    def path_fields(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def has_body(self) -> bool:
        return self.method in ("POST", "PATCH")


ROUTES = (
    Route("GET", "/ping", "ping"),
    Route("POST", "/login", "login"),
    Route("POST", "/books", "create_book", 201),
    Route("GET", "/books", "get_books"),
    Route("GET", "/books/{id}", "get_book"),
    Route("PATCH", "/books/{id}", "update_book"),
    Route("DELETE", "/books/{id}", "delete_book"),
    Route("POST", "/authors", "create_author", 201),
    Route("GET", "/authors", "get_authors"),
    Route("GET", "/authors/{id}", "get_author"),
    Route("PATCH", "/authors/{id}", "update_author"),
    Route("DELETE", "/authors/{id}", "delete_author"),
)
"""Of every version; a version has those whose action it has."""

ROUTE_OF = {route.action: route for route in ROUTES}
