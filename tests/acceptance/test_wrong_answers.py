"""What students try first: each is wrong, and answered with what helps."""

import ast
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import pytest

from labkit import Lab
from tests.acceptance.lesson_labs import LabOf, lab_of

__all__ = ["lab_of"]

EMPTIED = "await lab.start_workers(1); await lab.settle()"
"""A worker, and the queue that was full for the exercise is empty: else it refuses what comes next.
"""

TRIES: dict[str, list[tuple[str, str]]] = {
    "01/OneStays": [
        ("q = await channel.get_queue('letters'); await q.get()", "not acknowledged"),
        ("await (await channel.get_queue('letters')).purge()", "letters is empty"),
        (
            "await (await channel.get_queue('letters')).purge(); await put('letters', 'three')",
            "Only *three* should be, the one sent",
        ),
    ],
    "01/Survivor": [
        ("await channel.declare_queue('archive')", "not durable"),
        ("await channel.declare_queue('archive', durable=True)", "archive is empty"),
        (
            "await channel.declare_queue('archive', durable=True); await put('archive', 'x')",
            "which is transient",
        ),
    ],
    "01/TwoReaders": [
        ("await channel.declare_queue('anna', durable=True)", "no queue named boris"),
        (
            "for n in ('anna', 'boris'):\n"
            "    await channel.declare_queue(n, durable=True); await put(n, 'x')",
            "not from the exchange news",
        ),
        (
            "news = await channel.declare_exchange('news', 'fanout')\n"
            "for n in ('anna', 'boris'):\n"
            "    await channel.declare_queue(n, durable=True)\n"
            "await news.publish(aio_pika.Message(b'x'), '', mandatory=False)",
            "Was the queue bound",
        ),
        (
            "news = await channel.declare_exchange('news', 'direct')\n"
            "for n in ('anna', 'boris'):\n"
            "    await (await channel.declare_queue(n, durable=True)).bind(news, n)\n"
            "    await news.publish(aio_pika.Message(b'x'), n)",
            "news got two messages",
        ),
    ],
    "01/OneOut": [
        ("q = await channel.get_queue('crowd'); await (await q.get()).ack()", "still there"),
        ("q = await channel.get_queue('crowd'); [await q.get() for _ in range(7)]", "still holds"),
        ("await (await channel.get_queue('crowd')).purge()", "In crowd there is: nothing"),
    ],
    "02/OneBookTwoCalls": [
        ("for _ in range(2): await client.call('create_book', BRAVE)", "2 rows"),
        ("await client.call('create_book', BRAVE, idempotency_key='k')", "no call since"),
        (
            "for _ in range(2): await client.call('create_book', BRAVE | {'year': 1931}, "
            "idempotency_key='k')",
            "1931",
        ),
    ],
    "02/ByHand": [
        ("await channel.declare_queue('my-replies', durable=True)", "is empty"),
        (
            "await channel.declare_queue('my-replies', durable=True)\n"
            "await ping('my-replies', 'other')",
            "not 'by-hand'",
        ),
        (
            "await channel.declare_queue('my-replies', durable=True)\n"
            "await ping('my-replies', 'by-hand', auth='made up')",
            "unauthorized",
        ),
        (
            "await channel.declare_queue('my-replies', durable=True)\n"
            "await put('my-replies', 'pong')",
            "is no reply",
        ),
        (
            "await channel.declare_queue('my-replies', durable=True)\n"
            "await put('my-replies', '{\"status\": \"ok\"}', correlation_id='by-hand')\n"
            "await client.call('ping')",
            "with the id `by-hand`",
        ),
    ],
    "02/TenAtOnce": [
        ("await client.call('create_book', PART | {'title': 'Part 1'})", "1 rows of 1 parts"),
        (
            "await asyncio.gather(*(client.call('create_book', PART | {'title': f'Part {n}'}) "
            "for n in range(1, 11)))",
            "have another year",
        ),
        (
            "for n in range(1, 11):\n"
            "    b = await client.call('create_book', PART | {'title': f'Part {n}'})\n"
            "    await client.call('update_book', {'id': b['id'], 'year': 1900 + b['id']})",
            "one after the other",
        ),
    ],
    "02/AfterTheTimeout": [
        ("await lab.start_workers(1); await client.call('create_book', DUNE)", "had timed out"),
        (
            "await give_up(client.call('create_book', DUNE, timeout=0.3)); "
            "await lab.start_workers(1); await client.call('create_book', DUNE)",
            "Without an idempotency key",
        ),
        (
            "await lab.start_workers(1)\nfor _ in range(2): await client.call('create_book', DUNE)",
            "2 rows of Dune",
        ),
    ],
    "03/OneField": [
        ("await client.call('update_book', {'id': 1, 'year': 1815}, version='v2')", "should be"),
        ("await client.call('delete_book', {'id': 1}, version='v2')", "0 books"),
        (
            "await client.call('create_book', {'title': 'Emma', 'author_id': 1, 'year': 1815}, "
            "version='v2')",
            "2 books",
        ),
        (
            "await client.call('delete_book', {'id': 1}, version='v2')\n"
            "right = {'genre': 'Novel', 'year': 1815, 'isbn': '978-0-14-143958-7'}\n"
            "await client.call('create_book', right | {'title': 'Emma', 'author_id': 1}, "
            "version='v2')",
            "in another book",
        ),
    ],
    "03/MoveToVersion2": [
        (
            "await client.call('create_book', {'title': CASUAL, 'author': 'J.K. Rowling'})",
            "pass version='v2'",
        ),
        (
            "a = await client.call('create_author', {'name': 'J.K. Rowling'}, version='v2')\n"
            "await client.call('create_book', {'title': CASUAL, 'author_id': a['id']}, "
            "version='v2')",
            "2 authors",
        ),
        (
            "await client.call('create_book', {'title': CASUAL, 'author_id': 1}, version='v2')",
            "update_book changes",
        ),
        (
            "await client.call('delete_author', {'id': 1}, version='v2')\n"
            "a = await client.call('create_author', {'name': 'J.K. Rowling'}, version='v2')\n"
            "book = {'title': CASUAL, 'genre': 'Tragicomedy', 'year': 2012}\n"
            "await client.call('create_book', book | {'author_id': a['id']}, version='v2')",
            "a new J.K. Rowling",
        ),
    ],
    "03/AllPages": [
        (
            "page = await client.call('get_books', {'genre': 'Poetry'}, version='v2')\n"
            "for b in page['books']:\n"
            "    await client.call('delete_book', {'id': b['id']}, version='v2')",
            "poems are left",
        ),
        (
            "for b in (await lab.rows('books_v2'))['id']:\n"
            "    await client.call('delete_book', {'id': int(b)}, version='v2')",
            "2 of the two plays",
        ),
        (
            "for b in (await lab.rows('books_v2'))['id']:\n"
            "    await client.call('delete_book', {'id': int(b)}, version='v2')\n"
            "for t in ('Play 1', 'Play 2'):\n"
            "    play = {'title': t, 'genre': 'Drama', 'author_id': 1}\n"
            "    await client.call('create_book', play, version='v2')",
            "2 of the two plays",
        ),
        ("await client.call('delete_book', {'id': 1}, version='v2')", ""),
    ],
    "03/OnlyLook": [
        (
            "await client.call('create_author', {'name': 'Ravi'}, version='v2')",
            "no user named Ravi",
        ),
        (
            "await lab.admin('users', 'add', 'Ravi')\n"
            "await client.call('create_author', {'name': 'Ravi'}, version='v2')",
            "with the lab's own key",
        ),
        (
            "await lab.admin('users', 'add', 'Ravi')\n"
            "other = await lab.client(api_key='made up')\n"
            "await other.request('create_author', {'name': 'Ravi'}, version='v2')",
            "should be forbidden",
        ),
    ],
    "04/KeyReused": [
        ("await client.call('create_book', DUNE)", "under the key `mine`"),
        (
            "await client.call('create_book', DUNE, idempotency_key='mine')",
            "nothing was key_reused",
        ),
        (
            "await client.call('create_book', DUNE, idempotency_key='mine')\n"
            "await client.call('create_book', DUNE | {'year': 1}, idempotency_key='other')",
            "2 books",
        ),
        (
            "for b in (EMMA, DUNE):\n"
            "    await client.request('create_book', b, idempotency_key='mine')",
            "*Dune* should be",
        ),
    ],
    "04/TwoCopies": [
        (
            "for _ in range(4): await client.call('create_book', EMMA, idempotency_key='k')",
            "one copy",
        ),
        ("for _ in range(4): await client.call('create_book', EMMA)", "4 copies"),
        ("for _ in range(2): await client.call('create_book', EMMA)", "sent twice"),
        (
            "for _ in range(3): await client.call('create_book', EMMA, idempotency_key='k')\n"
            "await client.call('create_book', EMMA)",
            "sent twice",
        ),
        (
            "for k in 'kkkj': await client.call('create_book', EMMA, idempotency_key=k)",
            "sent twice",
        ),
    ],
    "04/ImpatientClient": [
        (
            "for t in ('Dune', 'Emma', 'Ulysses'):\n"
            "    for _ in range(5): await client.call('create_book', DUNE | {'title': t})",
            "made more than once",
        ),
        ("await client.call('create_book', DUNE, idempotency_key='k')", "Missing: Emma"),
        (
            "for t in ('Dune', 'Emma', 'Ulysses'):\n"
            "    for _ in range(5):\n"
            "        await client.call('create_book', DUNE | {'title': t}, idempotency_key=t)",
            "one call after the other",
        ),
    ],
    "04/YourOwnConsumer": [
        ("await (await channel.get_queue('payments')).purge()", "they are lost"),
        ("q = await channel.get_queue('payments'); await q.get()", "not acknowledged"),
        (
            "q = await channel.get_queue('payments'); await q.purge()\n"
            "for n in range(1, 11): await sql(f\"INSERT INTO payments VALUES ('payment-{n}', 1)\")",
            "wrong amounts",
        ),
    ],
    "05/PutBack": [
        ("q = await channel.get_queue('parcels'); await (await q.get()).ack()", "handed back yet"),
        ("q = await channel.get_queue('parcels'); await q.get()", "still hold 1"),
        (
            "q = await channel.get_queue('parcels'); await (await q.get()).ack()\n"
            "got = [await q.get(), await q.get()]\n"
            "for p in reversed(got): await p.reject(requeue=True)",
            "it was taken, too",
        ),
        (
            "q = await channel.get_queue('parcels'); await q.purge()\n"
            "for n in ('two', 'three'): await put('parcels', n)\n"
            "await (await q.get()).reject(requeue=True)",
            "are new ones",
        ),
    ],
    "05/ThreeInHand": [
        ("q = await channel.get_queue('parcels'); await (await q.get()).ack()", "1 are gone"),
        ("q = await channel.get_queue('parcels'); [await q.get() for _ in range(5)]", "5 are held"),
        ("await (await channel.get_queue('parcels')).purge()", "10 are gone"),
    ],
    "05/NothingLost": [
        ("await lab.start_workers(1); await client.call('create_book', DUNE)", "0 workers were"),
        (
            "await dies(1, 'applied'); await lab.start_workers(1); await call",
            "1 workers were killed",
        ),
        (
            "await dies(1, 'committed'); await lab.start_workers(1); await call",
            "*after* its commit",
        ),
        ("await lab.start_workers(3); await client.call('create_book', DUNE)", "0 workers were"),
    ],
    "05/TwoWorkersOneRequest": [
        ("await lab.start_workers(1); await client.call('create_book', DUNE)", "written it itself"),
        ("await dies(1, 'applied')", "no book yet"),
        ("await dies(1, 'committed')", "there is the book".replace("there", "There")),
        (
            "await lab.start_workers(1)\n"
            "for _ in range(2): await client.request('create_book', DUNE, request_id='one')",
            "written it itself",
        ),
    ],
    "06/OneLetter": [
        ("await lab.dead_letters.replay()", "The library has"),
        ("await lab.dead_letters.purge('api.dlq')", "The library has []"),
        ("await client.call('create_book', EMMA | {'year': 1815})", "the letters left are"),
        (
            "await client.call('create_book', EMMA | {'year': 1815})\n"
            "await lab.dead_letters.purge('api.dlq', ids='emma')",
            "not by the request of her letter",
        ),
    ],
    "06/TheCause": [
        ("await lab.dead_letters.purge('api.dlq')", "three books are wanted"),
        ("await client.call('create_book', DUNE)", "three books are wanted"),
        (
            "await sql('ALTER TABLE books_v1 DROP CONSTRAINT censorship')\n"
            "for t in ('Emma', 'Persuasion', 'Sanditon'):\n"
            "    await client.call('create_book', {'title': t, 'author': 'Jane Austen'})",
            "not by the requests of the letters",
        ),
    ],
    "06/FourLetters": [
        ("await lab.dead_letters.purge('api.dlq')", "0 letters"),
        ("await lab.dead_letters.replay()", "ulysses (invalid_data)"),
        (
            "for _ in range(2): await client.call('create_book', EMMA)",
            "Emma is there 2 times",
        ),
    ],
    "06/OneOfThousands": [
        ("await channel.declare_queue('quarantine', durable=True)", "In quarantine there are 0"),
        (
            "await channel.declare_queue('quarantine', durable=True)\n"
            "await put('quarantine', '{\"order\": 1733')",
            "its original is still",
        ),
        (
            "await channel.declare_queue('quarantine', durable=True)\n"
            "await put('quarantine', '{\"order\": 1733')\n"
            "q = await channel.get_queue('intake'); await (await q.get()).ack()",
            "but not those",
        ),
        ("q = await channel.get_queue('intake'); await q.get()", "still holds 1"),
    ],
    "07/LostReply": [
        ("await client.call('create_book', EMMA)", "no reply was lost"),
        ("await lost(EMMA, idempotency_key='k')", "ask again, with the key"),
        ("await lost(EMMA); await client.call('create_book', EMMA)", "another key, or none"),
        (
            "await client.call('create_book', EMMA, idempotency_key='k')\n"
            "await lab.faults.messages.drop('reply')\n"
            "await give_up(client.call('ping', timeout=1))\n"
            "await client.call('create_book', EMMA, idempotency_key='k')",
            "that of another call",
        ),
    ],
    "07/AnsweredByTheNext": [
        ("await client.call('create_book', DUNE)", "no worker was killed"),
        ("await killed('committed', DUNE)", "still waits in the queue"),
        (
            "await killed('applied', DUNE); await lab.start_workers(1); await call",
            "at the step `committed`",
        ),
    ],
    "07/DatabaseDies": [
        ("await books(20)", "was not killed"),
        (
            "async with await lab.faults.kill('database'): pass\nawait books(20)",
            "none met a dead database",
        ),
        (
            "async with await lab.faults.kill('database'): pass\nawait books(3)",
            "17 books are missing",
        ),
        (
            "async with await lab.faults.kill('database'): await twenty(timeout=1)\n"
            "await twenty(timeout=60); await lab.settle()",
            "20 calls failed, or gave up",
        ),
    ],
    "07/ThroughARestart": [
        ("await lab.start_workers(1); await client.call('create_book', DUNE)", "was not away"),
        (
            "await lab.start_workers(1); await client.call('create_book', DUNE)\n"
            "await lab.faults.restart('broker')",
            "before the broker was killed",
        ),
        (
            "await lab.faults.restart('broker'); await lab.start_workers(1)\n"
            "for _ in range(2): await client.call('create_book', DUNE)",
            "There are 2",
        ),
        (
            "await lab.faults.restart('broker'); await lab.start_workers(1)\n"
            "await client.call('create_book', DUNE, timeout=60)",
            "was not in the queue",
        ),
        (
            "async with await lab.faults.kill('broker'):\n"
            "    call = asyncio.create_task(client.call('create_book', DUNE, timeout=60))\n"
            "    await asyncio.sleep(0.2)\n"
            "await lab.start_workers(1); await call",
            "was not in the queue",
        ),
    ],
    "11/AnotherLeads": [
        ("async with await lab.faults.kill(await another()): pass", "led the queue"),
        ("await lab.faults.kill('leader of api.requests')", "is not back"),
        ("await lab.faults.restart('leader of api.requests')", "stopped politely"),
        (
            "async with await lab.faults.kill(await another()): pass\n"
            "await lab.faults.restart('leader of api.requests')",
            "stopped politely",
        ),
        (
            "led = await leader()\n"
            "async with await lab.faults.kill(led): pass\n"
            "await give_the_lead_to(led)",
            "leads again",
        ),
    ],
    "11/ThroughAnElection": [
        ("await lab.start_workers(1); await books(20)", "no node died"),
        (
            "await lab.start_workers(1); await books(20)\n"
            "async with await lab.faults.kill('broker-1'): pass",
            "before the node died",
        ),
        ("await lab.start_workers(1); await books(19)", "1 of 20 are missing"),
        (
            "async with await lab.faults.kill('leader of api.requests'): pass\n"
            "await lab.start_workers(1); await books(20)",
            "Of twenty 0 were asked for",
        ),
        (
            "async with await lab.faults.kill(await another()): pass\n"
            "await lab.start_workers(1); await books(20)",
            "led the queue",
        ),
    ],
    "11/TwoOfThree": [
        ("await lab.start_workers(1); await client.call('create_book', DUNE)", "Never were two"),
        (
            "async with await lab.faults.kill('broker-1'): pass\n"
            "async with await lab.faults.kill('broker-2'): pass\n"
            "await lab.start_workers(1); await client.call('create_book', DUNE)",
            "Never were two",
        ),
        (
            "await lab.start_workers(1)\nfor _ in range(2): await client.call('create_book', DUNE)",
            "There are 2",
        ),
        (
            "faults = [await lab.faults.kill(n) for n in ('broker-1', 'broker-2')]\n"
            "for fault in faults: await fault.heal()\n"
            "await lab.start_workers(1); await client.call('create_book', DUNE, timeout=60)",
            "was not in the queue",
        ),
    ],
    "11/UpdatedInTurn": [
        ("await lab.faults.restart('broker-1')", "these were restarted: broker-1"),
        (
            "await client.call('create_book', {'title': 'Update 1', 'author': 'A'})",
            "these were restarted: none",
        ),
        (
            "for n in (1, 2, 3): await lab.faults.restart(f'broker-{n}')\n"
            "await client.call('create_book', {'title': 'Update 1', 'author': 'A'}, timeout=60)",
            "no book was made",
        ),
    ],
    "08/TwelveWait": [
        ("await lab.start_workers(1); await client.call('ping')", "1 pings were answered"),
        ("await give_up(client.call('ping', timeout=0.2))", "start a worker"),
        (
            "await give_up(client.call('ping', timeout=0.2))\n"
            "await lab.start_workers(1); await lab.settle()",
            "had expired",
        ),
        (
            "await lab.start_workers(1)\nawait at_once(client.call('ping') for _ in range(12))",
            "0 of them were in the queue",
        ),
        (
            "calls = asyncio.create_task(at_once(client.call('ping') for _ in range(8)))\n"
            "await waiting(8); await lab.start_workers(1); await calls\n"
            "await at_once(client.call('ping') for _ in range(4))",
            "8 of them were in the queue",
        ),
    ],
    "08/TheDeadAndTheLiving": [
        ("await lab.start_workers(1); await client.call('create_book', DUNE)", "The library has"),
        (
            "await lab.start_workers(1)\nfor n in range(1, 6):\n"
            "    await client.call('create_book', {'title': f'Alive {n}', 'author': 'A'})",
            "0 requests were skipped",
        ),
        (
            "await lab.start_workers(1)\n"
            "await client.call('create_book', {'title': 'Late 1', 'author': 'A'})",
            "none that is late",
        ),
        (
            "await at_once(five('Late', timeout=0.3)); await lab.start_workers(1)\n"
            "await at_once(five('Alive'))",
            "5 of the ten were in the queue",
        ),
        (
            "alive = asyncio.create_task(at_once(five('Alive', timeout=60))); await waiting(5)\n"
            "await at_once(five('Late', timeout=0.3)); await lab.start_workers(1); await alive",
            "Put them behind",
        ),
    ],
    "08/ChooseAPrefetch": [
        ("await lab.start_workers(1); await slow(5)", "5 of the forty"),
        ("await lab.start_workers(1, prefetch=2); await slow(40)", "a larger prefetch"),
        ("await lab.start_workers(2, prefetch=8); await slow(40)", "2 workers did it"),
        (
            "await lab.start_workers(1, prefetch=50); await slow(40)\n"
            "await lab.stop_workers(); await lab.start_workers(1, prefetch=8)",
            "It may hold 50",
        ),
    ],
    "08/Encyclopedia": [
        (f"{EMPTIED}; await volumes(60)", "40 of 100 volumes are missing"),
        (f"{EMPTIED}; await volumes(100, key=False)", "not every request had"),
        (f"{EMPTIED}; await volumes(100)", "the broker refused none"),
        (
            f"{EMPTIED}; await at_once(until_taken(n) for n in range(1, 101))",
            "start a worker afterwards",
        ),
    ],
    "09/WrittenHereReadThere": [
        ("await client.call('create_book', EMMA)", "not read with `get_book` yet"),
        (
            "b = await client.call('create_book', EMMA); "
            "await client.call('get_book', {'id': b['id']})",
            "the same server",
        ),
        (
            "b = await rest.call('create_book', EMMA); "
            "await client.call('get_book', {'id': b['id']})",
            "The other way round",
        ),
        (
            "b = await client.call('create_book', DUNE); "
            "await rest.call('get_book', {'id': b['id']})",
            "is not *Emma*",
        ),
        (
            "for c in (client, rest):\n"
            "    b = await c.call('create_book', EMMA); await c.call('get_book', {'id': b['id']})",
            "the same server",
        ),
    ],
    "09/NotAtTheSameTime": [
        ("await away(20)", "their server was there"),
        ("await away(5)", "5 rows of 5 books"),
        ("await away(20); await away(3)", "23 rows of 20 books"),
        (
            "await lab.stop_workers(); await lab.start_workers(1); await away(20)",
            "when 20 of them were asked for",
        ),
        (
            "await away(20); await lab.stop_workers(); await lab.start_workers(1)",
            "when 20 of them were asked for",
        ),
    ],
    "09/TheOtherDoor": [
        ("await rest.call('create_book', DUNE, idempotency_key='k')", "ask again"),
        (
            "for _ in range(2): await rest.call('create_book', DUNE, idempotency_key='k')",
            "one server",
        ),
        (
            "await rest.call('create_book', DUNE, idempotency_key='k'); "
            "await client.call('create_book', DUNE, idempotency_key='j')",
            "same idempotency key",
        ),
        (
            "for c in (client, rest): await c.call('create_book', DUNE, idempotency_key='k')",
            "The other way round",
        ),
        (
            "for _ in range(2): await rest.call('create_book', DUNE, idempotency_key='k')\n"
            "await client.request('create_book', EMMA, idempotency_key='k')",
            "over RabbitMQ the outcomes were: key_reused",
        ),
    ],
    "09/InTurns": [
        ("await client.call('ping')", "went through one server"),
        ("for c in (client, rest): await pings(c, 10)", "10 calls on one side"),
        ("for c in (client, rest): await pings(c, 200)", "took turns 2 times"),
        (
            "for c in (client, rest): await pings(c, 200)\n"
            "for c in (client, rest) * 3: await pings(c, 1)",
            "One turn had 200 calls",
        ),
    ],
}
"""Label of the exercise → what is tried, and a part of what is said to it."""

