"""What an operator can do with dead letters. Looking changes nothing but their ``redelivered``."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from aiormq.abc import AbstractChannel

from labkit.broker.held import Held, connected, holding
from labkit.client.caller import Reply
from labkit.dead_letters import archive, copies, edit, journal, letter, librarian
from labkit.dead_letters.aside import Aside
from labkit.dead_letters.letter import Letter, Summary
from labkit.dead_letters.post import Post
from labkit.dead_letters.reading import Pairs, batches, find
from labkit.dead_letters.replay import REPLAY_TIMEOUT, Pace, Replay, ReplayResult
from labkit.dead_letters.selection import Selection
from labkit.errors import BadSelection
from labkit.ui.progress import Tally
from server.contract.topology import DEAD_LETTERS, REQUESTS, SET_ASIDE
from server.contract.vouching import user_of

AT_A_TIME = 500
"""Letters of an archive that are published before the first of them is confirmed."""

Summaries = list[Summary]


class DeadLetters:
    """The dead letters of one virtual host; ``api_key`` is the operator's own, a librarian's.

    ``selection`` is, wherever it can be given: ``error``, ``action``, ``version``, ``ids``, each a
    name or several; ``since``, a time or how long ago, ``"10m"``; ``replays``, how often replayed;
    ``number``, a place in the list or several; ``unreadable=True``, what cannot be decoded.

    Every method raises ``BrokerAway``; ``QueueInUse`` while another operator has the letters.
    """

    def __init__(
        self,
        amqp_url: str,
        api_key: str,
        *,
        patience: float = REPLAY_TIMEOUT,
        queue: str = DEAD_LETTERS,
    ) -> None:
        """``patience`` is how many seconds a replayed letter's answer is waited for. ``queue``:
        another one that holds letters, ``api.dlq.unreadable``.
        """
        self._url = amqp_url
        self._user = user_of(amqp_url)
        self._api_key = api_key
        self._patience = patience
        self._queue = queue

    async def list(self, **selection: Any) -> pd.DataFrame:
        """One row for each letter, by its ``number`` in the queue, from 1 (int64).

        Columns: ``id``, ``version``, ``action`` and ``error``, the code (str, missing where the
        server did not say); ``attempts`` and ``replays`` (int64); ``parked_at`` (datetime64[us,
        UTC], NaT where it is not known); ``edited_from``, the id before an edit (str or missing).

        Raises ``BadSelection``, ``QueueInUse`` and ``BrokerAway``.
        """
        return letter.table(await self._summaries(_selection(selection)))

    async def groups(self, **selection: Any) -> pd.DataFrame:
        """One row for each ``error`` and ``action``, the most frequent first.

        Columns: ``letters``, and how many of them were ``replayed`` before (int64); when the
        ``first`` and the ``last`` of them were dead-lettered (datetime64[us, UTC]).

        Raises as ``list``.
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
        async with self._held() as (held, _):
            found, _ = await find(held, self._user, id, number)
        return found

    async def replay(
        self,
        *,
        rate: float | None = None,
        dry_run: bool = False,
        to: str | None = None,
        **selection: Any,
    ) -> pd.DataFrame:
        """What became of each letter that was selected: one row by its ``number`` (int64).

        Columns: ``id`` and ``action`` (str or missing); ``outcome`` (str): ``ok``, the error's
        code, or what was or would be done; ``replays`` (int64); ``letter`` (str), whether it left
        the queue or stays; ``message`` (str), what the server said.

        ``rate``: letters a second. ``to``: another queue than its origin, without any key in it,
        and without an answer.

        Raises ``Unauthorized``, ``Forbidden`` or ``NobodyAnswers`` before anything is moved.
        """
        if rate is not None and not rate > 0:
            raise BadSelection(f"rate is {rate}: give letters a second, more than 0.")
        wanted = _selection(selection)
        if dry_run:
            return _would(await self._summaries(wanted))
        async with connected(self._url) as connection:
            post = await Post.open(connection, self._url)
            if to in (None, REQUESTS):
                await librarian.check(post, self._api_key, self._patience)
            async with holding(connection, self._queue) as held:
                work = Replay(held, post, self._api_key, self._queue, self._patience)
                try:
                    with Tally("replayed", await held.ready()) as tally:
                        return _table(await work.run(wanted.fits, Pace(rate), to, tally.add))
                finally:
                    left = [outcome.id for outcome in work.outcomes if outcome.letter == "left"]
                    journal.note(self._url, "replayed", left)

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

        Raises ``BadSelection`` if it is not there, or cannot be edited like that;
        ``Unauthorized``, ``Forbidden`` or ``NobodyAnswers`` before anything is sent; and
        ``ReplyTimeout``.
        """
        changes = {"data": data, "action": action, "version": version}
        async with self._held() as (held, post):
            await librarian.check(post, self._api_key, self._patience)
            found, message = await find(held, self._user, id, number)
            sent = edit.request(found, changes)
            reply = await edit.send(found, sent, post, self._api_key, self._patience)
            if reply.error is None:
                journal.note(self._url, "edited", [found.id, found.correlation_id], sent)
                await held.remove(message)
        return reply

    async def set_aside(self, **selection: Any) -> int:
        """Letters go to ``api.dlq.unreadable``, where nothing meets them; how many.

        Raises ``NotMoved`` if the broker does not take one: it stays, with those behind it.
        """
        wanted, count = _selection(selection), 0
        if self._queue == SET_ASIDE:
            raise BadSelection(f"They are aside already, in {SET_ASIDE}.")
        async with connected(self._url) as connection:
            post = await Post.open(connection, self._url)
            async with holding(connection, self._queue) as held:
                aside = await Aside.open(connection, held, post)
                async for mine in self._wanted(held, wanted, "looked at"):
                    journal.note(self._url, "set aside", _names(mine))
                    count += await aside.move(mine)
        return count

    async def archive(self, path: str | Path, **selection: Any) -> int:
        """Letters go from the queue into a new file, once the disk has them. How many.

        Raises ``BadSelection`` if the file exists.
        """
        wanted, path, count = _selection(selection), Path(path), 0
        async with self._held() as (held, _):
            with archive.create(path) as file:
                archive.keep(path)
                async for mine in self._wanted(held, wanted, "archived"):
                    archive.write(file, [one for one, _ in mine], self._user)
                    journal.note(self._url, "archived", _names(mine))
                    for _, message in mine:
                        await held.remove(message)
                    count += len(mine)
        return count

    async def restore(self, path: str | Path) -> int:
        """The letters of an archive are in the queue again, too; the file stays. How many.

        Raises ``BadSelection`` before anything is done if it is no archive.
        """
        count = sum(1 for _ in archive.read(Path(path), self._user))
        async with connected(self._url) as connection:
            post = await Post.open(connection, self._url)
            with Tally("restored", count) as tally:
                await self._publish(post, Path(path), tally)
        return count

    async def purge(self, queue: str = "", **selection: Any) -> int:
        """Delete letters for ever, without a selection all of them; how many those were. It has to
        be given the queue's name.

        Raises ``BadSelection`` if it is another one, or none.
        """
        wanted, count = _selection(selection), 0
        if queue != self._queue:
            raise BadSelection(self._how_to_purge(len(await self._summaries(wanted))))
        if wanted == Selection():
            async with connected(self._url) as connection:
                return await self._purge_unseen(await connection.channel())
        async with self._held() as (held, _):
            async for mine in self._wanted(held, wanted, "looked at"):
                journal.note(self._url, "purged", _names(mine))
                for _, message in mine:
                    await held.remove(message)
                count += len(mine)
        return count

    async def _purge_unseen(self, channel: AbstractChannel) -> int:
        """Noted before it is done: the answer may be lost, and the letters are gone all the same.
        Those that come in between are noted afterwards.
        """
        count = (await channel.queue_declare(self._queue, passive=True)).message_count or 0
        journal.note_unseen(self._url, "purged", count)
        purged = (await channel.queue_purge(self._queue)).message_count or 0
        if purged > count:
            journal.note_unseen(self._url, "purged", purged - count)
        return purged

    def _how_to_purge(self, count: int) -> str:
        letters = f"{count:,} letter{'s' * (count != 1)}"
        return (
            f"Nothing was done. {letters} would be gone for ever: to purge them, "
            f"give the queue's name, {self._queue}. To keep them in a file, archive them."
        )

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[tuple[Held, Post]]:
        async with connected(self._url) as connection:
            post = await Post.open(connection, self._url)
            async with holding(connection, self._queue) as held:
                yield held, post

    async def _wanted(self, held: Held, wanted: Selection, verb: str) -> AsyncIterator[Pairs]:
        """Of each batch those that are meant; how many were ``verb`` so far is shown."""
        with Tally(verb, await held.ready()) as tally:
            async for batch in batches(held, self._user):
                yield [(one, message) for one, message in batch if wanted.fits(one.summary)]
                tally.add(len(batch))

    async def _summaries(self, wanted: Selection) -> Summaries:
        found: Summaries = []
        async with self._held() as (held, _):
            async for mine in self._wanted(held, wanted, "looked at"):
                found += [one.summary for one, _ in mine]
        return found

    async def _publish(self, post: Post, path: Path, tally: Tally) -> None:
        waiting: set[asyncio.Task[None]] = set()
        for one in archive.read(path, self._user):
            waiting.add(asyncio.create_task(post.put(self._queue, *copies.moved(one))))
            if len(waiting) >= AT_A_TIME:
                await asyncio.gather(*waiting)
                tally.add(len(waiting))
                waiting.clear()
        await asyncio.gather(*waiting)


def _selection(given: dict[str, Any]) -> Selection:
    try:
        return Selection.of(**given)
    except TypeError as error:
        raise BadSelection(f"{error}. There is: {', '.join(Selection.__annotations__)}.") from None


def _names(pairs: Pairs) -> Iterator[str | None]:
    """What their senders know them by."""
    return (name for one, _ in pairs for name in (one.id, one.correlation_id))


def _would(summaries: Summaries) -> pd.DataFrame:
    return _table(
        [
            ReplayResult(s.number, s.id, s.action, "would be sent", s.replays, "stays")
            for s in summaries
        ]
    )


def _table(outcomes: list[ReplayResult]) -> pd.DataFrame:
    columns = list(ReplayResult.__dataclass_fields__)
    rows = [asdict(outcome) for outcome in sorted(outcomes, key=lambda each: each.number)]
    return pd.DataFrame(rows, columns=columns).set_index("number")
