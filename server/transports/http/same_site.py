"""Requests that a web page of another site makes a browser send are refused, whatever they want.

Two kinds can reach a server on loopback. A page may send simple requests to any address: a browser
names the page then in `Origin`. And a page whose own name suddenly leads to 127.0.0.1 (DNS
rebinding) counts as ours for the browser: it still has that name in `Host`.
"""

import re
from collections.abc import Set as AbstractSet

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from server.contract.envelope import Reply
from server.contract.errors import ApiError, Forbidden, Malformed
from server.transports.http.call import header
from server.transports.http.problem import problem

LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:@/\[\]]+)(:[0-9]*)?")
"""A name, an IPv4 address or an IPv6 address in brackets; and perhaps a port (RFC 9110, 7.2)."""


class SameSite:
    """ASGI middleware. ``hosts`` are the names, beside loopback's, that the server goes by."""

    def __init__(self, app: ASGIApp, hosts: AbstractSet[str]) -> None:
        self._app = app
        self._hosts = LOOPBACK | {_bracketed(host.strip().lower()) for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(Headers(scope=scope))
        except ApiError as refusal:
            scope["state"]["record"].outcome = refusal.code
            await problem(Reply.refusal(refusal), scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        host = (header(headers, "Host") or "").lower()
        asked = _HOST.fullmatch(host)
        if asked is None or asked["name"] not in self._hosts:
            raise Malformed(
                f"The header Host names {host[:100]!r}, which is none of this server's names. Ask "
                "for localhost, or add the name to the server's setting REST_HOSTS."
            )
        origin = header(headers, "Origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            raise Forbidden(
                f"A page of {origin[:100]} sends this request. Only the server's own page may; a "
                "program that is no page leaves the header Origin out."
            )


def _bracketed(host: str) -> str:
    """An IPv6 address as `Host` has it."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