TOOLS = """
import asyncio, json
import aio_pika
from labkit.database import connect
from labkit.experiments import crash
from server.contract.connection import connect as connect_amqp
from server.contract.errors import ApiError

BRAVE = {"title": "Brave New World", "author": "Aldous Huxley", "year": 1932}
DUNE = {"title": "Dune", "author": "Frank Herbert"}
EMMA = {"title": "Emma", "author": "Jane Austen"}
PART = {"author": "Marcel Proust"}
CASUAL = "The Casual Vacancy"

async def put(queue, text, **properties):
    await channel.default_exchange.publish(aio_pika.Message(text.encode(), **properties), queue)

async def ping(reply_to, id, auth=None):
    body = {"id": id, "version": "v1", "action": "ping", "data": {}, "auth": auth or lab.api_key}
    message = aio_pika.Message(json.dumps(body).encode(), correlation_id=id, reply_to=reply_to)
    await channel.default_exchange.publish(message, "api.requests")

async def give_up(call):
    try:
        await call
    except ApiError:
        pass

async def at_once(calls):
    await asyncio.gather(*calls, return_exceptions=True)

async def waiting(count):
    while (await lab.queues())["ready"].get("api.requests", 0) < count:
        await asyncio.sleep(0.05)

async def sql(statement):
    connection = await connect(lab.database_url)
    await connection.execute(statement)
    await connection.close()

async def leader():
    return (await lab.queues()).loc["api.requests", "leader"]

async def another():
    return ({"broker-1", "broker-2", "broker-3"} - {await leader()}).pop()

async def give_the_lead_to(node):
    name = "lab@localhost" if node == "broker-1" else f"lab-{node[-1]}@localhost"
    queue = f'rabbit_misc:r(<<"{lab.vhost}">>, queue, <<"api.requests">>)'
    found = f"{{ok, Queue}} = rabbit_amqqueue:lookup({queue}), Led = amqqueue:get_pid(Queue)"
    move = f"{found}, ra:transfer_leadership(Led, {{element(1, Led), '{name}'}})"
    while await leader() != node:  # one that still catches up is not given it
        lab._open_workspace().tools.evaluate(move)
        await asyncio.sleep(0.5)

async def dies(number, step):
    global call
    call = asyncio.create_task(client.call("create_book", DUNE, timeout=60))
    await lab.start_workers(dies_at=step)
    await crash.ended(lab, f"worker-{number}")

async def lost(book, **options):
    await lab.faults.messages.drop("reply")
    await give_up(client.call("create_book", book, timeout=2, **options))

async def killed(step, book):
    global call
    kill = await lab.faults.kill(at=step)
    call = asyncio.create_task(client.call("create_book", book, timeout=60))
    await kill.reached()

async def books(count):
    for n in range(1, count + 1):
        await client.call("create_book", {"title": f"Book {n}", "author": "A"}, timeout=60)

async def twenty(**options):
    books = {f"b{n}": {"title": f"Book {n}", "author": "A"} for n in range(1, 21)}
    create = lambda k: client.call("create_book", books[k], idempotency_key=k, **options)
    await at_once(create(key) for key in books)

def five(kind, **options):
    books = [{"title": f"{kind} {n}", "author": "A"} for n in range(1, 6)]
    return [client.call("create_book", book, **options) for book in books]

async def slow(count):
    books = [{"title": f"Slow {n}", "author": "waits"} for n in range(1, count + 1)]
    await asyncio.gather(*(client.call("create_book", book, timeout=60) for book in books))

async def volume(n, key=True):
    book = {"title": f"Volume {n}", "author": "Denis Diderot"}
    await client.call("create_book", book, idempotency_key=f"v{n}" if key else None)

async def until_taken(n):
    while True:
        try:
            return await volume(n)
        except ApiError:
            await asyncio.sleep(0.1)

async def volumes(count, key=True):
    for n in range(1, count + 1):
        await volume(n, key)

async def away(count):
    for call in calls_away(count):
        await call

def calls_away(count, **options):
    books = [{"title": f"Away {n}", "author": "A"} for n in range(1, count + 1)]
    return [client.call("create_book", book, **options) for book in books]

async def pings(client, count):
    for _ in range(count):
        await client.call("ping")
"""
CHANNEL = "connection = await connect_amqp(lab.amqp_url); channel = await connection.channel()"
CLOSE = "await connection.close()"


