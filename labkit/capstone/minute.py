"""Stage 15: a minute in which everything goes wrong, judged by the ledger."""

import asyncio
from collections.abc import Awaitable, Callable

from labkit.capstone.stage import Stage
from labkit.capstone.trial import Broken, Trial
from labkit.experiments.crash import SteadyLoad
from labkit.ledger import Ledger

PER_SECOND = 10
POISON = 3
SERVERS = 2
PATIENT = 30.0
"""Seconds that a caller waits: longer than anything is away. What expires leaves no trace in a
server that is not ours, and could not be distinguished from what is lost.
"""


async def a_minute(trial: Trial) -> str:
    await trial.start(SERVERS)
    ledger = Ledger(trial.lab)
    client = ledger.watch(trial.client)

    async def create(number: int) -> object:
        book, key = {"title": f"Book {number}", "author": "A"}, f"minute-{number}"
        return await client.call("create_book", book, idempotency_key=key, timeout=PATIENT)

    await ledger.begin()
    async with SteadyLoad(create, PER_SECOND) as load:
        for what, happens in MISHAPS.items():
            trial.say(f"Ten requests a second; next: {what} …")
            await asyncio.sleep(trial.seconds / (len(MISHAPS) + 1))
            await happens(trial, ledger)
            await _have_two(trial)
        trial.say("Ten requests a second; next: the ledger …")
        await asyncio.sleep(trial.seconds / (len(MISHAPS) + 1))
        calls = await load.stop()
    verdict = await ledger.verdict()
    if not verdict.ok:
        raise Broken(repr(verdict), verdict.found[0].operation or "")
    answered = int((calls["outcome"] == "answered").sum())
    return f"{len(calls)} books asked for, {answered} answered. {verdict}"


async def _have_two(trial: Trial) -> None:
    """Those that ended are started again, as systemd or Kubernetes would; the next mishap comes
    when all of them are back.
    """
    gone = [server for server in trial.servers if not server.alive()]
    for server in gone:
        trial.servers.remove(server)
    await trial.start(len(gone))

    async def both_consume() -> bool:
        return await trial.consumers() >= SERVERS

    again = f"{PATIENT:g} s after it was disturbed, not all of your servers consume again."
    await trial.until(both_consume, again, PATIENT)


async def _poison(trial: Trial, ledger: Ledger) -> None:
    for number in range(POISON):
        name = f"poison-{number}"
        await trial.send(b"no JSON", name)
        ledger.poison(name)
    await trial.holds_letters(POISON)


async def _restart_broker(trial: Trial, ledger: Ledger) -> None:
    await trial.lab.faults.restart("broker")


async def _restart_database(trial: Trial, ledger: Ledger) -> None:
    await trial.lab.faults.restart("database")


async def _kill(trial: Trial, ledger: Ledger) -> None:
    await asyncio.to_thread(trial.servers[0].kill)


async def _cut(trial: Trial, ledger: Ledger) -> None:
    await trial.lab.faults.close_connections("worker")


MISHAPS: dict[str, Callable[[Trial, Ledger], Awaitable[None]]] = {
    "messages that nothing can read": _poison,
    "a server is killed": _kill,
    "the broker is restarted": _restart_broker,
    "all connections to it are cut": _cut,
    "the database is restarted": _restart_database,
}

MINUTE = Stage(
    15,
    "One minute",
    minutes=10,
    stars=3,
    task=(
        "Ten requests a second, and two of your servers. Messages come that nothing can read; a"
        " server is killed; the broker is restarted, then the connections to it are cut, then "
        "the database is restarted. Afterwards the ledger judges: what was accepted is "
        "somewhere, and nothing was done twice. Think of what a restart of the broker does to "
        "each of your messages: a durable queue does not make the messages in it persistent."
    ),
    tips=(
        "`api.dlq` is a classic queue. What happens to its letters when the broker is restarted?",
        "`aio_pika.Message(…, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)`.",
    ),
    check=a_minute,
    private=True,
)
