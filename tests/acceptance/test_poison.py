"""A message that breaks whoever receives it takes nobody else along."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import aio_pika
import pytest
from aiormq.abc import ChannelFrame
from pamqp import commands as spec
from pamqp.header import ContentHeader
from sqlalchemy import text

from server.application.dispatcher import Dispatcher
from server.contract.topology import DEAD_LETTERS, REQUESTS, SET_ASIDE
from server.persistence.database import Database
from server.settings import Settings
from tests.support import BOOK, Wire, wire, worker_here

INNOCENTS = 40


async def publish_undecodable(settings: Settings, body: bytes, queue: str = REQUESTS) -> None:
    """A message whose correlation id is no UTF-8: AMQP lets it pass, and pamqp cannot read it.

    pamqp cannot write it either, so the bytes are changed behind its back.
    """
    async with await aio_pika.connect(settings.amqp_url) as connection:
        channel = await (await connection.channel(publisher_confirms=False)).get_underlay_channel()
        properties = spec.Basic.Properties(correlation_id="caf_", reply_to="nobody")
        frames: list[Any] = [
            spec.Basic.Publish(routing_key=queue),
            ContentHeader(properties=properties, body_size=len(body)),
            *channel._split_body(body),  # type: ignore[attr-defined]
        ]
        sent = asyncio.get_running_loop().create_future()
        frame = ChannelFrame.marshall(
            channel_number=channel.number, frames=frames, drain_future=sent
        )
        broken = replace(frame, payload=frame.payload.replace(b"caf_", b"caf\xe9"))
        await channel.write_queue.put(broken)  # type: ignore[attr-defined]
        await sent


async def all_answered(client: Wire, count: int) -> None:
    """Each at least once: a reply whose acknowledgement was lost is sent again."""
    seen: set[str | None] = set()
    while len(seen) < count:
        reply = await client.reply(within=30)
        assert json.loads(reply.body)["status"] == "ok"
        seen.add(reply.correlation_id)


async def test_a_message_that_cannot_be_decoded_ends_alone_and_innocents_are_answered(
    settings: Settings, dispatcher: Dispatcher, database: Database
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        for number in range(INNOCENTS):
            if number == INNOCENTS // 2:
                await publish_undecodable(settings, client.body("ping"))
            await client.send(client.body("create_book", BOOK), correlation_id=str(number))
        await all_answered(client, INNOCENTS)
        assert (await client.dead_letter()).headers["x-reason"] == "malformed"
        assert await client.depth(SET_ASIDE) == 0
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM books_v1"))).scalar() == 40


@pytest.mark.parametrize("name", ["garbage.key", "AAAA.BB==", "", "."])
async def test_a_forged_direct_reply_address_harms_its_sender_only(
    settings: Settings, dispatcher: Dispatcher, name: str
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        for number in range(INNOCENTS):
            if number == INNOCENTS // 2:
                await client.send(client.body("ping"), reply_to=f"amq.rabbitmq.reply-to.{name}")
            await client.send(client.body("ping"), correlation_id=str(number))
        await all_answered(client, INNOCENTS)
        assert await client.depth(DEAD_LETTERS) == 0


async def test_a_true_direct_reply_address_is_answered(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with (
        worker_here(settings, dispatcher),
        wire(settings) as client,
        await aio_pika.connect(settings.amqp_url) as connection,
    ):
        channel = await connection.channel()
        replies = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        answered: asyncio.Future[bytes] = asyncio.Future()

        async def on_reply(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            answered.set_result(message.body)

        await replies.consume(on_reply, no_ack=True)
        message = aio_pika.Message(client.body("ping"), reply_to="amq.rabbitmq.reply-to")
        await channel.default_exchange.publish(message, REQUESTS)
        assert json.loads(await asyncio.wait_for(answered, 10))["data"] == {"pong": True}
