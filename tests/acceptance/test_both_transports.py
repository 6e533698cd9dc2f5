"""One API over two transports: what one says, the other says. Each is the other's oracle."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from labkit import AsyncAPIClient, RestClient
from labkit.client.errors import NotConnected, ReplyTimeout
from server.application.dispatcher import Dispatcher
from server.contract.errors import Conflict, Forbidden, KeyReused, NotFound, Unauthorized
from server.persistence.database import Database
from server.security import accounts
from server.security.principal import Role
from server.settings import Settings
from tests.support import BOOK, rest_here, worker_here

Client = AsyncAPIClient | RestClient

AUTHOR = {"name": "J.K. Rowling", "birth_year": 1965, "country": "UK"}
TITLES = [
    "«Преступление и наказание»",
    "百年の孤独",
    'He said: "\\ %2F?&=#+"',
    "e\u0301 \U0001f4da",
]
KEYS = ["create-1984-v1", 'a "key" \\ with both', "ключ-1", "%41 b", "k" * 255]


@dataclass
class Both:
    """The same server and database, reached in two ways."""

    amqp: AsyncAPIClient
    rest: RestClient
    rest_url: str

    def __getitem__(self, name: str) -> Client:
        client: Client = getattr(self, name)
        return client


@pytest.fixture
async def both(
    settings: Settings, dispatcher: Dispatcher, database: Database
) -> AsyncIterator[Both]:
    async with (
        worker_here(settings, dispatcher),
        rest_here(settings, dispatcher, database) as url,
        AsyncAPIClient(settings.amqp_url, settings.api_key) as amqp,
        RestClient(url, settings.api_key) as rest,
    ):
        yield Both(amqp, rest, url)


@pytest.fixture(params=["amqp", "rest"])
def client(request: pytest.FixtureRequest, both: Both) -> Client:
    return both[request.param]


@pytest.fixture
def other(client: Client, both: Both) -> Client:
    """The other transport than ``client``'s."""
    return both.rest if client is both.amqp else both.amqp


async def test_a_book_of_version_1_lives_its_whole_life(client: Client, other: Client) -> None:
    book = await client.call("create_book", BOOK)
    assert book.items() >= BOOK.items()
    assert await other.call("get_book", {"id": book["id"]}) == book
    changed = await client.call("update_book", {"id": book["id"], "year": None, "title": "1985"})
    assert changed == book | {"year": None, "title": "1985"}
    assert await other.call("get_books") == {"books": [changed], "next": None}
    assert await client.call("delete_book", {"id": book["id"]}) == {
        "id": book["id"],
        "deleted": True,
    }
    with pytest.raises(NotFound):
        await other.call("get_book", {"id": book["id"]})


async def test_authors_and_books_of_version_2(client: Client, other: Client) -> None:
    author = await client.call("create_author", AUTHOR, version="v2")
    new = {"title": "Harry Potter", "author_id": author["id"], "genre": "Fantasy", "year": 1997}
    book = await client.call("create_book", new, version="v2")
    assert await other.call("get_author", {"id": author["id"]}, version="v2") == author
    assert (await other.call("get_authors", version="v2"))["authors"] == [author]
    with pytest.raises(Conflict):
        await other.call("delete_author", {"id": author["id"]}, version="v2")
    renamed = await other.call("update_author", {"id": author["id"], "name": "R."}, version="v2")
    assert await client.call("get_author", {"id": author["id"]}, version="v2") == renamed
    await client.call("delete_book", {"id": book["id"]}, version="v2")
    await other.call("delete_author", {"id": author["id"]}, version="v2")


FIND: list[dict[str, Any]] = [
    {},
    {"genre": "Fantasy"},
    {"genre": None, "author_id": 1, "year_from": 1950, "year_to": 1990},
    {"title": "ring & friends"},
    {"title": "ring"},
    {"sort": "-year", "limit": 3},
    {"genre": "«Жанр»"},
    {"year_from": -500},
]


async def test_a_list_is_filtered_sorted_and_paged_alike(both: Both) -> None:
    await _some_books(both.rest)
    for find in FIND:
        assert await _all_pages(both.amqp, find) == await _all_pages(both.rest, find)


