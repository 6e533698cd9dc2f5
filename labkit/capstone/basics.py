"""Stages 1 to 5: requests are consumed, answered, kept, refused and authenticated."""

import asyncio

from labkit.capstone.stage import Stage
from labkit.capstone.trial import BOOK, Broken, Trial
from labkit.database import connect

CALLS = 20
REVOKED = """
INSERT INTO api_keys (user_id, label, key_hash, revoked_at)
SELECT user_id, 'revoked', encode(sha256('was-a-key'), 'hex'), now() FROM api_keys LIMIT 1
"""


async def consumes(trial: Trial) -> str:
    await trial.start()
    for number in range(3):
        await trial.send(b"{}", f"message-{number}")

    async def empty() -> bool:
        return await trial.ready() == 0

    await trial.until(empty, "Messages are still waiting in api.requests.", request_id="message-0")
    if not trial.servers[0].alive():
        raise Broken("It ended after a few messages; a server runs until it is stopped.")
    return "It takes requests from the queue, and goes on running."


CONSUME = Stage(
    1,
    "Consume",
    minutes=5,
    stars=1,
    task=(
        "Connect to `AMQP_URL`, which is in the environment, and consume from the queue "
        "`api.requests`. Nothing is done with a message yet; print it. The queue exists: do not"
        " declare it. The program runs until it is stopped."
    ),
    tips=(
        "`aio_pika.connect`, `connection.channel()`, `channel.get_queue(…)`, `queue.consume(…)`.",
        "`await asyncio.Future()` waits for ever.",
    ),
    check=consumes,
)


async def replies(trial: Trial) -> str:
    await trial.start()
    await trial.ok("ping")
    await asyncio.gather(*(trial.ok("ping") for _ in range(CALLS)))
    return f"{CALLS} callers at once, and each of them got their own reply."


REPLY = Stage(
    2,
    "Reply, to the one who asked",
    minutes=8,
    stars=1,
    task=(
        'Answer every request with `{"correlation_id": …, "status": "ok", "data": {"pong": '
        'true}, "error": null}`. A reply goes to the default exchange; its routing key is the '
        "queue that the request's property `reply_to` names. Its property `correlation_id` is "
        "the request's: by it a client knows which of its calls is answered."
    ),
    tips=(
        "`message.reply_to`, `message.correlation_id`: properties of the message, not its body.",
        "`channel.default_exchange.publish(aio_pika.Message(body, correlation_id=…), reply_to)`.",
    ),
    check=replies,
)


async def keeps(trial: Trial) -> str:
    await trial.start()
    book = await trial.ok("create_book", {**BOOK, "year": 1965})
    if not isinstance(book, dict) or book.get("title") != BOOK["title"]:
        raise Broken(f"The reply to create_book has to be the book, but is {book!r}.")
    if await trial.books(BOOK["title"]) != 1:
        raise Broken("It is answered ok, and the table books_v1 does not have the book.")
    again = await trial.ok("get_book", {"id": book.get("id")})
    if again != book:
        raise Broken(f"create_book answered {book!r}, and get_book {again!r}.")
    await trial.ok("ping")
    return "The book is in PostgreSQL, and it can be read again."


KEEP = Stage(
    3,
    "Keep books in PostgreSQL",
    minutes=10,
    stars=2,
    task=(
        "`action` says what is asked: `ping`, as before; `create_book` puts a row into "
        "`books_v1` (`title`, `author`, `year`; the table exists, in the database of "
        "`DATABASE_URL`) and answers with the whole row; `get_book` answers with the row of "
        "`data.id`. `created_at` is text in ISO 8601."
    ),
    tips=(
        "`pool = await asyncpg.create_pool(os.environ['DATABASE_URL'], ssl=False)`, once.",
        "`INSERT … RETURNING *` gives the row; `dict(row)`; `row['created_at'].isoformat()`.",
    ),
    check=keeps,
)


async def refuses(trial: Trial) -> str:
    await trial.start()
    await trial.refused("unknown_action", "burn_book")
    await trial.refused("invalid_data", "create_book", {"title": "Without an author"})
    await trial.refused("invalid_data", "get_book", {"id": "one"})
    await trial.refused("not_found", "get_book", {"id": 1_000_000})
    await trial.send(b"no JSON", "unreadable")
    await trial.ok("ping")
    if await trial.books():
        raise Broken("A book was created out of a request that is invalid.")
    return "Bad requests get an answer that says what is wrong, and harm no others."


REFUSE = Stage(
    4,
    "Errors are answers",
    minutes=10,
    stars=1,
    task=(
        "A caller who gets no reply waits until their timeout, and knows nothing then. So what "
        'cannot be done is answered: `"status": "error"`, `"data": null`, `"error": {"code": …,'
        ' "message": …, "details": null}`. The codes: `unknown_action`; `invalid_data` for a '
        "book without a title or an author, and for an id that is no number; `not_found`; "
        "`malformed` for a body that is no JSON. And the server goes on."
    ),
    tips=(
        "An exception of your own with a code, raised where it is found, caught in one place.",
        "`json.loads` raises `ValueError`. A message may have no `reply_to` either.",
    ),
    check=refuses,
)


async def authenticates(trial: Trial) -> str:
    await trial.start()
    for api_key in ("not-a-key", None):
        stranger = await trial.lab.client(api_key=api_key)
        await trial.refused("unauthorized", "create_book", BOOK, client=stranger)
    connection = await connect(trial.lab.database_url)
    await connection.execute(REVOKED)
    await connection.close()
    late = await trial.lab.client(api_key="was-a-key")
    await trial.refused("unauthorized", "create_book", BOOK, client=late)
    if await trial.books():
        raise Broken("The reply says unauthorized, but the book was created.")
    await trial.ok("create_book", BOOK)
    return "Only those with a key may write."


AUTHENTICATE = Stage(
    5,
    "Who asks?",
    minutes=8,
    stars=2,
    task=(
        "`auth` is the caller's API key. The table `api_keys` has the `key_hash`, the SHA-256 "
        "of a key in hexadecimal; its `user_id`; and `revoked_at`, which is null while the key "
        "is valid. Without a valid key the answer is the error `unauthorized`, and nothing is "
        "done."
    ),
    tips=(
        "`hashlib.sha256(key.encode()).hexdigest()`.",
        "Ask before anything is done: also for `ping`.",
    ),
    check=authenticates,
)

STAGES = [CONSUME, REPLY, KEEP, REFUSE, AUTHENTICATE]
