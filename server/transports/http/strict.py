"""Bodies are read as on RabbitMQ: strict JSON, and no more bytes than the server accepts."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server.contract.envelope import JSON
from server.contract.errors import TooLarge
from server.contract.strict_json import read_json


class StrictRequest(Request):
    max_body = 0

    async def body(self) -> bytes:
        """Raises ``TooLarge``, whatever the client says of the length, or does not say."""
        if not hasattr(self, "_body"):
            announced = int(self.headers.get("Content-Length", 0))
            if announced > self.max_body:
                raise TooLarge(
                    f"The request has {announced} bytes; the server accepts {self.max_body}.",
                    {"size": announced, "limit": self.max_body},
                )
            body = bytearray()
            async for piece in self.stream():
                body += piece
                if len(body) > self.max_body:
                    raise TooLarge(
                        f"The server accepts {self.max_body} bytes.", {"limit": self.max_body}
                    )
            self._body = bytes(body)
        return self._body

    async def json(self) -> Any:
        """Raises ``Malformed``."""
        return read_json(await self.body())

    def require_json(self) -> None:
        """A page of another site can make a browser send a form or plain text, but not JSON.

        Raises ``HTTPException`` 415.
        """
        kind, _, parameters = self.headers.get("Content-Type", "").lower().partition(";")
        charset = parameters.partition("charset=")[2].strip(" \"'") or "utf-8"
        if kind.strip() != JSON or charset not in ("utf-8", "utf8"):
            raise HTTPException(415, f"Send `Content-Type: {JSON}`, in UTF-8.")
        if self.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HTTPException(415, "Send the body as it is, without a Content-Encoding.")


def route_class(max_body: int) -> type[APIRoute]:
    """Routes whose requests are ``StrictRequest`` with this limit, in bytes:
    https://fastapi.tiangolo.com/how-to/custom-request-and-route/
    """

    class StrictRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()
            has_body = self.body_field is not None

            async def strictly(http: Request) -> Response:
                request = StrictRequest(http.scope, http.receive)
                request.max_body = max_body
                if has_body:
                    request.require_json()
                await request.body()  # of a request that breaks off nothing is applied
                return await handler(request)

            return strictly

    return StrictRoute