async def _some_books(client: Client) -> None:
    await client.call("create_author", AUTHOR, version="v2")
    titles = ["The Ring", "The Hobbit", "Ring and friends", "Dune", "Solaris"]
    genres = ["Fantasy", "Fantasy", "«Жанр»", None, "Fantasy"]
    years = [1954, 1937, 2001, 1965, None]
    for title, genre, year in zip(titles, genres, years, strict=True):
        book = {"title": title, "author_id": 1, "genre": genre, "year": year}
        await client.call("create_book", book, version="v2")


async def _all_pages(client: Client, find: dict[str, Any]) -> list[Any]:
    pages, cursor = [], None
    while True:
        page = await client.call("get_books", {"limit": 2, **find, "cursor": cursor}, version="v2")
        pages.append(page)
        cursor = page["next"]
        if cursor is None:
            return pages


async def test_a_title_of_any_script_comes_back_as_it_was(client: Client, other: Client) -> None:
    for title in TITLES:
        author = await client.call("create_author", {"name": title}, version="v2")
        book = {"title": title, "author_id": author["id"], "genre": title}
        stored = await client.call("create_book", book, version="v2")
        assert stored["title"] == title
        assert (await other.call("get_books", {"genre": title}, version="v2"))["books"] == [stored]


REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("v1", "create_book", {}),
    ("v1", "create_book", {"title": 5, "author": "A"}),
    ("v1", "create_book", {"title": "T", "author": "A", "year": "1949"}),
    ("v1", "create_book", {"title": "T", "author": "A", "year": 10**400}),
    ("v1", "create_book", {"title": "T", "author": "A", "pages": 3}),
    ("v1", "create_book", {"title": "T" * 501, "author": "\u0000"}),
    ("v1", "update_book", {"id": 1}),
    ("v1", "update_book", {"id": 1, "title": None}),
    ("v1", "update_book", {"title": "T"}),
    ("v1", "get_book", {}),
    ("v1", "get_book", {"id": 0}),
    ("v1", "get_book", {"id": 2**63}),
    ("v1", "get_book", {"id": 10**30}),
    ("v1", "get_book", {"id": "one"}),
    ("v1", "get_book", {"id": 7}),
    ("v1", "get_book", {"id": 7, "colour": "red"}),
    ("v1", "delete_book", {"id": 7}),
    ("v1", "update_book", {"id": 7, "year": 1}),
    ("v1", "get_books", {"limit": 0}),
    ("v1", "get_books", {"limit": 101, "cursor": "nonsense"}),
    ("v1", "get_books", {"cursor": "nonsense"}),
    ("v2", "get_books", {"sort": "colour", "year_from": "then"}),
    ("v2", "create_book", {"title": "T", "author_id": 99}),
    ("v2", "create_book", {"title": "T", "author_id": 1, "isbn": "123"}),
    ("v2", "create_author", {"name": " "}),
]


async def test_a_refusal_is_the_same_to_the_last_word(both: Both) -> None:
    for version, action, data in REFUSED:
        one, two = [
            (await client.request(action, data, version=version)).error
            for client in (both.amqp, both.rest)
        ]
        assert one is not None, (version, action, data)
        assert one == two


ABSENT = [
    ("v9", "ping", "unsupported_version"),
    ("v9", "burn_book", "unsupported_version"),
    ("v1", "burn_book", "unknown_action"),
    ("v1", "create_author", "unknown_action"),
    ("v1", "get_authors", "unknown_action"),
    ("v1", "", "unknown_action"),
    ("v1", "../v2/books", "unknown_action"),
]


async def test_what_there_is_not_is_called_the_same(client: Client) -> None:
    codes = [
        (await client.request(action, {}, version=version)).error for version, action, _ in ABSENT
    ]
    assert [error and error["code"] for error in codes] == [code for _, _, code in ABSENT]


async def test_a_key_used_over_one_transport_is_known_over_the_other(
    client: Client, other: Client
) -> None:
    for key in KEYS:
        first = await client.request("create_book", BOOK, idempotency_key=key)
        again = await other.request("create_book", BOOK, idempotency_key=key)
        assert (first.status, first.replayed, again.replayed) == ("ok", False, True)
        assert (first.data, first.error) == (again.data, again.error)
        with pytest.raises(KeyReused):
            await other.call("create_book", BOOK | {"year": 1}, idempotency_key=key)
    assert len((await other.call("get_books"))["books"]) == len(KEYS)


