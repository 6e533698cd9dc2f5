"""FastStream's `request`, as in its documentation
(https://faststream.ag2.ai/latest/rabbit/rpc/)."""

import asyncio
import json
import logging
import os
import sys
from typing import Any

import load
import uvloop
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

BODY = json.loads(load.BODY)
QUEUE = RabbitQueue("echo.faststream")
BROKER = RabbitBroker(
    os.environ["AMQP_URL"],
    default_channel=Channel(prefetch_count=256),
    logger=logging.getLogger("quiet") if sys.argv[1] == "server" else None,
)


@BROKER.subscriber(QUEUE, no_reply=False) if sys.argv[1] == "server" else lambda function: function
async def echo(body: dict[str, Any]) -> dict[str, Any]:
    return body


async def main() -> None:
    await BROKER.start()
    if sys.argv[1] == "server":
        load.ready()
        await asyncio.Future()
    await load.run(lambda _: BROKER.request(BODY, QUEUE, timeout=30))
    await BROKER.stop()


uvloop.run(main())
