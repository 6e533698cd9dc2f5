"""Queues are declared once, the same everywhere, and a difference is explained."""

import aio_pika
import pytest

from server import topology
from server.settings import Settings


async def test_declaring_twice_is_harmless(settings: Settings) -> None:
    async with await aio_pika.connect(settings.amqp_url) as connection:
        for _ in range(2):
            async with connection.channel() as channel:
                await topology.declare(channel, settings)


async def test_a_queue_declared_otherwise_is_named_with_the_way_out(settings: Settings) -> None:
    async with await aio_pika.connect(settings.amqp_url) as connection:
        async with connection.channel() as channel:
            await channel.declare_queue(topology.REQUESTS, durable=True)
        async with connection.channel() as channel:
            with pytest.raises(topology.TopologyMismatch, match=r"api\.requests.*delete it"):
                await topology.declare(channel, settings)


def test_every_queue_but_those_of_dead_letters_leads_to_another_one_that_is_declared_before(
    settings: Settings,
) -> None:
    queues = topology.topology(settings)
    for position, queue in enumerate(queues[2:], start=2):
        target = queue.arguments["x-dead-letter-routing-key"]
        assert target in [earlier.name for earlier in queues[:position]]
    ends = [q.name for q in queues if "x-dead-letter-routing-key" not in q.arguments]
    assert ends == ["api.dlq", "api.dlq.unreadable"]
