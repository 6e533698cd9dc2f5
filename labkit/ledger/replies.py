"""What a reply says: data or an error, from the body as it came over either transport."""

import json
from typing import Any

from labkit.ledger.evidence import Row, row_of
from labkit.ledger.operations import Operation


def said(operation: Operation) -> tuple[Any, dict[str, Any]]:
    """Data and error; None and nothing if no reply came, or none that can be read."""
    try:
        if operation.transport == "amqp":
            document = json.loads("{" + (operation.answer or "").removeprefix(","))
            return document.get("data"), document.get("error") or {}
        document = json.loads(operation.answer or "null")
        if operation.outcome == "ok":
            return document, {}
        return None, {"code": operation.code, "details": document.get("errors")}
    except (ValueError, AttributeError):
        return None, {}


def row_said(operation: Operation) -> Row | None:
    """The one row that a reply tells of."""
    data, _ = said(operation)
    if operation.table is None or not isinstance(data, dict):
        return None
    return row_of(operation.table, data)


def page_said(operation: Operation) -> tuple[list[Row], str | None] | None:
    """The rows of a list, and the cursor of the page after it; None if there is no list in it."""
    data, _ = said(operation)
    rows = data.get(f"{operation.noun}s") if isinstance(data, dict) else None
    if operation.table is None or not isinstance(rows, list):
        return None
    if not all(isinstance(row, dict) and isinstance(row.get("id"), int) for row in rows):
        return None
    following = data["next"] if isinstance(data.get("next"), str) else None
    return [row_of(operation.table, row) for row in rows], following


def details(operation: Operation) -> dict[str, Any]:
    """What an error says beside its message: the id that was not found, for one."""
    _, error = said(operation)
    given = error.get("details")
    return given if isinstance(given, dict) else {}
