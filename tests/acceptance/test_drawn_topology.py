"""The broker's topology, as a picture and as text."""

import asyncio
import re

import aio_pika

from labkit import Lab
from labkit.broker.topology import Topology


async def test_queues_dead_letter_routes_bindings_and_consumers_are_shown(place: str) -> None:
    async with Lab.open(place, retry_delays="0.5") as lab:
        async with await aio_pika.connect(lab.amqp_url) as connection:
            channel = await connection.channel()
            news = await channel.declare_exchange("news", "fanout")
            await (await channel.declare_queue("anna", durable=True)).bind(news)
        await asyncio.sleep(2.5)  # the broker counts consumers every second
        shown = await lab.topology()
        lines = repr(shown).splitlines()
        assert "api.retry.500ms → api.requests: dead letters, after 0.5 s" in lines
        assert "news → anna: anna" in lines
        assert "api.requests → consumers: 1 of them" in lines
        drawn = shown.mermaid()
        assert '[["anna"]]' in drawn
        assert re.search(r'-\.->\|"dead letters, after 0.5 s"\|', drawn)


def test_names_are_drawn_as_they_are_whatever_they_are() -> None:
    odd = ('a "b"; #1', "a-b", "a.b")
    drawn = Topology(odd, (("a-b", "a.b", "dead letters"),)).mermaid()
    assert '[["a #quot;b#quot;#59; #35;1"]]' in drawn
    assert 'n1 -.->|"dead letters"| n2' in drawn
