"""Letters are sent again, and each stays in the queue until it is known what became of it.

    api.dlq ──► held ──► copy ──► api.requests ──► worker ──► answer
                 │                                              │
                 ├── ok, or parked again by the worker: it leaves the queue
                 ├── refused: the same letter, marked, to the end of the queue; then it leaves
                 └── no answer: marked in the same way; its copy waits for a worker

A crash anywhere in between leaves the letter where it was, and maybe a copy of it, too. Replaying
it once more is harmless then: it is the same user's request with the same key or id.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiormq.abc import DeliveredMessage

from labkit.broker.held import Held
from labkit.client.caller import Reply
from labkit.dead_letters import copies, letter
from labkit.dead_letters.letter import UNREADABLE, WHY_UNREADABLE, Letter, Summary
from labkit.dead_letters.post import Post
from labkit.errors import NotMoved
from labkit.ui.printable import printable
from server.contract.topology import REQUESTS

IN_FLIGHT = 200
"""Letters that are on their way at a time."""
REPLAY_TIMEOUT = 60.0
"""Seconds for an answer: a worker that tries again needs half of them."""

ROUND = 900.0
"""Seconds after which everything that is held goes back, and is taken again."""

NOT_SENT = ("no caller", "not moved", UNREADABLE)
NO_CALLER = "Who sent it is not known, nor with what rights. Edit it to send it as your own."


@dataclass(frozen=True)
class ReplayResult:
    """What became of one letter. ``letter``: whether it is still in the queue."""

    number: int
    id: str | None
    action: str | None
    outcome: str
    replays: int
    letter: str
    message: str = ""


class Replay:
    """Sends what is selected, and settles each letter by its answer."""

    def __init__(
        self, held: Held, post: Post, api_key: str, queue: str, patience: float = REPLAY_TIMEOUT
    ) -> None:
        """``queue`` is where ``held`` has its letters from."""
        self._held = held
        self._post = post
        self._api_key = api_key
        self._queue = queue
        self._patience = patience
        self.outcomes: list[ReplayResult] = []
        self._silent = asyncio.Event()
        self._removed = 0

    async def run(
        self,
        wanted: Callable[[Summary], bool],
        pace: "Pace",
        to: str | None,
        tell: Callable[[int], None],
    ) -> list[ReplayResult]:
        """In the order of the queue. It ends early when no worker answers any more."""
        total, seen = await self._held.ready(), 0
        while seen < total and not self._silent.is_set():
            seen += await self._round(seen, total, wanted, pace, to, tell)
            await self._held.give_back()
        return self.outcomes

    async def _round(
        self,
        seen: int,
        total: int,
        wanted: Callable[[Summary], bool],
        pace: "Pace",
        to: str | None,
        tell: Callable[[int], None],
    ) -> int:
        """How many letters were looked at, behind those that were ``seen`` in earlier rounds.

        What is put back meanwhile is behind them. A broker takes everything away from a client that
        holds a letter for half an hour, so a slow replay gives back what it holds before that.
        """
        until, slots = time.monotonic() + ROUND, asyncio.Semaphore(IN_FLIGHT)
        number, first = self._removed, seen + 1
        async with asyncio.TaskGroup() as tasks:
            async for batch in self._held.all(IN_FLIGHT, total - self._removed):
                for message in batch:
                    if self._silent.is_set() or time.monotonic() > until:
                        return max(0, number + 1 - first)
                    number += 1
                    one = letter.read(number, message, self._post.user)
                    if number >= first and wanted(one.summary):
                        await pace.next()
                        await slots.acquire()
                        tasks.create_task(self._one(one, message, to, slots, tell))
        return number + 1 - first

    async def _one(
        self,
        one: Letter,
        message: DeliveredMessage,
        to: str | None,
        slots: asyncio.Semaphore,
        tell: Callable[[int], None],
    ) -> None:
        try:
            if self._silent.is_set():
                return
            self.outcomes.append(await self._send(one, message, to or REQUESTS))
            tell(1)
        except NotMoved as error:
            self.outcomes.append(_outcome(one, "not moved", "stays", str(error)))
        finally:
            slots.release()

    async def _send(self, one: Letter, message: DeliveredMessage, to: str) -> ReplayResult:
        if not one.is_readable:
            return _outcome(one, UNREADABLE, "stays", WHY_UNREADABLE)
        if to != REQUESTS:
            return await self._elsewhere(one, message, to)
        return await self._to_origin(one, message, to)

    async def _elsewhere(self, one: Letter, message: DeliveredMessage, to: str) -> ReplayResult:
        await self._post.put(to, *copies.marked(one, {}))
        await self._remove(message)
        return _outcome(one, f"moved to {to}", "left")

    async def _to_origin(self, one: Letter, message: DeliveredMessage, to: str) -> ReplayResult:
        if one.caller is None:
            return _outcome(one, "no caller", "stays", NO_CALLER)
        copy, body = copies.request_again(one, self._api_key)
        answer = await self._post.ask(to, copy, body, self._patience)
        if answer is None:
            self._silent.set()
            await self._put_back(one, message, {})
            return _outcome(one, "unknown", "stays", "No answer came; its copy waits for a worker.")
        if answer.error is not None and not answer.parked:
            said = _message(answer)
            await self._put_back(one, message, {"code": answer.outcome, "error": said})
            return _outcome(one, answer.outcome, "stays", said)
        await self._remove(message)
        return _answered(one, answer)

    async def _remove(self, message: DeliveredMessage) -> None:
        await self._held.remove(message)
        self._removed += 1

    async def _put_back(
        self, one: Letter, message: DeliveredMessage, refusal: dict[str, str]
    ) -> None:
        await self._post.put(self._queue, *copies.marked(one, refusal))
        await self._remove(message)


class Pace:
    """At most ``rate`` a second; as fast as can be without."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 0.0 if rate is None else 1 / rate
        self._next = time.monotonic()

    async def next(self) -> None:
        wait = self._next - time.monotonic()
        self._next = max(self._next, time.monotonic()) + self._interval
        if wait > 0:
            await asyncio.sleep(wait)


def _answered(one: Letter, answer: Reply) -> ReplayResult:
    if answer.parked:
        return _outcome(one, f"parked again: {answer.outcome}", "stays", _message(answer))
    return _outcome(one, "replayed" if answer.replayed else "ok", "left")


def _message(answer: Reply) -> str:
    return "" if answer.error is None else str(answer.error["message"])


def _outcome(one: Letter, outcome: str, where: str, message: str = "") -> ReplayResult:
    said: dict[str, Any] = {name: getattr(one.summary, name) for name in ("number", "id", "action")}
    replays = one.summary.replays + (outcome not in NOT_SENT)
    said |= {"outcome": printable(outcome), "message": printable(message)}
    return ReplayResult(**said, replays=replays, letter=where)
