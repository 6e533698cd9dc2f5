"""Exercises of ``01_first_message``."""

import aio_pika

from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong

THREE = (b"one", b"two", b"three")
CROWD = [f"letter {n}".encode() for n in range(1, 11)]
POISON = CROWD[6]


class OneStays(Exercise):
    """In the queue `letters` are three messages: *one*, *two* and *three*. Take two of them out for
    good. *three* has to stay, ready for the next consumer.
    """

    title = "One stays"
    stars, minutes, workers = 1, 3, 0
    tips = (
        "`queue.get()` takes the message at the head. What else makes the broker forget it?",
        "What was fetched and not acknowledged counts as `unacked`: it is still there, and comes "
        "back when its channel closes.",
    )

    async def prepare(self) -> None:
        await self.publish("letters", *THREE, message_id="yours")

    async def look(self) -> Assessment:
        unacked = int((await self.lab.queues())["unacked"].get("letters", 0))
        if unacked:
            return wrong(
                f"{unacked} of the messages in letters were delivered but not acknowledged: "
                "they come back as soon as the channel closes."
            )
        left = await self.inside("letters")
        bodies = [message.body for message in left]
        if bodies == list(THREE):
            return not_attempted("All three are in letters.")
        if not left:
            return wrong("letters is empty: all three were acknowledged, or purged.")
        if bodies != [b"three"] or left[0].message_id != "yours":
            said = ", ".join(body.decode(errors="replace") for body in bodies)
            return wrong(f"In letters there is now: {said}. Only *three* should be, the one sent.")
        return right("One message waits in letters, and no consumer holds another.")

    async def answer(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            letters = await channel.get_queue("letters")
            for _ in range(2):
                message = await letters.get()
                await message.ack()


class Survivor(Exercise):
    """Put one message into a queue named `archive` such that both, the queue and the message, would
    survive a restart of the broker.
    """

    title = "What survives a restart"
    stars, minutes, workers, queues = 1, 3, 0, ("archive",)
    tips = (
        "Two things have to survive, and each has an argument of its own.",
        "`durable=True` is of the queue, `delivery_mode=DeliveryMode.PERSISTENT` of the message.",
    )

    async def look(self) -> Assessment:
        if "archive" not in (await self.lab.queues()).index:
            return not_attempted("There is no queue named archive.")
        if "archive" not in await self.lab.survivors():
            return wrong(
                "archive is not durable: it would be gone with the broker, and all that is in it. "
                "An existing queue cannot be changed: delete it, `await queue.delete()`."
            )
        messages = await self.inside("archive")
        if not messages:
            return wrong("archive is empty, or a consumer holds its message.")
        if any(m.delivery_mode != aio_pika.DeliveryMode.PERSISTENT for m in messages):
            return wrong(
                "The queue would come back without its message, which is transient: RabbitMQ need "
                "not write it to disk. `await queue.purge()`, and publish a persistent one."
            )
        return right("A durable queue, and a persistent message in it.")

    async def answer(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("archive", durable=True)
            message = aio_pika.Message(b"Keep me", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, "archive")


class TwoReaders(Exercise):
    """A newspaper has two readers, each with a queue: `anna` and `boris`. Publish **one** message,
    to an exchange named `news`, such that each of the two queues gets a copy.
    """

    title = "One message, two readers"
    stars, minutes, workers, queues = 2, 5, 0, ("anna", "boris")
    exchanges = ("news",)
    tips = (
        "The default exchange knows one rule. Which type of exchange copies to every queue?",
        "`channel.declare_exchange('news', 'fanout')`, and `queue.bind(exchange)` for each queue.",
    )

    async def look(self) -> Assessment:
        queues = await self.lab.queues()
        missing = [name for name in ("anna", "boris") if name not in queues.index]
        if len(missing) == 2:
            return not_attempted("There are no queues anna and boris.")
        if missing:
            return wrong(f"There is no queue named {missing[0]}.")
        copies = {name: await self.inside(name) for name in ("anna", "boris")}
        for name, messages in copies.items():
            if len(messages) != 1:
                return wrong(
                    f"In {name} there are {len(messages)} messages, and there should be one. Was "
                    "the queue bound before the message was published?"
                )
        sources = {messages[0].exchange for messages in copies.values()}
        if sources != {"news"}:
            return wrong("Each has a message, but not from the exchange news: sent one by one?")
        if copies["anna"][0].body != copies["boris"][0].body:
            return wrong("Each has a message, but not the same.")
        keys = {str(messages[0].routing_key) for messages in copies.values()}
        if len(keys) > 1:
            return wrong(
                f"news got two messages, with the routing keys {' and '.join(sorted(keys))}: what "
                "is published once has one key. Which type of exchange copies to every queue?"
            )
        return right("Published once, and copied by the exchange.")

    async def answer(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            news = await channel.declare_exchange("news", "fanout")
            for name in ("anna", "boris"):
                queue = await channel.declare_queue(name, durable=True)
                await queue.bind(news)
            await news.publish(aio_pika.Message(b"It rains."), routing_key="")


class OneOut(Exercise):
    """Ten letters wait in the queue `crowd`. Take *letter 7* out for good, and nothing else: the
    other nine have to wait there afterwards, in their order.
    """

    title = "The seventh letter"
    stars, minutes, workers = 2, 5, 0
    tips = (
        "A queue gives out its head, and nothing from the middle. What if you take all?",
        "Take all on one channel, acknowledge the one, and close the channel: what happens to the "
        "others?",
    )

    async def prepare(self) -> None:
        await self.publish("crowd", *CROWD, message_id="yours")

    async def look(self) -> Assessment:
        unacked = int((await self.lab.queues())["unacked"].get("crowd", 0))
        if unacked:
            return wrong(f"A consumer still holds {unacked} of them: close its channel.")
        messages = await self.inside("crowd")
        bodies = [message.body for message in messages]
        if bodies == CROWD:
            return not_attempted("All ten are there.")
        if POISON in bodies:
            return wrong(f"*letter 7* is still there, and {len(bodies)} letters in all.")
        if bodies != [body for body in CROWD if body != POISON]:
            said = ", ".join(body.decode(errors="replace") for body in bodies) or "nothing"
            return wrong(f"In crowd there is: {said}. `await exercise.begin()`, once more.")
        if any(message.message_id != "yours" for message in messages):
            return wrong("Nine letters in order, but new ones: the others were to stay there.")
        return right("Nine letters, in their order.")

    async def answer(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            crowd = await channel.get_queue("crowd")
            while (letter := await crowd.get(fail=False)) is not None:
                if letter.body == b"letter 7":
                    await letter.ack()
            await channel.close()


EXERCISES = (OneStays, Survivor, TwoReaders, OneOut)
