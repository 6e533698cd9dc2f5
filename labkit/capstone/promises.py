"""Stages 6 to 10: nothing lost, nothing doubled; and room for more than one server."""

import asyncio
import json
from contextlib import suppress

from labkit.capstone.stage import Stage
from labkit.capstone.trial import BOOK, RESTART, Broken, Trial

WAITING = 200
"""Requests of which no server may take all."""
SETTLED = 0.4
"""Seconds without a change, after which a server has taken as many as it takes."""


async def survives_a_kill(trial: Trial) -> str:
    await trial.start()
    async with trial.locked() as lock:
        call = trial.later(trial.ask("create_book", BOOK, id="killed", seconds=RESTART))
        await trial.waiting(lock, request_id="killed")
        await asyncio.to_thread(trial.servers[0].kill)
    await trial.start()
    reply = await call
    if reply.error is not None:
        raise Broken(f"It was redelivered, and its reply is an error: {reply.error}.", "killed")
    return "A server was killed in the middle of a request, and the next one answered it."


ACKNOWLEDGE = Stage(
    6,
    "Acknowledge last",
    minutes=8,
    stars=2,
    task=(
        "Your server is killed (`kill -9`) while it works on a request, and started again. The "
        "request must be answered all the same: the broker keeps a message until it is "
        "acknowledged. So the acknowledgement is the very last thing that is done with it."
    ),
    tips=(
        "With `no_ack=True` the broker forgets a message as soon as it has sent it.",
        "`async with message.process():` acknowledges when its block has ended.",
    ),
    check=survives_a_kill,
)


async def is_idempotent(trial: Trial) -> str:
    await trial.start()
    first = await trial.ok("create_book", BOOK, id="first", key="dune")
    stored = await trial.lab.rows("idempotency_keys")
    if [first, None] not in [_json(reply) for reply in stored["reply"]]:
        raise Broken("The reply is not stored in idempotency_keys as [data, null].", "first")
    again = await trial.ok("create_book", BOOK, id="again", key="dune")
    if (count := await trial.books()) != 1:
        raise Broken(f"The same key twice: there are {count} books.", "again")
    if again != first:
        raise Broken(f"The same key twice: {first!r} was answered first, then {again!r}.", "again")
    await trial.refused("key_reused", "create_book", {**BOOK, "title": "Emma"}, key="dune")
    await trial.ok("create_book", BOOK, key="dune-2")
    same_id = [await trial.ok("create_book", BOOK, id="the-same-id") for _ in range(2)]
    if same_id[0] != same_id[1]:
        raise Broken("Two messages with the same id, and without a key: two books.", "the-same-id")
    return "A request that is sent again is answered again, and done once."


def _json(text: object) -> object:
    with suppress(ValueError):
        return json.loads(str(text))
    return None


IDEMPOTENCY = Stage(
    7,
    "Done once, answered again",
    minutes=15,
    stars=3,
    task=(
        "Since stage 6 a request may be delivered twice, and a client asks again after a "
        "timeout. Both must do nothing new. A request is named by its `idempotency_key`; "
        "without one, by its `id`. The table `idempotency_keys` has `user_id`, `resource_type` "
        "(`book_v1` for a key, `request` for an id), `key`, `fingerprint` and `reply`. Look the"
        " name up first, and answer with what is stored, as `[data, null]` in JSON. Another "
        "book under the same key is the error `key_reused`: that is what the fingerprint, any "
        "digest of `data`, is for."
    ),
    tips=(
        "Three statements: look, create the book, store the reply.",
        "`hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()`.",
    ),
    check=is_idempotent,
)


async def claims_first(trial: Trial) -> str:
    await trial.start(2)
    async with trial.locked() as lock:
        calls = [
            trial.later(trial.ok("create_book", BOOK, id=name, key="dune", seconds=RESTART))
            for name in ("one", "the-other")
        ]
        await trial.waiting(lock, 2, "the-other")
    books = await asyncio.gather(*calls)
    if (count := await trial.books()) != 1:
        raise Broken(f"The same key at two servers at once: {count} books.", "the-other")
    if books[0] != books[1]:
        raise Broken("Two servers gave different replies to one key.", "the-other")
    await _is_cut_off(trial)
    return "Claim, book and reply are there together, or not at all; and one claim is first."


