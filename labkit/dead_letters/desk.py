"""What an operator can do with dead letters. Looking changes nothing but their ``redelivered``."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from aiormq.abc import DeliveredMessage
from pamqp import commands as spec
from pydantic_core import to_json

from labkit.caller import Reply
from labkit.dead_letters import archive, edit, letter
from labkit.dead_letters.held import Held, connected, holding
from labkit.dead_letters.letter import Letter, Summary
from labkit.dead_letters.post import Post
from labkit.dead_letters.replay import PATIENCE, Outcome, Pace, Replay
from labkit.dead_letters.selection import Selection
from labkit.errors import BadSelection, NobodyAnswers
from labkit.progress import Tally
from server.contract import DEADLINE, JSON, ON_BEHALF_OF
from server.errors import from_wire
from server.topology import DEAD_LETTERS, REQUESTS

CHECK = 10.0
"""Seconds in which a worker has to say whether the operator is one."""
AT_A_TIME = 500
"""Letters of an archive that are published before the first of them is confirmed."""

Summaries = list[Summary]


class DeadLetters:
    """The dead letters of one virtual host; ``api_key`` is the operator's own, a librarian's.

    ``selection`` is, wherever it can be given: ``error``, ``action``, ``version``, ``ids``, each a
    name or several; ``since``, a time or how long ago, ``"10m"``; ``replays``, how often replayed.

    Every method raises ``BrokerAway``; ``QueueInUse`` while another operator has the letters.
    """

    def __init__(self, amqp_url: str, api_key: str, *, patience: float = PATIENCE) -> None:
        """``patience`` is how many seconds a replayed letter's answer is waited for."""
        self._url = amqp_url
        self._api_key = api_key
        self._patience = patience

    async def list(self, **selection: Any) -> pd.DataFrame:
        """One row for each letter, in the queue's order."""
        return letter.table(await self._summaries(_selection(selection)))

    async def groups(self, **selection: Any) -> pd.DataFrame:
        """How many letters there are of each error and action, since when, and how many of them
        were replayed before.
        """
        table = await self.list(**selection)
        table["replayed"] = table["replays"] > 0
        by = table.groupby(["error", "action"], dropna=False)
        counted = by.agg(
            letters=("replayed", "size"),
            replayed=("replayed", "sum"),
            first=("parked_at", "min"),
            last=("parked_at", "max"),
        )
        return counted.sort_values("letters", ascending=False).reset_index()

    async def show(self, id: str | None = None, *, number: int | None = None) -> Letter:
        """The first letter of this id, or the one at this place, whole. Raises ``BadSelection``."""
        async with self._held() as held:
            found, _ = await _find(held, id, number)
        return found

    async def replay(
        self,
        *,
        rate: float | None = None,
        dry_run: bool = False,
        to: str | None = None,
        **selection: Any,
    ) -> pd.DataFrame:
        """What became of each letter that was selected: its ``outcome``, and whether it left the
        queue or stays. ``rate``: letters a second. ``to``: another queue than its origin, without
        any key in it, and nobody answers.

        Raises ``Unauthorized``, ``Forbidden`` or ``NobodyAnswers`` before anything is moved.
        """
        if rate is not None and not rate > 0:
            raise BadSelection(f"rate is {rate}: give letters a second, more than 0.")
        wanted = _selection(selection)
        if dry_run:
            return _would(await self._summaries(wanted))
        async with connected(self._url) as connection:
            post = await Post.open(connection)
            if to in (None, REQUESTS):
                await self._check(post)
            async with holding(connection, DEAD_LETTERS) as held:
                work = Replay(held, post, self._api_key, self._patience)
                with Tally("replayed", await held.ready()) as tally:
                    return _table(await work.run(wanted.fits, Pace(rate), to, tally.add))

    async def edit(
        self,
        id: str | None = None,
        *,
        number: int | None = None,
        data: dict[str, Any] | None = None,
        action: str | None = None,
        version: str | None = None,
    ) -> Reply:
        """Send the letter's request with these changes, linked to it by a header; the reply.

        If that is ok the letter leaves the queue, else it stays. A letter that does not tell who
        sent it is sent as the operator's own request.
        """
        changes = {"data": data, "action": action, "version": version}
        async with connected(self._url) as connection:
            post = await Post.open(connection)
            await self._check(post)
            async with holding(connection, DEAD_LETTERS) as held:
                found, message = await _find(held, id, number)
                reply = await edit.send(found, changes, post, self._api_key, self._patience)
                if reply.error is None:
                    await held.remove(message)
        return reply

    async def archive(self, path: str | Path, **selection: Any) -> int:
        """Letters go from the queue into a new file, once the disk has them. How many."""
        wanted, path, count = _selection(selection), Path(path), 0
        async with self._held() as held:
            with archive.create(path) as file, Tally("archived", await held.ready()) as tally:
                archive.keep(path)
                async for batch in _letters(held):
                    mine = [(one, message) for one, message in batch if wanted.fits(one.summary)]
                    archive.write(file, [one for one, _ in mine])
                    for _, message in mine:
                        await held.remove(message)
                    count += len(mine)
                    tally.add(len(batch))
        return count

    async def restore(self, path: str | Path) -> int:
        """The letters of an archive are in the queue again, too; the file stays. How many.

        Raises ``BadSelection`` before anything is done if it is no archive.
        """
        count = sum(1 for _ in archive.read(Path(path)))
        async with connected(self._url) as connection:
            post = await Post.open(connection)
            with Tally("restored", count) as tally:
                await _publish(post, archive.read(Path(path)), tally)
        return count

    async def purge(self, queue: str = "") -> int:
        """Empty the queue for ever; how many letters that were. It has to be told the queue's name.

        Raises ``BadSelection`` if it is another one, or none.
        """
        async with connected(self._url) as connection:
            channel = await connection.channel()
            if queue != DEAD_LETTERS:
                count = await Held(channel, DEAD_LETTERS).ready()
                letters = f"{count:,} letter{'s' * (count != 1)}"
                raise BadSelection(
                    f"Nothing was done. {letters} would be gone for ever: to purge them, "
                    f"give the queue's name, {DEAD_LETTERS}. To keep them in a file, archive them."
                )
            return (await channel.queue_purge(queue)).message_count or 0

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[Held]:
        async with connected(self._url) as connection, holding(connection, DEAD_LETTERS) as held:
            yield held

    async def _summaries(self, wanted: Selection) -> Summaries:
        found: Summaries = []
        async with self._held() as held:
            with Tally("looked at", await held.ready()) as tally:
                async for batch in _letters(held):
                    found += [one.summary for one, _ in batch if wanted.fits(one.summary)]
                    tally.add(len(batch))
        return found

    async def _check(self, post: Post) -> None:
        """Somebody answers, and the operator may send requests for others."""
        me = f"key:{hashlib.sha256(self._api_key.encode()).hexdigest()}"
        properties = spec.Basic.Properties(
            content_type=JSON,
            correlation_id="operator",
            message_id="operator",
            headers={ON_BEHALF_OF: me, DEADLINE: round((time.time() + CHECK) * 1000)},
        )
        body = to_json(
            {
                "id": "operator",
                "version": "v1",
                "action": "get_books",
                "data": {"limit": 1},
                "auth": self._api_key,
            }
        )
        answer = await post.ask(REQUESTS, properties, body, min(CHECK, self._patience))
        if answer is None:
            raise NobodyAnswers
        if answer.reply.error is not None:
            raise from_wire(answer.reply.error)