async def test_over_rabbitmq_a_request_without_a_key_is_known_by_its_id(both: Both) -> None:
    first = await both.amqp.request("create_book", BOOK, request_id="the same")
    again = await both.amqp.request("create_book", BOOK, request_id="the same")
    assert (first.correlation_id, again.correlation_id) == ("the same", "the same")
    assert (first.data, again.replayed) == (again.data, True)


async def test_over_http_an_id_is_for_correlation_alone(both: Both) -> None:
    await both.amqp.request("create_book", BOOK, request_id="the same")
    for title in ("Solaris", "Eden"):
        reply = await both.rest.request(
            "create_book", {"title": title, "author": "Lem"}, request_id="the same"
        )
        assert (reply.correlation_id, reply.status, reply.replayed) == ("the same", "ok", False)


async def test_a_refusal_is_replayed_too(client: Client, other: Client) -> None:
    first = await client.request("delete_book", {"id": 7}, idempotency_key="k")
    again = await other.request("delete_book", {"id": 7}, idempotency_key="k")
    assert (first.error, again.replayed) == (again.error, True)


async def test_twenty_at_once_over_both_make_one_book(both: Both) -> None:
    calls = [
        both[name].request("create_book", BOOK, idempotency_key="k")
        for name in ("amqp", "rest") * 10
    ]
    replies = await asyncio.gather(*calls)
    assert {reply.data["id"] for reply in replies} == {1}
    assert sum(reply.replayed for reply in replies) == 19


async def test_a_token_got_over_one_transport_is_good_for_the_other(
    both: Both, settings: Settings, database: Database
) -> None:
    async with database.transaction() as transaction:
        await accounts.add_user(transaction, "anna", Role.READER, "a long password")
    login = {"name": "anna", "password": "a long password"}
    async with (
        AsyncAPIClient(settings.amqp_url) as amqp,
        RestClient(both.rest_url) as rest,
    ):
        for one, two in ((amqp, rest), (rest, amqp)):
            token = (await one.call("login", login))["token"]
            assert await two.call("get_books", {"auth_token": token}) == {"books": [], "next": None}
            with pytest.raises(Forbidden):
                await two.call("create_book", BOOK | {"auth_token": token})
            with pytest.raises(Unauthorized):
                await two.call("get_books", {"auth_token": token + "x"})
            with pytest.raises(Unauthorized):
                await one.call("login", login | {"password": "a wrong password"})
            with pytest.raises(Unauthorized):
                await two.call("get_books")


async def test_a_wrong_key_is_refused_alike(both: Both, settings: Settings) -> None:
    async with (
        AsyncAPIClient(settings.amqp_url, "wrøng") as amqp,
        RestClient(both.rest_url, "wrøng") as rest,
    ):
        errors = [(await client.request("ping")).error for client in (amqp, rest)]
    assert errors[0] is not None
    assert errors[0] == errors[1]


async def test_errors_are_raised_as_the_same_exceptions(client: Client) -> None:
    with pytest.raises(NotFound, match="no book 7") as refusal:
        await client.call("get_book", {"id": 7})
    assert refusal.value.details == {"id": 7}


async def test_a_call_that_takes_too_long_leaves_the_outcome_open(client: Client) -> None:
    with pytest.raises(ReplyTimeout, match="same idempotency key") as timeout:
        await client.call("create_book", BOOK, timeout=0.0001)
    assert not timeout.value.is_definite


async def test_a_timeout_that_is_none_is_refused(client: Client) -> None:
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout"):
            await client.call("ping", timeout=seconds)


async def test_a_closed_client_says_what_to_do_and_can_be_connected_again(client: Client) -> None:
    await client.close()
    await client.close()
    with pytest.raises(NotConnected, match=r"await client\.connect"):
        await client.call("ping")
    assert await client.connect() is await client.connect()
    assert await client.call("ping") == {"pong": True}


async def test_hundreds_of_calls_in_flight_get_each_its_own_reply(client: Client) -> None:
    ids = [f"call-{number}" for number in range(500)]
    replies = await asyncio.gather(
        *(client.request("ping", request_id=id_, timeout=60) for id_ in ids)
    )
    assert [reply.correlation_id for reply in replies] == ids
