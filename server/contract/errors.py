"""Everything that can be answered instead of data: one short tree, one code each.

Two questions decide what anybody does with an error:

``is_definite``   is it certain that the request had no effect?
``is_transient``  may the very same request succeed later?
"""

import traceback
from typing import Any, ClassVar

RED, FAINT, PLAIN = "\x1b[31m", "\x1b[2m", "\x1b[0m"
"""ANSI colours, as notebooks show them."""


class Explained(Exception):
    """Its text says what happened and what to do next; a traceback would only bury that."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it, for IPython calls this: one line; in each mode but the
        usual one (``%tb Plain``, ``%xmode Verbose``) the whole traceback.
        """
        from IPython.core.getipython import get_ipython

        shown = getattr(get_ipython(), "InteractiveTB", None)
        if shown is None or shown.mode != "Context":
            return traceback.format_exception(self)
        where = f"{FAINT}%tb Plain shows where.{PLAIN}"
        return [f"{RED}{type(self).__name__}{PLAIN}: {self}", where]


class ApiError(Explained):
    """Base of all; ``str(error)`` is for the caller, ``code`` for programs.

    The docstring of an error is its message, unless the code that raises it knows better.
    """

    code: ClassVar[str] = "internal"
    is_definite: ClassVar[bool] = True
    is_transient: ClassVar[bool] = False
    is_outcome: ClassVar[bool] = False
    """Is it what the work itself ended in? Then it is stored under the request's key like a
    success, and given again. Others are said before any work, and may not be true any more later.
    """

    def __init__(self, message: str = "", details: Any = None, *, summary: str = "") -> None:
        """``summary`` is for everyone else: what of the message repeats nothing that was sent."""
        super().__init__(message or " ".join((self.__doc__ or "").split()))
        self.details = details
        self.summary = summary or str(self)


class Malformed(ApiError):
    """The message is not a request: it cannot be read."""

    code = "malformed"
    request_id: str | None = None
    """The id of the request, if that much could be read."""


class UnsupportedVersion(ApiError):
    """This version of the API does not exist."""

    code = "unsupported_version"


class UnknownAction(ApiError):
    """This version of the API has no such action."""

    code = "unknown_action"


class InvalidData(ApiError):
    """The data does not fit the action; ``details`` lists field by field what is wrong."""

    code = "invalid_data"


class Unauthorized(ApiError):
    """The caller could not be identified: the API key or token is missing, unknown, expired or
    revoked, or the name or the password is wrong."""

    code = "unauthorized"


class Forbidden(ApiError):
    """The caller is known, but may not do this."""

    code = "forbidden"


class NotFound(ApiError):
    """There is nothing with this id."""

    code = "not_found"
    is_outcome = True


class Conflict(ApiError):
    """The request contradicts what is stored."""

    code = "conflict"
    is_outcome = True


class KeyReused(ApiError):
    """This idempotency key was used before, with another request."""

    code = "key_reused"


class InProgress(ApiError):
    """The first request with this idempotency key is still running: ask again in a moment."""

    code = "in_progress"
    is_definite = False  # the first one may yet succeed
    is_transient = True


class TooLarge(ApiError):
    """The message is larger than the server accepts."""

    code = "too_large"


class RateLimited(ApiError):
    """This caller asks faster than the server allows: slow down, and ask again in a moment."""

    code = "rate_limited"
    is_transient = True


class Expired(ApiError):
    """The request's deadline had passed before anyone worked on it."""

    code = "expired"


class Unavailable(ApiError):
    """Something the server needs is away, the database for one: ask again with the same key.

    If the connection was lost during COMMIT, it is unknown whether the request was applied.
    """

    code = "unavailable"
    is_definite = False
    is_transient = True


class Internal(ApiError):
    """The server has a bug; what happened is in its log under the request's id."""

    code = "internal"
    is_definite = False


def _tree(error: type[ApiError]) -> list[type[ApiError]]:
    return [error, *(leaf for child in error.__subclasses__() for leaf in _tree(child))]


BY_CODE: dict[str, type[ApiError]] = {error.code: error for error in _tree(ApiError)}
OUTCOMES = frozenset(code for code, error in BY_CODE.items() if error.is_outcome)
"""Codes of the refusals that are kept under the request's key."""


def from_wire(error: dict[str, Any]) -> ApiError:
    """The exception for a reply's ``{"code", "message", "details"}``; codes from the future too."""
    kind = BY_CODE.get(error["code"], Internal)  # of which nothing is certain
    return kind(error.get("message", ""), error.get("details"))
