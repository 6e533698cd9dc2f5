"""What a lab shows of a run: its database, its queues, its dead letters, its workers' logs."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from labkit.database import connect
from labkit.dead_letters import journal
from labkit.ledger import database, history, letters, worker_logs
from labkit.ledger.clocks import Ahead, Clock, OtherClocks
from labkit.ledger.evidence import Evidence, FaultPeriod, Removal
from labkit.ledger.lost_replies import AFTERMATH
from labkit.ledger.operations import PARKED, Operation, without_secrets
from labkit.ledger.others import Others
from server.contract.limits import Limits

if TYPE_CHECKING:
    from labkit.lab import Lab


@dataclass(frozen=True)
class Start:
    """What was there before the run: rows, the last change, and the ends of the logs."""

    at: float
    """Seconds since 1970, by the run's clock."""
    clocks: OtherClocks
    history: history.Beginning
    logs: worker_logs.Marks


async def begin(lab: "Lab", clock: Clock) -> Start:
    """Have PostgreSQL note every change from now on.

    Raises ``asyncpg.UndefinedTableError`` if no worker was ever started in this lab.
    """
    connection = await connect(lab.database_url)
    try:
        beginning = await history.begin(connection)
        others = await clock.others(connection)
    finally:
        await connection.close()
    marks = worker_logs.marks(lab.worker_logs.values())
    return Start(clock.now(), others, beginning, marks)


async def collect(
    lab: "Lab",
    operations: Iterable[Operation],
    others: Others,
    since: Start,
    queued: Mapping[str, int],
    clock: Clock,
) -> Evidence:
    """The evidence of now, for a run that began then; ``queued`` is what is left of requests."""
    limits = lab.limits or {Limits.model_validate(lab.settings)}
    clocks = since.clocks.or_so(await _others(lab, clock))
    machine = clocks.machine
    journaled = journal.read(lab.amqp_url, since.at + machine.least)
    removals = [Removal(**each | {"at": machine.latest(each["at"])}) for each in journaled]
    asked = list(operations)
    asked += _edited(asked, removals, since)
    noted = await database.noted(lab.database_url, asked, others, since.history)
    names = {operation.id for operation in noted.operations}
    logged = worker_logs.lines(lab.worker_logs.values(), since.logs)
    found = await letters.letters(lab)
    parked = {name for letter in found for name in (letter.id, letter.asked_as)}
    parked |= {removal.id for removal in removals if removal.id is not None}
    periods = [_by(machine, period) for period in _fault_periods(lab)]
    began = min((operation.asked for operation in noted.operations), default=math.inf)
    return replace(
        noted,
        operations=[_with_outcome(operation, parked) for operation in noted.operations],
        lines=[line for line in logged if line.id in names],
        letters=[letter for letter in found if {letter.id, letter.asked_as} & names],
        removals=[each for each in removals if each.id is None or each.id in names],
        queued=dict(queued),
        dropped=[str(each) for each in lab.faults.dropped if each in names],
        faults=[each for each in periods if _end(each) >= began],
        earlier=[each for each in periods if began > _end(each) >= began - AFTERMATH],
        until=clock.now(),
        clocks=clocks,
        max_attempts=max(each.max_attempts for each in limits),
        delivery_limit=max(each.delivery_limit for each in limits),
        waits=max(math.ceil(each.lock_timeout / each.retry_delays[0]) + 1 for each in limits),
    )


async def _others(lab: "Lab", clock: Clock) -> OtherClocks:
    connection = await connect(lab.database_url)
    try:
        return await clock.others(connection)
    finally:
        await connection.close()


def _edited(
    operations: list[Operation], removals: Iterable[Removal], since: Start
) -> Iterator[Operation]:
    """What an operator sent in the place of letters, and was answered ok."""
    senders = {operation.id: operation.user for operation in operations}
    for removal in removals:
        if removal.request is not None and removal.id in senders:
            request = removal.request
            yield Operation(
                str(request["id"]),
                request["action"],
                request["version"],
                without_secrets(request.get("data") or {}),
                request.get("idempotency_key"),
                user=senders[removal.id],
                asked=since.at,
                answered=removal.at,
                outcome="ok",
                code=None,
                replied=True,
                accepted=True,
            )


def _with_outcome(operation: Operation, parked: set[str]) -> Operation:
    """Of poison no answer tells what became of it."""
    if operation.is_poison and operation.id in parked:
        return replace(operation, outcome="refused", code=PARKED, parked=True)
    return operation


def _fault_periods(lab: "Lab") -> list[FaultPeriod]:
    """By the timeline that the lab's faults keep."""
    rows = lab.faults.timeline()[["fault", "target", "at", "healed"]].itertuples(index=False)
    return [
        FaultPeriod(f"{f} {t}".strip(), _seconds(at) or 0.0, _seconds(h)) for f, t, at, h in rows
    ]


def _by(clock: Ahead, period: FaultPeriod) -> FaultPeriod:
    """At least as long by the run's clock as by that one."""
    healed = None if period.healed is None else clock.latest(period.healed)
    return replace(period, began=clock.earliest(period.began), healed=healed)


def _end(fault: FaultPeriod) -> float:
    return math.inf if fault.healed is None else fault.healed


def _seconds(moment: Any) -> float | None:
    if moment is None or pd.isna(moment):
        return None
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)
