"""Exercises of ``01_first_message``."""

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong


class OneStays(Exercise):
    """Declare a queue named `letters`, publish three messages into it, and take two of them
    out for good. One has to stay, ready for the next consumer.
    """

    tip = (
        "A message is gone for good when it is acknowledged. What was fetched and not acknowledged "
        "counts as `unacked`: it is still there, and comes back when its channel closes."
    )

    async def look(self) -> Assessment:
        queues = await self.lab.queues()
        if "letters" not in queues.index:
            return not_attempted("There is no queue named letters.")
        ready, unacked = queues.loc["letters", ["ready", "unacked"]]
        if unacked:
            return wrong(
                f"{unacked} of the messages in letters were delivered but not acknowledged: "
                "they come back as soon as the channel closes."
            )
        if ready == 0:
            return wrong("letters is empty. Were all three acknowledged, or none published?")
        if ready != 1:
            return wrong(
                f"{ready} messages are ready in letters, and one should be. If cells were run "
                "twice, more than three were published: await queue.purge(), and again."
            )
        return right("One message waits in letters, and no consumer holds another.")

    async def answer(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            letters = await channel.declare_queue("letters", durable=True)
            await letters.purge()
            for text in (b"one", b"two", b"three"):
                await channel.default_exchange.publish(aio_pika.Message(text), "letters")
            for _ in range(2):
                message = await letters.get()
                await message.ack()
