"""Runs made of plain values: a right one first, and then whatever a test makes of it."""

import json
from dataclasses import replace
from typing import Any

from labkit.ledger import Evidence, Operation, Violation, judge
from labkit.ledger.evidence import Change, Row, row_of
from labkit.ledger.operations import EffectKey

CLAIM = EffectKey("1", "book_v1", "k")


def row(row_id: int = 1, title: str = "1984", **fields: Any) -> Row:
    """A book of version 1."""
    book = {"id": row_id, "title": title, "author": "Orwell", "created_at": "then"}
    return row_of("books_v1", book | fields)


def answer(data: Any, error: Any = None) -> str:
    """A reply's body, but for its correlation id."""
    status = "ok" if error is None else "error"
    body = json.dumps({"status": status, "data": data, "error": error}, separators=(",", ":"))
    return "," + body[1:]


def asked(request_id: str = "a", title: str = "1984", **fields: Any) -> Operation:
    """A book, created and answered ok within a second, under the key ``k``."""
    book = {"title": title, "author": "Orwell"}
    right = Operation(request_id, "create_book", "v1", book, "k", user="1", asked=10.0)
    answered: dict[str, Any] = {
        "answered": 11.0,
        "outcome": "ok",
        "code": None,
        "replied": True,
        "answer": answer(row(title=title)),
        "accepted": True,
    }
    return replace(right, **(answered | fields))


def update(request_id: str, changes: Row, now: Row, **fields: Any) -> Operation:
    """Answered ok: the row is like this ``now``."""
    data = {"id": now["id"], **changes}
    said = {"action": "update_book", "data": data, "key": request_id, "answer": answer(now)}
    return asked(request_id, **(said | fields))


def delete(request_id: str, row_id: int = 1, **fields: Any) -> Operation:
    said = {"action": "delete_book", "data": {"id": row_id}, "key": request_id}
    return asked(
        request_id, **(said | {"answer": answer({"id": row_id, "deleted": True})} | fields)
    )


def read(state: Row | None, start: float, end: float, **fields: Any) -> Operation:
    """The answer to a ``get_book`` of the book 1; None: that there is none."""
    said: dict[str, Any] = {"answer": answer(state), "key": None, "data": {"id": 1}}
    if state is None:
        error = {"code": "not_found", "message": "", "details": {"id": 1}}
        said |= {"outcome": "refused", "code": "not_found", "answer": answer(None, error)}
    said |= {"action": "get_book", "asked": start, "answered": end}
    return asked(f"read {start}", **(said | fields))


def listed(rows: list[Row], start: float, end: float, **fields: Any) -> Operation:
    """A page of ``get_books``. ``following`` is its ``next``; ``data`` is the request's."""
    page = {"books": rows, "next": fields.pop("following", None)}
    said: dict[str, Any] = {"answer": answer(page), "key": None, "data": {}}
    said |= {"action": "get_books", "asked": start, "answered": end}
    return asked(f"list {start}", **(said | fields))


def refused(request_id: str = "a", code: str = "conflict", **fields: Any) -> Operation:
    said: dict[str, Any] = {"outcome": "refused", "code": code}
    said["answer"] = answer(None, {"code": code, "details": None})
    return asked(request_id, **(said | fields))


def unknown(request_id: str = "a", **fields: Any) -> Operation:
    said: dict[str, Any] = {"outcome": "unknown", "code": "timeout", "replied": False}
    return asked(request_id, **(said | {"answer": None} | fields))


def made(state: Row, number: int = 1, at: float = 10.5, **fields: Any) -> Change:
    """A new row, in a transaction of its own."""
    change = Change(number, str(number), "create", "books_v1", state["id"], None, state, at)
    return replace(change, **fields)


def changed(before: Row, after: Row | None, number: int, at: float) -> Change:
    """An update, or a delete if nothing is left."""
    what = replace(made(before, number, at), before=before, after=after)
    return replace(what, what="delete" if after is None else "update")


def evidence(*operations: Operation, **fields: Any) -> Evidence:
    """``claims`` are the claims of the changes, in their order; without, they are those of the
    operations, in theirs.
    """
    claims = fields.pop("claims", [o.claim for o in operations if o.claim is not None])
    changes = fields.get("changes", [])
    pairs = [(c.transaction, k) for c, k in zip(changes, claims, strict=False) if k is not None]
    return Evidence(list(operations), claimed=pairs, **fields)


def found(*operations: Operation, **fields: Any) -> tuple[Violation, ...]:
    return judge(evidence(*operations, **fields)).found


def seen(*operations: Operation, **fields: Any) -> list[str]:
    """The invariants that this evidence violates."""
    return [violation.invariant for violation in found(*operations, **fields)]
