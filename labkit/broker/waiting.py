"""All the messages that wait in a queue, whole, for those who judge what is in it."""

from aio_pika.abc import AbstractIncomingMessage

from server.contract.connection import connect


async def inside(amqp_url: str, queue: str) -> list[AbstractIncomingMessage]:
    """Those that wait in ``queue``, by their order. Closing puts them back where they were.

    Each look counts as a delivery; ``peek`` is for those who must leave no trace.
    """
    async with await connect(amqp_url) as connection:
        channel = await connection.channel()
        there, found = await channel.get_queue(queue, ensure=False), []
        while (message := await there.get(fail=False)) is not None:
            found.append(message)
        return found
