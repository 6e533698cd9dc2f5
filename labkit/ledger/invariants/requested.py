"""I8: nothing is changed that no request asked for, and nothing but by a change."""

from labkit.ledger.evidence import Change, as_json
from labkit.ledger.findings import Findings
from labkit.ledger.owners import Stray
from labkit.ledger.run import RowKey, Run
from labkit.ledger.versions import Versions


def every_change_was_requested(run: Run, found: Findings) -> None:
    """I8. Each change is that of one operation, by its claim, and with its row and values; and the
    rows at the end are those of the beginning and the changes.
    """
    found.judged += len(run.evidence.changes)
    for stray in run.owned.strays:
        suspect = None if stray.foreign else run.suspect(stray.change)
        found.violated(suspect, _seen(stray))
    for claim, changes in run.owned.applied.items():
        for again in changes[1:]:
            seen = f"under {claim}, for which there is a change already: {again}"
            found.violated(run.suspect(again), seen)
    for place, versions in run.rows.items():
        _changes_fit(run, place, versions, found)
    _rows_are_the_sum(run, found)


def _seen(stray: Stray) -> str:
    change, before = stray.change, ""
    if change.what == "update" and change.before is not None:
        was = {n: v for n, v in change.before.items() if (change.after or {}).get(n) != v}
        before = f" (before: {as_json(was)})"
    if change.what == "truncate":
        return f"all rows of {change.table} were taken away, perhaps by lab.reset()"
    if stray.foreign:
        whose = f"user {stray.claim.user}, {stray.claim}" if stray.claim else ""
        return f"in the database for a request that nothing is known of ({whose}): {change}"
    if stray.claim is None:
        return f"while it was worked on, without a claim in its transaction: {change}{before}"
    return f"under {stray.claim}, and not asked for like this: {change}{before}"


def _changes_fit(run: Run, place: RowKey, versions: Versions, found: Findings) -> None:
    """Each change begins with what the one before has left."""
    for state, change in zip(versions.states, versions.changes, strict=False):
        if change.before != state:
            table, row_id = place
            seen = f"row {row_id} of {table} was changed without a note before: {change}"
            found.violated(run.suspect(change), seen)


def _rows_are_the_sum(run: Run, found: Findings) -> None:
    ended = run.evidence.ended
    if ended is None:
        return
    emptied = {change.table for change in run.evidence.changes if change.what == "truncate"}
    now = {(table, row["id"]): row for table, rows in ended.items() for row in rows}
    for place in now.keys() | run.rows.keys():
        table, row_id = place
        versions = run.row(table, row_id)
        if table not in emptied and versions.states[-1] != now.get(place):
            last: Change | None = versions.changes[-1] if versions.changes else None
            seen = f"row {row_id} of {table} is {as_json(now.get(place))}, and the changes come to "
            seen += as_json(versions.states[-1])
            found.violated(run.suspect(last) if last else None, seen)