async def _is_cut_off(trial: Trial) -> None:
    """A server, and its connection to PostgreSQL, end when it wants to write down the key."""
    emma = {"title": "Emma", "author": "Jane Austen"}
    async with trial.locked("idempotency_keys", "SHARE") as lock:
        options = {"id": "cut-off", "key": "emma", "seconds": RESTART}
        call = trial.later(trial.ok("create_book", emma, **options))
        pids = await trial.waiting(lock, request_id="cut-off")
        for server in trial.servers:
            await asyncio.to_thread(server.kill)
        await trial.terminate(lock, pids)
    await trial.start()
    await call
    if (count := await trial.books("Emma")) != 1:
        seen = f"Killed while it stored the key, then redelivered: {count} books."
        raise Broken(seen, "cut-off")


CLAIM = Stage(
    8,
    "One transaction",
    minutes=12,
    stars=3,
    task=(
        "Two servers get the same request at the same moment: both look, both find nothing, "
        "both create a book. Or a server dies between the book and its key. Claim the name "
        "first, with `INSERT … ON CONFLICT DO NOTHING`, and let claim, book and stored reply be"
        " **one transaction**. Who comes second waits at the claim, until the first one's "
        "transaction has ended, and answers with what it stored."
    ),
    tips=(
        "`async with pool.acquire() as connection, connection.transaction():`",
        "`INSERT … ON CONFLICT DO NOTHING RETURNING key` returns nothing if it was claimed before; "
        "then read the stored reply with a statement of its own.",
    ),
    check=claims_first,
)


async def shares(trial: Trial) -> str:
    await trial.start()
    async with trial.locked() as lock:
        books = [{"title": f"Book {n}", "author": "A"} for n in range(WAITING)]
        calls = [trial.later(trial.ok("create_book", b, seconds=RESTART)) for b in books]
        await trial.waiting(lock)
        left = await _settled(trial)
        if left == 0:
            seen = f"One server took all {WAITING} requests at once; a second one gets none."
            raise Broken(seen)
        await trial.start()
        if await _settled(trial) >= left:
            raise Broken("A second server was started, and took no request.")
    await asyncio.gather(*calls)
    async with trial.locked() as lock:
        slow = range(len(trial.servers))  # one for each, if they take one at a time
        calls = [trial.later(trial.ok("create_book", BOOK, seconds=RESTART)) for _ in slow]
        await trial.waiting(lock, len(slow))
        await asyncio.gather(*(trial.ok("ping") for _ in range(4)))
    await asyncio.gather(*calls)
    return f"{left} of {WAITING} waited for others to take them; and what is slow blocks no ping."


async def _settled(trial: Trial) -> int:
    """How many requests wait in the queue when their number no longer changes."""
    left = -1
    while left != (left := await trial.ready()):  # noqa: ASYNC110
        await asyncio.sleep(SETTLED)
    return left


PREFETCH = Stage(
    9,
    "Leave some to others",
    minutes=6,
    stars=1,
    task=(
        "Two hundred requests wait, and each takes long. The broker gives your server all of "
        "them at once: a second server, started to help, gets none; and if the first one dies, "
        "all two hundred are delivered again. Limit how many it holds. But a single slow "
        "request must not stop everything else: let several be worked on at the same time."
    ),
    tips=("`await channel.set_qos(prefetch_count=…)`, before it consumes.", "Ten will do."),
    check=shares,
)


async def drains(trial: Trial) -> str:
    (server,) = (await trial.start()).servers
    async with trial.locked() as lock:
        call = trial.later(trial.ok("create_book", BOOK, id="held", seconds=RESTART))
        await trial.waiting(lock, request_id="held")
        stopping = trial.later(server.stop(deadline=RESTART))

        async def takes_no_more() -> bool:
            await trial.send(b"{}", "after-sigterm")
            await asyncio.sleep(SETTLED)
            return await trial.ready() > 0

        await trial.until(takes_no_more, "After SIGTERM it still takes requests.")
    try:
        await call
    except Broken:
        if server.alive():
            raise
        seen = "SIGTERM ended it in the middle of a request, whose caller still waits."
        raise Broken(seen, "held") from None

    async def ended() -> bool:
        return not server.alive()

    await trial.until(ended, "It answered what it held, but does not end.", request_id="held")
    await stopping
    if await trial.ready() > 1:  # the one that was sent last
        raise Broken("It answered the request, but did not acknowledge it.", "held")
    return "It stops taking requests, finishes what it holds, and ends."


DRAIN = Stage(
    10,
    "Stop like a good server",
    minutes=10,
    stars=2,
    task=(
        "Every deployment stops servers, with SIGTERM. Then yours takes no more requests, "
        "finishes those that it holds, acknowledges them, and ends by itself."
    ),
    tips=(
        "`asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)`.",
        "`await queue.cancel(consumer_tag)`; then wait for the tasks that are under way.",
    ),
    check=drains,
)

STAGES = [ACKNOWLEDGE, IDEMPOTENCY, CLAIM, PREFETCH, DRAIN]