Pair = tuple[Letter, DeliveredMessage]


def _selection(given: dict[str, Any]) -> Selection:
    try:
        return Selection.of(**given)
    except TypeError as error:
        raise BadSelection(f"{error}. There is: {', '.join(Selection.__annotations__)}.") from None


async def _letters(held: Held) -> AsyncIterator[list[Pair]]:
    number = 1
    async for batch in held.all():
        yield [(letter.read(n, message), message) for n, message in enumerate(batch, number)]
        number += len(batch)


async def _find(held: Held, id: str | None, number: int | None) -> Pair:
    if (id is None) == (number is None):
        raise BadSelection("Which letter? Give its id, or its number in the list.")
    async for batch in _letters(held):
        for one, message in batch:
            if one.summary.number == number if id is None else one.id == id:
                return one, message
    raise BadSelection(f"No letter has the {'id' if id else 'number'} {id or number}.")


async def _publish(post: Post, messages: Any, tally: Tally) -> None:
    waiting: set[asyncio.Task[None]] = set()
    for properties, body in messages:
        waiting.add(asyncio.create_task(post.put(DEAD_LETTERS, properties, body)))
        if len(waiting) >= AT_A_TIME:
            await asyncio.gather(*waiting)
            tally.add(len(waiting))
            waiting.clear()
    await asyncio.gather(*waiting)


def _would(summaries: Summaries) -> pd.DataFrame:
    return _table(
        [Outcome(s.number, s.id, s.action, "would be sent", s.replays, "stays") for s in summaries]
    )


def _table(outcomes: list[Outcome]) -> pd.DataFrame:
    columns = list(Outcome.__dataclass_fields__)
    rows = [asdict(outcome) for outcome in sorted(outcomes, key=lambda each: each.number)]
    return pd.DataFrame(rows, columns=columns).set_index("number")
