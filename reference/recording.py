"""The examples, really run: each is published to a real broker and answered by a real server."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from reference.examples import EXAMPLES, NEXT, PASSWORD, READER, Caller, Example
from reference.masks import mask
from server.application.dispatcher import Dispatcher
from server.contract import topology
from server.contract.envelope import JSON
from server.persistence.database import Database
from server.security import accounts, authentication
from server.security.principal import Role
from server.settings import DEVELOPMENT_KEY, Settings
from server.transports.amqp.worker import Worker

Recording = dict[str, Any]
"""An example's ``title``, ``action`` and ``outcome``, and its ``request`` and ``reply``
(and ``dead_letter``), each ``{"headers", "payload"}`` as AsyncAPI calls them.
"""

Recordings = dict[str, list[Recording]]
"""Group of examples → its recordings."""

PROPERTIES = ("content_type", "correlation_id", "reply_to")
REPLY_TIMEOUT = 10.0
"""Seconds for a reply."""


async def record(settings: Settings) -> Recordings:
    """The recordings of each group of examples.

    Needs a virtual host and a database that are empty, and leaves them used.

    Raises ``UnexpectedOutcome`` if an example does not show what it is said to show.
    """
    settings = settings.model_copy(
        update={"api_key": DEVELOPMENT_KEY}
    )  # as everywhere in the documents
    async with (
        await aio_pika.connect(settings.amqp_url) as connection,
        connection.channel() as channel,
    ):
        await topology.declare(channel, settings)
        async with _serving(settings):
            script = await Script.open(channel)
            return {
                group: [mask(await script.run(example)) for example in examples]
                for group, examples in EXAMPLES.items()
            }


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[None]:
    """A worker, and a reader who can log in beside the librarian that every server has."""
    stop = asyncio.Event()
    database = Database(settings)
    try:
        await database.create_tables()
        async with database.transaction() as transaction:
            await authentication.prepare(transaction, settings.api_key)
            await accounts.add_user(transaction, READER, Role.READER, PASSWORD)
        worker = asyncio.create_task(Worker(settings, Dispatcher(database)).run(stop))
        try:
            yield
        finally:
            stop.set()
            await worker
    finally:
        await database.close()


class Script:
    """Runs one example after the other: a later one may build on what an earlier one did."""

    def __init__(self, channel: AbstractChannel, replies: AbstractQueue) -> None:
        self._channel = channel
        self._replies = replies
        self._inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._numbers: Counter[str] = Counter()
        self._token = self._next = ""

    @classmethod
    async def open(cls, channel: AbstractChannel) -> "Script":
        script = cls(channel, await channel.declare_queue(exclusive=True))
        await script._replies.consume(script._inbox.put, no_ack=True)
        return script

    async def run(self, example: Example) -> Recording:
        request = self._message(example)
        await self._channel.default_exchange.publish(request, topology.REQUESTS)
        reply = await asyncio.wait_for(self._inbox.get(), REPLY_TIMEOUT)
        recording: Recording = {
            "title": example.title,
            "action": example.action,
            "outcome": example.outcome,
            "request": _seen(request),
            "reply": _seen(reply),
        }
        self._check(example, recording["reply"]["payload"])
        if example.outcome == "malformed":
            recording["dead_letter"] = _seen(await self._dead_letter())
        return recording

    def _message(self, example: Example) -> aio_pika.Message:
        name = f"{example.version}.{example.action}"
        self._numbers[name] += 1
        body = {
            "id": f"{name}.{self._numbers[name]}",
            "version": example.version,
            "action": example.action,
            "data": dict(example.data),
            **example.fields,
        }
        if example.data.get("cursor") == NEXT:
            body["data"]["cursor"] = self._next
        if example.caller is Caller.API_KEY:
            body["auth"] = DEVELOPMENT_KEY
        if example.caller is Caller.TOKEN:
            body["data"]["auth_token"] = self._token
        if example.key is not None:
            body["idempotency_key"] = example.key
        return aio_pika.Message(
            json.dumps(body).encode(),
            content_type=JSON,
            correlation_id=body["id"],
            reply_to=self._replies.name,
            headers=dict(example.headers),
        )

    def _check(self, example: Example, reply: dict[str, Any]) -> None:
        outcome = reply["error"]["code"] if reply["error"] else "ok"
        if outcome != example.outcome:
            raise UnexpectedOutcome(f"{example}\nwas answered with\n{reply}")
        data = reply["data"] or {}
        self._token = data.get("token", self._token)
        self._next = data.get("next", self._next)

    async def _dead_letter(self) -> AbstractIncomingMessage:
        queue = await self._channel.get_queue(topology.DEAD_LETTERS)
        # The server publishes it before the reply, but on another channel.
        async with queue.iterator(no_ack=True, timeout=REPLY_TIMEOUT) as parked:
            return await anext(parked)


class UnexpectedOutcome(Exception):
    """An example had another outcome than the one it is there to show."""


def _seen(message: aio_pika.abc.AbstractMessage) -> dict[str, Any]:
    given = {name: getattr(message, name) for name in PROPERTIES}
    properties = {name: value for name, value in given.items() if value is not None}
    return {"headers": properties | dict(message.headers), "payload": json.loads(message.body)}
