"""Cursors: where the next page begins, opaque to the client so that it can change."""

import base64
import binascii

from server.errors import InvalidData

_PREFIX = b"after:"


def after(book_id: int) -> str:
    return base64.urlsafe_b64encode(_PREFIX + str(book_id).encode()).decode()


def position(cursor: str | None) -> int:
    """The id that the page begins after; raises ``InvalidData`` for what is no cursor of ours."""
    if cursor is None:
        return 0
    try:
        decoded = base64.b64decode(cursor, altchars=b"-_", validate=True)
        digits = decoded.removeprefix(_PREFIX) if decoded.startswith(_PREFIX) else b""
        if not digits.isdigit() or len(digits) > 18:
            raise ValueError(digits)
        return int(digits)
    except (binascii.Error, ValueError):
        problem = "not a cursor: take it from `next` of the page before"
        raise InvalidData(f"cursor: {problem}", [{"field": "cursor", "problem": problem}]) from None
