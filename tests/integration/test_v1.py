"""Version 1 of the API, without a transport."""

from typing import Any

import pytest

from tests.support import BOOK, Caller


async def test_ping_answers(call: Caller) -> None:
    assert (await call("ping")).data == {"pong": True}


async def test_a_created_book_has_an_id_and_a_time_in_utc(call: Caller) -> None:
    book = (await call("create_book", BOOK)).data
    assert book.pop("created_at").endswith("Z")
    assert book == {"id": 1, **BOOK}


async def test_a_book_is_read_as_it_was_created(call: Caller) -> None:
    created = (await call("create_book", {"title": "Война и мир", "author": "Лев Толстой"})).data
    assert (await call("get_book", {"id": 1})).data == created


async def test_an_update_changes_what_it_names_and_nothing_else(call: Caller) -> None:
    created = (await call("create_book", BOOK)).data
    updated = (
        await call("update_book", {"id": 1, "title": "Nineteen Eighty-Four", "year": None})
    ).data
    assert updated == created | {"title": "Nineteen Eighty-Four", "year": None}
    assert (await call("get_book", {"id": 1})).data == updated


async def test_a_deleted_book_is_gone(call: Caller) -> None:
    await call("create_book", BOOK)
    assert (await call("delete_book", {"id": 1})).data == {"id": 1, "deleted": True}
    assert (await call("get_book", {"id": 1})).outcome == "not_found"


@pytest.mark.parametrize(
    ("action", "data"),
    [("get_book", {}), ("update_book", {"title": "T"}), ("delete_book", {})],
)
async def test_what_is_not_there_is_not_found(
    call: Caller, action: str, data: dict[str, Any]
) -> None:
    reply = await call(action, {"id": 2**63 - 1, **data})
    assert (reply.outcome, reply.error["details"]) == ("not_found", {"id": 2**63 - 1})  # type: ignore[index]


async def test_pages_hold_every_book_once(call: Caller) -> None:
    for number in range(5):
        await call("create_book", {"title": f"Book {number}", "author": "A"})
    seen, cursor = [], None
    while True:
        page = (await call("get_books", {"limit": 2, "cursor": cursor})).data
        seen += [book["id"] for book in page["books"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == [1, 2, 3, 4, 5]


async def test_an_empty_library_is_an_empty_last_page(call: Caller) -> None:
    assert (await call("get_books")).data == {"books": [], "next": None}


async def test_the_last_full_page_has_no_next(call: Caller) -> None:
    await call("create_book", BOOK)
    assert (await call("get_books", {"limit": 1})).data["next"] is None


@pytest.mark.parametrize("cursor", ["", "x", "YWZ0ZXI6", "YWZ0ZXI6LTE=", "ÿ", "🙂", "a" * 1000])
async def test_a_made_up_cursor_is_refused(call: Caller, cursor: str) -> None:
    assert (await call("get_books", {"cursor": cursor})).outcome == "invalid_data"


async def test_an_unknown_version_names_those_that_exist(call: Caller) -> None:
    reply = await call("ping", version="v7")
    assert reply.outcome == "unsupported_version"
    assert reply.error is not None
    assert "v1" in reply.error["details"]["versions"]


async def test_an_unknown_action_names_those_that_exist(call: Caller) -> None:
    reply = await call("burn_book")
    assert reply.outcome == "unknown_action"
    assert reply.error is not None
    assert "create_book" in reply.error["details"]["actions"]


@pytest.mark.parametrize("key", [None, "", "wrong", "\udc00"])
async def test_a_wrong_key_is_refused_and_not_repeated(call: Caller, key: str | None) -> None:
    reply = await call("create_book", BOOK, auth=key)
    assert reply.outcome == "unauthorized"
    assert "wrong" not in str(reply.error)


async def test_a_key_makes_one_book(call: Caller) -> None:
    first = await call("create_book", BOOK, idempotency_key="create-1984-v1")
    second = await call("create_book", BOOK, idempotency_key="create-1984-v1")
    assert first.to_bytes("c") == second.to_bytes("c")
    assert (first.replayed, second.replayed) == (False, True)
    assert len((await call("get_books")).data["books"]) == 1


async def test_a_key_with_other_data_is_refused(call: Caller) -> None:
    await call("create_book", BOOK, idempotency_key="k")
    for other in (BOOK | {"year": 1984}, {"title": "T", "author": "A"}):
        assert (await call("create_book", other, idempotency_key="k")).outcome == "key_reused"
    assert (await call("delete_book", {"id": 1}, idempotency_key="k")).outcome == "key_reused"


async def test_without_a_key_the_same_id_makes_one_book_and_another_id_a_second(
    call: Caller,
) -> None:
    await call("create_book", BOOK, id="a")
    assert (await call("create_book", BOOK, id="a")).replayed
    assert not (await call("create_book", BOOK, id="b")).replayed
    assert len((await call("get_books")).data["books"]) == 2


async def test_a_refusal_is_replayed_even_when_it_would_succeed_now(call: Caller) -> None:
    first = await call("delete_book", {"id": 1}, idempotency_key="k")
    await call("create_book", BOOK)
    again = await call("delete_book", {"id": 1}, idempotency_key="k")
    assert first.outcome == again.outcome == "not_found"
    assert again.replayed


async def test_invalid_data_does_not_use_the_key_up(call: Caller) -> None:
    assert (await call("create_book", {}, idempotency_key="k")).outcome == "invalid_data"
    assert (await call("create_book", BOOK, idempotency_key="k")).outcome == "ok"
