"""Stages 11 to 14: what fails is tried again, then given to people; what is late is refused; and a
lost connection is made again.
"""

import asyncio
from contextlib import suppress

from labkit.capstone.stage import Stage
from labkit.capstone.trial import BOOK, RESTART, Broken, Trial
from labkit.database import connect
from server.contract.headers import REASON
from server.contract.topology import RETRY_PREFIX

FAILS = """
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'this one always fails' USING ERRCODE = 'serialization_failure'; END $$;
CREATE TRIGGER fails BEFORE INSERT ON books_v1 FOR EACH ROW
WHEN (NEW.title = 'Poison') EXECUTE FUNCTION fails();
"""
POISON = {"title": "Poison", "author": "A"}


async def tries_again(trial: Trial) -> str:
    await trial.start()
    async with trial.locked() as lock:
        call = trial.later(trial.ok("create_book", BOOK, id="retried", seconds=RESTART))
        for _ in range(2):
            await trial.terminate(lock, await trial.waiting(lock, request_id="retried"))
            await asyncio.sleep(0.1)
    await call
    if (count := await trial.books()) != 1:
        raise Broken(f"It failed twice, then succeeded: {count} books.", "retried")
    waited = [q for q in await trial.queues_of("retried") if q.startswith(RETRY_PREFIX)]
    delays = [int(queue.removeprefix(RETRY_PREFIX).removesuffix("ms")) for queue in waited]
    if len(delays) < 2 or delays[0] >= delays[1]:
        seen = ", ".join(waited) or "none"
        raise Broken(
            f"Its two attempts that failed have to wait in two retry queues, the second longer "
            f"than the first. Queues that it was seen in: {seen}.",
            "retried",
        )
    return f"It failed twice, waited in {' and then in '.join(waited)}, and succeeded."


RETRY = Stage(
    11,
    "Try again, later",
    minutes=15,
    stars=3,
    task=(
        "The connection to PostgreSQL is cut in the middle of a request: the same request would"
        " succeed a moment later. Publish a copy to a retry queue, then acknowledge the "
        "original. The queues exist, one for each of the `RETRY_DELAYS` of the environment "
        "(seconds, separated by commas): `api.retry.200ms` for 0.2. They have no consumer; when"
        " a message's time is up, the broker moves it back to `api.requests`. Count attempts in"
        " the header `x-attempt`, from 1: each waits longer than the one before."
    ),
    tips=(
        "What is no answer of yours (stage 4) may go well later: `except Exception`. A driver in "
        "trouble raises more kinds of errors than you would list, and a message that is neither "
        "acknowledged nor given back is held until your server ends.",
        "The copy needs the body, `reply_to`, `correlation_id` and the headers of the original, "
        "with an `x-attempt` that is one more.",
    ),
    check=tries_again,
)


async def gives_up(trial: Trial) -> str:
    await trial.start()
    connection = await connect(trial.lab.database_url)
    await connection.execute(FAILS)
    await connection.close()
    await trial.send(b'{"auth": "' + trial.lab.api_key.encode() + b'", ', "unreadable")
    await trial.send(b"[]", "no-request")
    await trial.refused("unavailable", "create_book", POISON, id="poison")
    await trial.holds_letters(3)
    letters = await trial.letters()
    reasons = sorted(str(letter.headers.get(REASON)) for letter in letters)
    if reasons != ["malformed", "malformed", "unavailable"]:
        seen = " and ".join(reasons)
        wanted = "malformed, of two that are no request, and unavailable"
        raise Broken(f"Their x-reason has to be {wanted}; it is {seen}.", "poison")
    if any(trial.lab.api_key.encode() in letter.body for letter in letters):
        raise Broken("A dead letter has the sender's API key in it, for all to read.", "poison")
    await trial.ok("create_book", BOOK)
    return "What cannot be done is kept for people to look at, with the reason, without the key."


