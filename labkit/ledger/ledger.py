"""The ledger of a run: who asked what, what was answered, and whether that is true."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pandas as pd

from labkit.client.caller import Caller, Reply
from labkit.errors import NoLedger
from labkit.ledger import saved
from labkit.ledger.clocks import Clock
from labkit.ledger.collect import Start, begin, collect
from labkit.ledger.draining import drained
from labkit.ledger.operations import NO_REPLY, POISON, WAITING, Operation, without_secrets
from labkit.ledger.others import Others
from labkit.ledger.verdict import Verdict, as_table, judge
from labkit.ledger.watched import Watched, key_digest, with_reply

if TYPE_CHECKING:
    from labkit.lab import Lab


class Ledger:
    """``client = Ledger(lab).watch(await lab.client())``; from then on every call is written down.

    It begins with the first call: PostgreSQL then starts to note every change of a book or an
    author in this lab. Each of them has to be one that a watched client asked for, or one of
    ``others``, who are named, or one that is recorded.
    """

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab
        self._clock = Clock()
        self._operations: dict[int, Operation] = {}
        self._since: Start | None = None
        self._beginning = asyncio.Lock()
        self._verdict: Verdict | None = None
        self._clients: list[Caller] = []
        self._others = Others()
        self._judged = 0

    def watch(self, client: Caller) -> Watched:
        """The client, whose operations are written down from now on. It is borrowed, not owned."""
        if client not in self._clients:
            self._clients.append(client)
        number = self._clients.index(client)
        return Watched(client, self._operations, self.begin, number, self._clock)

    def others(
        self,
        *,
        keys: Iterable[str] = (),
        ids: Iterable[str] = (),
        api_key: str | None = None,
        everybody: bool = False,
        sql: bool = False,
    ) -> None:
        """Name those whose changes are none of this run's, and no violation.

        ``keys`` and ``ids`` are idempotency keys and ids of their requests, ``api_key`` is their
        user's; ``everybody`` is any request that is not watched. ``sql`` is who changes the tables
        by hand, and claims nothing. What was named before stays named.
        """
        them = self._others
        self._others = Others(
            [*them.keys, *keys],
            [*them.ids, *ids],
            [*them.users, *([key_digest(api_key)] if api_key else [])],
            them.everybody or everybody,
            them.sql or sql,
        )

    async def begin(self) -> None:
        """Have the changes of the database noted. The first call does it, too."""
        await self._begun()

    async def _begun(self) -> Start:
        async with self._beginning:
            if self._since is not None:
                return self._since
            try:
                self._since = await begin(self._lab, self._clock)
            except asyncpg.UndefinedTableError:  # no worker was ever started in this lab
                await self._lab.admin("users", "list")  # makes the tables, as a worker would
                self._since = await begin(self._lab, self._clock)
            return self._since

    def record(self, body: bytes | Mapping[str, Any], reply: bytes | None = None) -> None:
        """Write down a request that was sent without a watched client, by aio-pika for one.

        ``body`` is the request's JSON, ``reply`` that of the reply; None if none came: the outcome
        is unknown. Call ``await ledger.begin()`` before the request is sent: between these two
        calls it was asked and answered, as far as the ledger knows.
        """
        request = json.loads(body) if isinstance(body, bytes) else dict(body)
        now = self._clock.now()
        operation = Operation(
            str(request["id"]),
            request["action"],
            request["version"],
            without_secrets(request.get("data") or {}),
            request.get("idempotency_key"),
            user=key_digest(request.get("auth")),
            asked=now if self._since is None else self._since.at,
            code=NO_REPLY,
        )
        if reply is not None:
            operation = with_reply(operation, Reply(**json.loads(reply), body=reply), now)
        self._add(operation)

    def poison(self, request_id: str, *, accepted: bool = True) -> None:
        """Write down a message that cannot be read, sent with this ``correlation_id``.

        It has to end in the dead letter queue if the broker has ``accepted`` it: confirmed it, that
        is. Without a confirm it may be anywhere.
        """
        nothing = Operation(request_id, POISON, "", {}, asked=self._clock.now(), code=NO_REPLY)
        self._add(replace(nothing, accepted=accepted))

    def _add(self, operation: Operation) -> None:
        self._operations[len(self._operations)] = operation

    def operations(self) -> pd.DataFrame:
        """One row for each operation, in the order in which they were asked for.

        Columns: ``id``, ``key``, ``version``, ``action`` (str); ``asked`` (datetime64[us, UTC]);
        ``took``, seconds until the answer (float64, NaN while there is none); ``outcome`` (str:
        ``ok``, ``refused`` or ``unknown``), ``code`` of an error, or ``waiting``, ``cancelled`` or
        ``no reply`` while there is no answer (str), and ``replayed`` (bool).

        After a verdict also ``where`` it ended (str), and how many times it is ``in the database``
        (int64).
        """
        known = list(self._operations.values())
        if self._verdict is not None and self._judged == len(known):
            return self._verdict.operations
        return as_table(known)

    async def verdict(self, within: float = 60.0) -> Verdict:
        """Waits up to ``within`` seconds until calls and queues are done with, and judges the run.

        Queues that are not empty then are a violation; calls that still wait are unknown.
        """
        since = await self._begun()
        left = await drained(self._lab, self._waiting, within)
        evidence = await collect(
            self._lab, self._operations.values(), self._others, since, left, self._clock
        )
        self._judged = len(self._operations)
        self._verdict = judge(evidence)
        return self._verdict

    def __len__(self) -> int:
        """How many operations were asked so far."""
        return len(self._operations)

    def _waiting(self) -> int:
        return sum(operation.code == WAITING for operation in self._operations.values())

    def save(self, path: str | Path) -> Path:
        """What the last verdict was made of, as a file: ``python -m labkit ledger FILE`` judges it
        again. Raises ``NoLedger`` if there was no verdict yet.
        """
        if self._verdict is None:
            raise NoLedger("There is nothing to save yet: `await ledger.verdict()` first.")
        return saved.save(self._verdict.evidence, path)

    @staticmethod
    def load(path: str | Path) -> Verdict:
        """A saved run, judged again. Raises ``NoLedger`` for what is none."""
        return judge(saved.load(path))
