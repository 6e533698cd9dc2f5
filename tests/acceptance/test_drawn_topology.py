"""The broker's topology, as a picture and as text."""

import asyncio

import aio_pika

from labkit import Lab


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
        assert 'anna[["anna"]]' in shown.mermaid()
        assert "api_retry_500ms -.->" in shown.mermaid()
