"""What the answers of a run say that rows were, each within an interval of time."""

from collections.abc import Iterator
from dataclasses import dataclass

from labkit.ledger.evidence import Row
from labkit.ledger.operations import Operation
from labkit.ledger.replies import details, page_said, row_said
from labkit.ledger.run import Run


@dataclass(frozen=True, slots=True)
class Reading:
    """Between ``start`` and ``end`` the row was ``state``; None: there was no such row."""

    operation: Operation
    table: str
    row_id: int
    state: Row | None
    start: float
    end: float


def readings(run: Run) -> Iterator[Reading]:
    """Those of a single row: by a get, or by a refusal that says ``not_found``."""
    for operation in run.evidence.operations:
        if operation.answered is None or operation.table is None or not operation.replied:
            continue
        if operation.code == "not_found":
            yield from _missing(run, operation)
        elif operation.outcome == "ok" and operation.is_get:
            row_id = operation.data.get("id")
            if isinstance(row_id, int):
                yield Reading(
                    *(operation, operation.table, row_id, row_said(operation)),
                    *(operation.asked, operation.answered),
                )


def _missing(run: Run, operation: Operation) -> Iterator[Reading]:
    """A refusal may be a stored one: then it tells of a time before."""
    claim, end = operation.claim, operation.answered
    if claim in run.older or end is None or operation.table is None:
        return
    start = began(run, operation)
    said = details(operation)
    by_author = operation.table == "books_v2" and "author_id" in said
    table = "authors" if by_author else operation.table
    row_id = said.get("author_id") if by_author else operation.data.get("id")
    if isinstance(row_id, int):
        yield Reading(operation, table, row_id, None, start, end)


def began(run: Run, operation: Operation) -> float:
    """When the work may have begun that this operation was answered by: of a write, with the
    first request under its claim.
    """
    claim = operation.claim
    if claim is None:
        return operation.asked
    return min(each.asked for each in run.askers[claim])


def listed(operation: Operation) -> Iterator[Reading]:
    """Those of the rows of a list."""
    page = page_said(operation)
    if page is None or operation.table is None or operation.answered is None:
        return
    for row in page[0]:
        yield Reading(
            *(operation, operation.table, row["id"], row),
            *(operation.asked, operation.answered),
        )