DEAD_LETTER = Stage(
    12,
    "Give up, and lose nothing",
    minutes=12,
    stars=2,
    task=(
        "Some requests never succeed. After the last retry, publish the request to `api.dlq`, "
        "with the headers `x-reason` (`unavailable`) and `x-error`, and answer with the same "
        "error. What is no request goes there at once, as `malformed`. A dead letter is read by"
        " people: take the `auth` out of it, and of what you cannot read, keep only its length."
    ),
    tips=(
        "One more attempt than there are delays; then no delay is left.",
        "First the dead letter, then the reply, and the acknowledgement last: if the server dies "
        "between, there are two letters, and not none.",
    ),
    check=gives_up,
)


async def is_in_time(trial: Trial) -> str:
    late = trial.named("late")
    with suppress(Broken):  # no server runs yet
        await trial.ask("create_book", BOOK, id=late, seconds=0.2)
    await trial.start()
    await trial.ok("ping")
    if await trial.books():
        seen = "It created a book for a caller who had stopped waiting: x-deadline had passed."
        raise Broken(seen, late)
    await _is_late_again(trial)
    return "What is no longer waited for is not done, unless it may have been done already."


async def _is_late_again(trial: Trial) -> None:
    """Its deadline passes while a server has it, which is then killed."""
    async with trial.locked() as lock:
        call = trial.later(trial.ask("create_book", BOOK, id="late-again", seconds=1.0))
        await trial.waiting(lock, request_id="late-again")
        with suppress(Broken):  # the caller waits no longer
            await call
        await asyncio.to_thread(trial.servers[0].kill)
    await trial.start()

    async def done() -> bool:
        return await trial.books() == 1

    seen = "A request that a killed server had was delivered again, and refused as late: its book "
    seen += "might have been there, and the refusal a lie."
    await trial.until(done, seen, request_id="late-again")


DEADLINE = Stage(
    13,
    "Too late is not done",
    minutes=6,
    stars=1,
    task=(
        "After an hour's outage a thousand requests wait whose callers have long gone. The "
        "header `x-deadline` says until when the sender waits, in milliseconds since 1970. What"
        " is later gets the error `expired`, and is not done. But a request that is delivered "
        "again may have been done before: to answer `expired` would be a lie. So judge only the"
        " first delivery."
    ),
    tips=(
        "`time.time() * 1000`; `message.headers.get('x-deadline')`.",
        "`message.redelivered`, or an `x-attempt` above 1: then it is not the first.",
    ),
    check=is_in_time,
)


async def connects_again(trial: Trial) -> str:
    (server,) = (await trial.start()).servers
    async with trial.locked() as lock:
        call = trial.later(trial.ok("create_book", BOOK, id="cut", seconds=RESTART))
        await trial.waiting(lock, request_id="cut")
        await trial.lab.faults.close_connections("worker")
    await call
    if not server.alive():
        raise Broken("It ended when its connection was lost.", "cut")
    if (count := await trial.books()) != 1:
        raise Broken(f"Its connection was lost during a request: {count} books.", "cut")
    await trial.ok("ping")
    return "It connected again, and what it held was delivered to it once more, and done once."


RECONNECT = Stage(
    14,
    "The connection is lost",
    minutes=8,
    stars=2,
    task=(
        "An operator closes your server's connection to the broker, while it works on a "
        "request. It connects again by itself, and consumes again. It can no longer acknowledge"
        " what it held: the broker delivers that once more, and stage 8 answers it."
    ),
    tips=(
        "`aio_pika.connect_robust` connects again, and consumes again.",
        "Replying and acknowledging on the lost channel raise: `aio_pika.exceptions.AMQPError`, "
        "`ChannelInvalidStateError`. If the channel is there still, because the broker only did "
        "not take what you published, `message.nack()` has the message delivered again.",
    ),
    check=connects_again,
)

STAGES = [RETRY, DEAD_LETTER, DEADLINE, RECONNECT]