async def run(code: str, names: dict[str, Any]) -> None:
    """As a cell does."""
    cell = compile(code, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if (running := eval(cell, names)) is not None:
        await running


@asynccontextmanager
async def a_kernel(lab: Lab) -> AsyncIterator[dict[str, Any]]:
    """What a student has in one, connected to the lab for as long as the block lasts."""
    names: dict[str, Any] = {"lab": lab, "client": await lab.client()}
    if lab.rest_url:
        names["rest"] = await lab.rest_client()
    await run(TOOLS, names)
    await run(CHANNEL, names)
    try:
        yield names
    finally:
        await run(CLOSE, names)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("label", TRIES)
async def test_what_is_tried_first_is_wrong_and_answered_with_what_helps(
    lab_of: LabOf, label: str
) -> None:
    lesson, _, name = label.partition("/")
    kind = getattr(import_module(f"labkit.exercises.lesson_{lesson}"), name)
    lab = await lab_of(lesson)
    await kind(lab).begin()  # another exercise's last try may have left it without REST
    async with a_kernel(lab) as names:
        for code, says in TRIES[label]:
            exercise = await kind(lab).begin()
            await run(code, names)
            found = await exercise.check()
            assert found.outcome == "wrong", f"{code}\n{found}"
            assert says in found.text, f"{code}\n{found}"
            await run(f"{CLOSE}; {CHANNEL}", names)
