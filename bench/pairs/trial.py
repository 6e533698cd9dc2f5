"""One trial: a fault, and mostly a second one while the system recovers; the ledger judges."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.pairs.cells import FAULTS, LOCK_TIMEOUT, Cell, Cells
from labkit import Lab, Ledger
from labkit.client.caller import Caller, Reply
from labkit.errors import FaultImpossible, NoStory
from labkit.faults.fault import NotReached
from labkit.ledger import Verdict
from labkit.story import Recording
from server.contract.errors import InProgress

WORKERS = 2
RETRY_DELAYS = "0.05,0.2,1,3,10"
"""Seconds. Together longer than both faults last: what is in progress is not given up."""
CALL_TIMEOUT = 60.0
"""Seconds: a frozen leader is given up after some fifteen, and its requests are tried again."""
FIRST, SECOND, REPETITION = "first", "second", "repetition"
BYSTANDERS = 4
BOOK = {"title": "1984", "author": "George Orwell", "year": 1949}
DUNE = {"title": "Dune", "author": "Frank Herbert", "year": 1965}

Calls = dict[str, "asyncio.Task[Reply]"]
"""By what is asked."""


@dataclass(frozen=True)
class Outcome:
    """``seen`` is what was wrong, in words; empty if all is as it has to be. ``spared``: a fault
    found nothing to break, for no connection was open: the one before had closed it.
    """

    cells: Cells
    seen: str
    spared: bool = False


@asynccontextmanager
async def opened(name: str, *, brokers: int = 1) -> AsyncIterator[Lab]:
    """A lab for any number of trials: two workers that obey, and are started again. With three
    brokers it has a cluster of its own.
    """
    settings: dict[str, Any] = {"lock_timeout": LOCK_TIMEOUT, "retry_delays": RETRY_DELAYS}
    if brokers > 1:
        settings |= {"private": True, "brokers": brokers}
    async with Lab.open(name, workers=0, supervised=True, **settings) as lab:
        await lab.start_workers(WORKERS, obedient=True)
        yield lab


async def run(lab: Lab, cells: Cells, folder: Path | None = None) -> Outcome:
    """A violation leaves its ledger and the story of its request in ``folder``."""
    await lab.faults.undo()
    await lab.reset()
    ledger = Ledger(lab)
    client = await lab.client(timeout=CALL_TIMEOUT)
    calls: Calls = {}
    missed, spared = "", False
    async with lab.record() as recording:
        try:
            spared = await _happen(lab, ledger.watch(client), cells, calls)
        except NotReached as error:
            missed = str(error)
            await lab.faults.undo()  # so that the calls end
        ended = await asyncio.gather(*calls.values(), return_exceptions=True)
        await lab.faults.undo()  # a node that is cut off gives back what it holds when it is healed
        verdict = await ledger.verdict()
    await client.close()
    answers = {name: _answer(end) for name, end in zip(calls, ended, strict=True)}
    titles = (await lab.rows("books_v1"))["title"].tolist()
    seen = missed or _seen(answers, verdict, titles)
    if seen and folder is not None:
        title = ", then ".join(map(str, cells))
        await _keep(ledger, verdict, recording, folder, f"{title}: {seen}")
    return Outcome(cells, seen, spared)


async def _happen(lab: Lab, client: Caller, cells: Cells, calls: Calls) -> bool:
    """Whether one of them was spared. ``calls`` gets each that is asked, by its name. Raises
    ``NotReached``.
    """
    first, *then = cells
    async with await _armed(lab, first, FIRST) as one, AsyncExitStack() as recovering:
        calls[FIRST] = asyncio.create_task(_write(client, FIRST, BOOK, "k"))
        for number in range(BYSTANDERS):
            calls[f"bystander {number}"] = asyncio.create_task(_bystander(client, number))
        await one.reached(CALL_TIMEOUT)
        spared = await _spared(lab, first, one)
        # From here on it recovers. A second fault takes whichever request gets to its step.
        later = [(cell, await _armed(lab, cell, None)) for cell in then]
        for _, two in later:
            await recovering.enter_async_context(two)
        await one.heal()
        calls[SECOND] = asyncio.create_task(_write(client, SECOND, DUNE, "d"))
        calls[REPETITION] = asyncio.create_task(_write(client, REPETITION, BOOK, "k"))
        for cell, two in later:
            await two.reached(CALL_TIMEOUT)
            spared = await _spared(lab, cell, two) or spared
    return spared


async def _spared(lab: Lab, cell: Cell, fault: Any) -> bool:
    try:
        await FAULTS[cell.fault][1](lab, fault)
    except FaultImpossible:
        return True
    return False


async def _armed(lab: Lab, cell: Cell, request_id: str | None) -> Any:
    return await FAULTS[cell.fault][0](lab, cell.step, request_id)


async def _write(client: Caller, request_id: str, book: dict[str, Any], key: str) -> Reply:
    return await client.request("create_book", book, request_id=request_id, idempotency_key=key)


async def _bystander(client: Caller, number: int) -> Reply:
    return await client.request("create_author", {"name": f"bystander {number}"}, version="v2")


def _answer(end: Reply | BaseException) -> str:
    if isinstance(end, BaseException):
        return type(end).__name__
    return "ok" if end.error is None else str(end.error["code"])


def _seen(answers: dict[str, str], verdict: Verdict, titles: list[str]) -> str:
    """``in_progress`` is a true answer to one of the two with the same key, if the other one was
    answered: the repetition overtakes a first request that is held before its claim.
    """
    wrong = {name: answer for name, answer in answers.items() if answer != "ok"}
    for one, other in ((FIRST, REPETITION), (REPETITION, FIRST)):
        if answers.get(one) == InProgress.code and answers.get(other) == "ok":
            del wrong[one]
    if wrong:
        return f"answered {wrong}"
    if not verdict.ok:
        return repr(verdict)
    counts = {book["title"]: titles.count(str(book["title"])) for book in (BOOK, DUNE)}
    return "" if set(counts.values()) == {1} else f"books: {counts}"


async def _keep(
    ledger: Ledger, verdict: Verdict, recording: Recording, folder: Path, title: str
) -> None:
    """What goes into a bug report: ``story.md`` can be read by itself."""
    ledger.save(folder / "ledger.json.gz")
    broken = [*verdict.violations["operation"], FIRST, SECOND]
    story = "No story of the request was recorded."
    for request_id in dict.fromkeys(map(str, broken)):
        try:
            found = await recording.story(request_id)
        except NoStory:
            continue
        story = f"```mermaid\n{found.mermaid()}\n```\n\n```\n{found!r}\n```"
        break
    (folder / "story.md").write_text(f"# {title}\n\n{story}\n", encoding="utf-8")
