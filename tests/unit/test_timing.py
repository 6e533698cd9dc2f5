"""The figures of a run, and the sentences that are made of them."""

import asyncio

import pandas as pd
import pytest

from labkit.experiments.benchmark import compare, conclusions, measure


def figures(rest: tuple[float, float], rabbitmq: tuple[float, float]) -> pd.DataFrame:
    """Of one action: its p50 alone, and its calls/s with 64 in flight, over each transport."""
    rows = {
        ("ping", number, who): {"p50 ms": p50, "calls/s": rate}
        for who, (p50, rate) in {"REST": rest, "RabbitMQ": rabbitmq}.items()
        for number in (1, 64)
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["action", "in flight", "transport"])
    return table


async def test_it_counts_the_calls_after_the_warm_up() -> None:
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)

    measured = await measure(call, in_flight=4, count=10, warm_up=5)
    assert (len(measured.latencies), calls) == (10, 15)


async def test_a_call_that_fails_is_no_fast_call() -> None:
    async def call() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await measure(call, count=1)


async def test_the_transports_take_turns() -> None:
    order: list[str] = []

    async def action(client: str) -> None:
        order.append(client)
        await asyncio.sleep(0.002)

    table = await compare(
        {"ping": action}, {"A": "A", "B": "B"}, in_flight=[1], seconds=0.02, rounds=2, warm_up=1
    )
    turns = [who for who, before in zip(order, [None, *order], strict=False) if who != before]
    assert "".join(turns) == "ABABAB"
    assert list(table.columns) == ["calls", "calls/s", "p50 ms", "p95 ms", "p99 ms"]


def test_what_is_concluded_depends_on_the_figures() -> None:
    said = "\n".join(conclusions(figures(rest=(1, 500), rabbitmq=(2, 1000))))
    assert "REST 1.0 ms, RabbitMQ 2.0 ms: REST is 2.0 times as fast" in said
    assert "REST 500 calls/s, RabbitMQ 1000 calls/s: RabbitMQ is 2.0 times as fast" in said
    said = "\n".join(conclusions(figures(rest=(2, 1000), rabbitmq=(1, 500))))
    assert "2.0 ms, RabbitMQ 1.0 ms: RabbitMQ is 2.0 times" in said


def test_what_is_too_close_is_not_called_a_difference() -> None:
    said = "\n".join(conclusions(figures(rest=(1, 500), rabbitmq=(1.1, 520))))
    assert said.count("too close to say") == 2
    assert said.count("made no difference") == 2
