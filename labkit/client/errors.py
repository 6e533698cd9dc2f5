"""How a call can end without a reply. With the server's errors these are one tree."""

from server.contract.errors import ApiError


class ReplyTimeout(ApiError):
    """No reply came in time. The request may have been applied, or may yet be.

    Ask again with the same idempotency key: that settles it, and doubles nothing.
    """

    code = "timeout"
    is_definite = False
    is_transient = True


class Unroutable(ApiError):
    """The broker has no queue `api.requests`: no server was ever started here.

    Start the lab with `make up`, or a worker in a notebook with `Lab.open()`.
    """

    code = "unroutable"
    is_transient = True


class QueueFull(ApiError):
    """The broker refused the request: `api.requests` is full, or not up yet. Nothing was applied.

    Ask again when the workers have caught up.
    """

    code = "queue_full"
    is_transient = True


class NotConnected(ApiError):
    """The client is not connected: `await client.connect()`, or `async with` it, before a call."""

    code = "not_connected"


class WrongLoop(ApiError):
    """The client was connected in another event loop, and lives there: a connection cannot change.

    Connect and call it in one loop, which is one `asyncio.run`, or make a client for each.
    """

    code = "wrong_loop"
