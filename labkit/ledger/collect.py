"""What a lab shows of a run: its database, its queues, its dead letters, its workers' logs."""

import asyncio
import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aio_pika
import asyncpg
import pandas as pd
from aio_pika.abc import AbstractIncomingMessage
from pydantic_core import from_json

from labkit.ledger import history, worker_logs
from labkit.ledger.evidence import Evidence, Letter, Outage
from labkit.ledger.operations import BY_ID, Claim, Operation
from server.contract import FAILURES
from server.settings import Settings
from server.topology import DEAD_LETTERS, RAW_DEAD_LETTERS, REQUESTS

if TYPE_CHECKING:
    from labkit.lab import Lab

STORED = "SELECT user_id, resource_type, key, reply FROM idempotency_keys WHERE reply IS NOT NULL"
USERS = "SELECT key_hash, user_id FROM api_keys"


@dataclass(frozen=True)
class Start:
    """What was there before the run: the number of the last change, and the ends of the logs."""

    change: int
    logs: worker_logs.Marks


async def begin(lab: "Lab") -> Start:
    """Have PostgreSQL note every change from now on.

    Raises ``asyncpg.UndefinedTableError`` if no worker was ever started in this lab.
    """
    connection = await asyncpg.connect(lab.database_url)
    try:
        number = await history.begin(connection)
    finally:
        await connection.close()
    return Start(number, worker_logs.marks(lab.worker_logs.values()))


async def collect(lab: "Lab", operations: Iterable[Operation], since: Start) -> Evidence:
    """The evidence of now, for a run that began then."""
    settings = _settings(lab)
    connection = await asyncpg.connect(lab.database_url)
    try:
        users = {row["key_hash"]: str(row["user_id"]) for row in await connection.fetch(USERS)}
        mine = [replace(o, user=users.get(o.user, _short(o.user))) for o in operations]
        claims = {claim for o in mine if (claim := o.claim) is not None}
        stored = [tuple(row) for row in await connection.fetch(STORED)]
        changes = await history.since(connection, since.change)
    finally:
        await connection.close()
    ids = {operation.id for operation in mine}
    logged = worker_logs.lines(lab.worker_logs.values(), since.logs)
    return Evidence(
        operations=mine,
        changes=changes,
        stored=[(c, reply) for c, reply in map(_claimed, stored) if c in claims],
        lines=[line for line in logged if line.id in ids],
        letters=[letter for letter in await _letters(lab) if letter.id in ids],
        queued=await queued(lab),
        dropped=[str(each) for each in getattr(_faults(lab), "dropped", ()) if each in ids],
        outages=_outages(lab, mine),
        until=time.time(),
        max_attempts=settings.max_attempts,
        delivery_limit=settings.delivery_limit,
    )


def _settings(lab: "Lab") -> Settings:
    """What its workers were told, but for addresses, of which the ledger makes no use."""
    given = {name.upper(): str(value) for name, value in lab._settings.items()}
    addresses = {"AMQP_URL": "amqp://unused", "DATABASE_URL": "postgres://unused"}
    return Settings.from_env(given | addresses)


def _short(digest: str) -> str:
    """Whoever the server does not know: a name that nobody can guess a key from."""
    return hashlib.sha256(f"unknown {digest}".encode()).hexdigest()[:8] if digest else "nobody"


def _claimed(row: tuple[Any, ...]) -> tuple[Claim, str]:
    user_id, scope, key, reply = row
    return Claim(str(user_id), BY_ID if scope == "request" else scope, key), reply


async def queued(lab: "Lab") -> dict[str, int]:
    """Queue → requests that are not done with, be they ready or in a worker's hands."""
    table = await lab.queues()
    here = [n for n in table.index if n in (REQUESTS, RAW_DEAD_LETTERS) or _is_retry(n)]
    return {str(name): int(table.loc[name, ["ready", "unacked"]].sum()) for name in here}


def _is_retry(queue: str) -> bool:
    return queue.startswith("api.retry.")


async def _letters(lab: "Lab") -> list[Letter]:
    """What is in the dead letter queue, which is left as it was: closing gives everything back."""
    table = await lab.queues()
    count = int(table["ready"].get(DEAD_LETTERS, 0))
    letters: list[Letter] = []
    complete = asyncio.Event()

    async def look(message: AbstractIncomingMessage) -> None:
        letters.append(_letter(message))
        if len(letters) >= count:
            complete.set()

    if count:
        async with await aio_pika.connect(lab.amqp_url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(DEAD_LETTERS, ensure=False)
            await queue.consume(look)
            await asyncio.wait_for(complete.wait(), 60)
            await channel.close()
    return letters


def _letter(message: AbstractIncomingMessage) -> Letter:
    failures = message.headers.get(FAILURES)
    attempts = [f["attempt"] for f in _tables(failures) if isinstance(f.get("attempt"), int)]
    reason = str(message.headers.get("x-reason", "unknown"))
    return Letter(_id(message), reason, max(attempts, default=0))


def _tables(failures: Any) -> list[dict[str, Any]]:
    return [f for f in failures if isinstance(f, dict)] if isinstance(failures, list) else []


def _id(message: AbstractIncomingMessage) -> str:
    """The request's, or AMQP's own, which our client makes the same."""
    try:
        document = from_json(message.body)  # unlike json, it has a limit for how deep a body may be
        return str(document["id"])
    except (ValueError, TypeError, KeyError):
        return message.correlation_id or ""


def _faults(lab: "Lab") -> Any:
    return getattr(lab, "faults", None)


def _outages(lab: "Lab", operations: list[Operation]) -> list[Outage]:
    """Those of this run, by the timeline that the lab's faults keep."""
    faults = _faults(lab)
    if faults is None or not operations:
        return []
    began = min(o.asked for o in operations)
    rows = faults.timeline()[["fault", "target", "at", "healed"]].itertuples(index=False)
    outages = [Outage(f"{f} {t}".strip(), _seconds(at) or 0.0, _seconds(h)) for f, t, at, h in rows]
    return [o for o in outages if o.healed is None or o.healed >= began]


def _seconds(moment: Any) -> float | None:
    if moment is None or pd.isna(moment):
        return None
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)
