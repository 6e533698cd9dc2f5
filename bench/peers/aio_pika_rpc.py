"""aio-pika's RPC pattern, as in its documentation
(https://docs.aio-pika.com/patterns.html#remote-procedure-call)."""

import asyncio
import os
import sys

import aio_pika
import load
import uvloop
from aio_pika.patterns import RPC


async def echo(body: bytes) -> bytes:
    return body


async def main() -> None:
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        if sys.argv[1] == "server":
            await channel.set_qos(prefetch_count=256)
        rpc = await RPC.create(channel)
        if sys.argv[1] == "server":
            await rpc.register("echo.aio-pika", echo, auto_delete=True)
            load.ready()
            await asyncio.Future()
        await load.run(lambda _: rpc.call("echo.aio-pika", {"body": load.BODY}))


uvloop.run(main())
