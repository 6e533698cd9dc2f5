"""I9: what is answered was true, at some moment between request and reply."""

from collections import defaultdict
from collections.abc import Iterator

from labkit.ledger.evidence import as_json
from labkit.ledger.findings import Findings
from labkit.ledger.pages import Pages
from labkit.ledger.reading import Reading, began, readings
from labkit.ledger.replies import details
from labkit.ledger.run import Run
from labkit.ledger.versions import Versions


def every_read_is_true(run: Run, found: Findings) -> None:
    """I9. Of a row its state, or that it is not there; of a list its rows, all of them and none
    twice; of a conflict its reason.
    """
    for reading in readings(run):
        found.judged += 1
        _was_so(run, reading, found)
    pages = Pages(run)
    for operation in run.evidence.operations:
        if operation.is_list and operation.outcome == "ok" and operation.answered is not None:
            seen = pages.judged(operation)
            found.judged += seen is not None
            if seen:
                found.violated(operation, seen)
    _conflicts(run, found)


def _was_so(run: Run, reading: Reading, found: Findings) -> None:
    versions = run.row(reading.table, reading.row_id)
    possible = [versions.states[n] for n in versions.between(reading.start, reading.end)]
    if reading.state in possible:
        return
    said = "there is none" if reading.state is None else as_json(reading.state)
    was = as_json(possible[0]) + (f", …, {as_json(possible[-1])}" if len(possible) > 1 else "")
    when = "" if reading.state not in versions.states else "; that was so at another time"
    seen = f"of row {reading.row_id} of {reading.table} it says: {said}; there was: {was}{when}"
    found.violated(reading.operation, seen)


def _conflicts(run: Run, found: Findings) -> None:
    """A book with the ISBN that is taken, or a book of the author who has some."""
    refused = [o for o in run.evidence.operations if o.code == "conflict" and o.replied]
    if not refused:
        return
    of_author, of_isbn = _indexes(run)
    for operation in refused:
        if operation.answered is None or operation.claim in run.older:
            continue
        said = details(operation)
        name, value = next(iter(said.items()), ("", None))
        rows = {"id": of_author, "isbn": of_isbn}.get(name, {}).get(value)
        found.judged += 1
        start, end = began(run, operation), operation.answered
        column = "author_id" if name == "id" else name
        if not any(_had(versions, column, value, start, end) for versions in rows or ()):
            found.violated(operation, f"no book had the {column} {value} then")


Index = dict[object, list[Versions]]


def _indexes(run: Run) -> tuple[Index, Index]:
    """The books that ever were, by author and by ISBN."""
    of_author: defaultdict[object, list[Versions]] = defaultdict(list)
    of_isbn: defaultdict[object, list[Versions]] = defaultdict(list)
    for _, versions in run.of_table("books_v2"):
        for index, column in ((of_author, "author_id"), (of_isbn, "isbn")):
            for value in _values(versions, column):
                index[value].append(versions)
    return of_author, of_isbn


def _values(versions: Versions, column: str) -> Iterator[object]:
    yield from {state[column] for state in versions.states if state is not None}


def _had(versions: Versions, column: str, value: object, start: float, end: float) -> bool:
    states = (versions.states[n] for n in versions.between(start, end))
    return any(state is not None and state[column] == value for state in states)
