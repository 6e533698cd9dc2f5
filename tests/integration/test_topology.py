"""Queues are declared once, the same everywhere, and a difference is explained."""

import aio_pika
import pytest

from server.contract import topology
from server.contract.topology import EXPIRED, SET_ASIDE
from server.settings import Settings


async def test_declaring_twice_is_harmless(settings: Settings) -> None:
    async with await aio_pika.connect(settings.amqp_url) as connection:
        for _ in range(2):
            async with connection.channel() as channel:
                await topology.declare(channel, settings)


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        (topology.REQUESTS, r"api\.requests.*empty.*delete it"),
        (topology.DEAD_LETTERS, r"api\.dlq .*archive FILE.*delete it"),
    ],
)
async def test_a_queue_declared_otherwise_is_named_with_the_way_out(
    settings: Settings, name: str, way_out: str
) -> None:
    async with await aio_pika.connect(settings.amqp_url) as connection:
        async with connection.channel() as channel:
            await channel.declare_queue(name, durable=True)
        async with connection.channel() as channel:
            with pytest.raises(topology.TopologyMismatch, match=way_out):
                await topology.declare(channel, settings)


def test_every_queue_leads_to_one_that_is_declared_before_but_the_last_which_keeps_what_it_has(
    settings: Settings,
) -> None:
    declared = []
    for queue in topology.topology(settings):
        leads_to = queue.arguments["x-dead-letter-routing-key"]
        assert leads_to in declared or (queue.name, leads_to) == (SET_ASIDE, EXPIRED)
        assert queue.arguments["x-overflow"] == "reject-publish"
        declared.append(queue.name)
    assert EXPIRED not in declared
