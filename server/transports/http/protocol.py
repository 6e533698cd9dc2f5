"""HTTP on one connection: a limit for heads, and one form and one order for what is answered."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.contract.envelope import Reply
from server.contract.errors import Malformed
from server.transports.http.problem import problem

LARGEST_HEAD = 64 * 1024
"""Bytes of a request before its body."""
PIECE = 4096
"""Bytes that are parsed at a time. What follows a request in its last piece is not counted, so the
head of a request that was pipelined may be larger by that much.
"""
LINGER = 2.0
"""Seconds that a client has to read a refusal before the connection is closed."""
_TOO_LARGE = f"The request's head is larger than {LARGEST_HEAD} bytes."


class Protocol(HttpToolsProtocol):
    """httptools reads a head of any length into memory, and uvicorn answers what is no HTTP at once
    and with plain text: here a head has a limit, and the refusal waits for its turn and has the
    form of every other.
    """

    _beside_body = 0
    """Bytes of this request that are not its body: the head, a chunked body's framing, trailers."""
    _unanswered = 0
    """Requests whose head is read, and whose response is not written yet."""
    _incomplete = False
    """The last of them has more body to come."""
    _refusal: str | None = None
    """Why what else comes on this connection is thrown away."""
    _refused = False

    def data_received(self, data: bytes) -> None:
        while data and self._refusal is None:
            room = PIECE if self._incomplete else LARGEST_HEAD - self._beside_body
            piece, data = data[: min(room, PIECE)], data[min(room, PIECE) :]
            self._beside_body += len(piece)
            super().data_received(piece)
            if not room or self._beside_body > LARGEST_HEAD:
                self.send_400_response(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._unanswered += 1
        self._incomplete = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._beside_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._beside_body = 0
        self._incomplete = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        self._refuse_in_turn()

    def send_400_response(self, msg: str) -> None:
        """The requests before it are answered first; then this is, and the connection is closed."""
        if self._refusal is None:
            self._refusal = msg
            if self._incomplete and not self.cycle.response_started:
                self._abandon()
            self._refuse_in_turn()

    def _abandon(self) -> None:
        """Its handler waits for the rest of the body, and hears that there is none."""
        self._unanswered -= 1
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _refuse_in_turn(self) -> None:
        if (
            self._refusal is None
            or self._unanswered
            or self._refused
            or self.transport.is_closing()
        ):
            return
        self._refused = True
        answer = problem(Reply.refusal(Malformed(self._refusal)), "")
        head = [b"%s: %s\r\n" % header for header in answer.raw_headers]
        closing = b"connection: close\r\n\r\n"
        self.transport.write(b"".join([b"HTTP/1.1 400 Bad Request\r\n", *head, closing]))
        self.transport.write(bytes(answer.body))
        # Closed at once, while more of the request arrives, the connection would be reset, and the
        # answer might be lost with it (RFC 9112, 9.6).
        self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)
