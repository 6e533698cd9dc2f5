"""One pair: the second fault comes while the system recovers from the first; the ledger judges."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.pairs.cells import FAULTS, LOCK_TIMEOUT, Cell, Pair
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
CALL_TIMEOUT = 30.0
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

    pair: Pair
    seen: str
    spared: bool = False


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Lab]:
    """A lab for any number of pairs: two workers that obey, and are started again."""
    settings: dict[str, Any] = {"lock_timeout": LOCK_TIMEOUT, "retry_delays": RETRY_DELAYS}
    async with Lab.open(name, workers=0, supervised=True, **settings) as lab:
        await lab.start_workers(WORKERS, obedient=True)
        yield lab


async def run(lab: Lab, pair: Pair, folder: Path | None = None) -> Outcome:
    """A violation leaves its ledger and the story of its request in ``folder``."""
    await lab.faults.undo()
    await lab.reset()
    ledger = Ledger(lab)
    client = await lab.client(timeout=CALL_TIMEOUT)
    calls: Calls = {}
    missed, spared = "", False
    async with lab.record() as recording:
        try:
            spared = await _both(lab, ledger.watch(client), pair, calls)
        except NotReached as error:
            missed = str(error)
            await lab.faults.undo()
        ended = await asyncio.gather(*calls.values(), return_exceptions=True)
        verdict = await ledger.verdict()
    await client.close()
    answers = {name: _answer(end) for name, end in zip(calls, ended, strict=True)}
    titles = (await lab.rows("books_v1"))["title"].tolist()
    seen = missed or _seen(answers, verdict, titles)
    if seen and folder is not None:
        await _keep(ledger, verdict, recording, folder, f"{pair[0]}, then {pair[1]}: {seen}")
    return Outcome(pair, seen, spared)


async def _both(lab: Lab, client: Caller, pair: Pair, calls: Calls) -> bool:
    """Whether one of them was spared. ``calls`` gets each that is asked, by its name. Raises
    ``NotReached``.
    """
    first, second = pair
    async with await _armed(lab, first, FIRST) as one:
        calls[FIRST] = asyncio.create_task(_write(client, FIRST, BOOK, "k"))
        for number in range(BYSTANDERS):
            calls[f"bystander {number}"] = asyncio.create_task(_bystander(client, number))
        await one.reached(CALL_TIMEOUT)
        spared = await _spared(lab, first, one)
        # From here on it recovers. The second fault takes whichever request gets to its step.
        two = await _armed(lab, second, None)
    async with two:
        calls[SECOND] = asyncio.create_task(_write(client, SECOND, DUNE, "d"))
        calls[REPETITION] = asyncio.create_task(_write(client, REPETITION, BOOK, "k"))
        await two.reached(CALL_TIMEOUT)
        return await _spared(lab, second, two) or spared


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
