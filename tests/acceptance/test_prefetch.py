"""How many requests a worker holds at a time."""

import asyncio

from server.application.dispatcher import Dispatcher
from server.contract.steps import Step
from server.contract.topology import REQUESTS
from server.settings import Settings
from tests.support import eventually, wire, worker_here


async def test_after_its_first_request_a_worker_holds_as_many_as_its_prefetch(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    three = settings.model_copy(update={"prefetch": 3})
    may_go, held = asyncio.Event(), set[str | None]()

    async def hold(step: Step, request_id: str | None) -> None:
        if step is Step.PARSED and request_id != "first":
            held.add(request_id)
            await may_go.wait()

    async with worker_here(three, dispatcher, hold), wire(three) as client:
        await client.ask(client.body("ping", id="first"))
        for number in range(4):
            await client.send(client.body("ping", id=str(number)))
        await eventually(lambda: asyncio.sleep(0, len(held) == 3))
        assert await client.depth(REQUESTS) == 1
        may_go.set()
        for _ in range(4):
            await client.reply()
