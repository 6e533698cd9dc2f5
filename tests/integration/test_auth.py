"""Who may call, and what they may do."""

import asyncio
import base64
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from sqlalchemy import select, text

from server.application.dispatcher import Dispatcher
from server.contract.envelope import Request
from server.contract.errors import ApiError, RateLimited, Unauthorized
from server.persistence.database import Database
from server.persistence.models import SigningKey
from server.security import accounts, authentication, passwords, principal_cache, tokens
from server.security.authentication import CONFIGURED_USER
from server.security.principal import Principal, Role
from server.security.rate_limit import MOST_CALLERS, RateLimit
from server.settings import Settings
from tests.support import BOOK, Caller


async def token_of(call: Caller, name: str = "Rita", password: str = "a long password") -> str:
    reply = await call("login", {"name": name, "password": password}, auth=None)
    assert reply.error is None, reply.error
    return str(reply.data["token"])


async def test_a_reader_reads_and_does_not_write(reader: Caller, call: Caller) -> None:
    await call("create_book", BOOK)
    assert (await reader("get_book", {"id": 1})).outcome == "ok"
    writes: list[tuple[str, dict[str, Any]]] = [("create_book", BOOK), ("delete_book", {"id": 1})]
    for action, data in writes:
        assert (await reader(action, data, idempotency_key="k")).outcome == "forbidden"
    assert len((await call("get_books")).data["books"]) == 1


async def test_a_token_stands_for_its_user(reader: Caller) -> None:
    token = await token_of(reader)
    assert (await reader("ping", {"auth_token": token}, auth=None)).outcome == "ok"
    create = await reader("create_book", BOOK | {"auth_token": token}, auth=None)
    assert create.outcome == "forbidden"


async def test_login_says_how_long_the_token_lasts(reader: Caller) -> None:
    reply = await reader("login", {"name": "Rita", "password": "a long password"}, auth=None)
    assert reply.data["role"] == "reader"
    assert datetime.fromisoformat(reply.data["expires_at"]) > datetime.now(UTC)


@pytest.mark.parametrize(
    ("name", "password"),
    [("Rita", "wrong"), ("Nobody", "a long password"), ("librarian", "x"), ("Rita", " ")],
)
async def test_a_wrong_name_and_a_wrong_password_are_refused_alike(
    reader: Caller, name: str, password: str
) -> None:
    reply = await reader("login", {"name": name, "password": password}, auth=None)
    assert reply.outcome == "unauthorized"
    assert reply.error is not None
    assert reply.error["message"] == "The name or the password is wrong."


async def forged(database: Database, **changes: Any) -> str:
    """A token signed with the server's own key, but for the ``changes``."""
    async with database.reading() as connection:
        key = (await connection.execute(select(SigningKey))).one()
    now = datetime.now(UTC)
    claims = {
        "sub": "1",
        "iss": tokens.ISSUER,
        "aud": tokens.AUDIENCE,
        "iat": now,
        "exp": now + timedelta(hours=1),
    }
    headers = {"kid": changes.pop("kid", key.kid)}
    secret = changes.pop("secret", key.secret)
    algorithm = changes.pop("algorithm", tokens.ALGORITHM)
    claims = {n: v for n, v in (claims | changes).items() if v is not None}
    return jwt.encode(claims, secret, algorithm=algorithm, headers=headers)


async def test_the_forger_could_make_a_token_that_is_accepted(
    call: Caller, database: Database
) -> None:
    token = await forged(database)
    assert (await call("ping", {"auth_token": token}, auth=None)).outcome == "ok"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody-else"},
        {"aud": "another-api"},
        {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
        {"iat": datetime(2120, 1, 1, tzinfo=UTC)},
        {"kid": "unknown"},
        {"kid": "a\x00b"},
        {"secret": "another secret, long enough for HS256"},
        {"algorithm": "HS512"},
        {"sub": "999"},
        {"sub": "9" * 30},
        {"sub": "1 OR 1=1"},
        {"exp": None},
        {"aud": None},
        {"sub": None},
    ],
)
async def test_a_token_that_is_not_quite_right_is_refused(
    call: Caller, database: Database, changes: dict[str, Any]
) -> None:
    token = await forged(database, **changes)
    assert (await call("ping", {"auth_token": token}, auth=None)).outcome == "unauthorized"


async def test_an_unsigned_token_is_refused(call: Caller, database: Database) -> None:
    header = json.dumps({"alg": "none", "kid": "1"}).encode()
    _, payload, _ = (await forged(database)).split(".")
    for signature in ("", "AAAA"):
        token = f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.{payload}.{signature}"
        assert (await call("ping", {"auth_token": token}, auth=None)).outcome == "unauthorized"


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "\x00", 7, None, {"a": 1}, "é.é.é", "." * 9999]
)
async def test_what_is_no_token_is_refused(call: Caller, token: Any) -> None:
    assert (await call("ping", {"auth_token": token}, auth=None)).outcome == "unauthorized"


async def test_a_token_works_no_more_when_its_user_is_gone(
    reader: Caller, database: Database
) -> None:
    token = await token_of(reader)
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM api_keys WHERE label = 'laptop'"))
        await connection.execute(text("DELETE FROM users WHERE name = 'Rita'"))
    assert (await reader("ping", {"auth_token": token}, auth=None)).outcome == "unauthorized"


async def test_a_revoked_key_is_refused_within_a_second(reader: Caller, database: Database) -> None:
    assert (await reader("ping")).outcome == "ok"
    async with database.transaction() as connection:
        (key,) = [k for k in await accounts.list_keys(connection) if k.label == "laptop"]
        await accounts.revoke_key(connection, key.id)
    await asyncio.sleep(principal_cache.LASTS)
    assert (await reader("ping")).outcome == "unauthorized"


class LookUps:
    """Answers with a principal as soon as it is allowed to, and counts how often it was asked."""

    def __init__(self, end: Principal | Exception) -> None:
        self.end = end
        self.allowed = asyncio.Event()
        self.allowed.set()
        self.count = 0

    async def __call__(self) -> Principal:
        self.count += 1
        await self.allowed.wait()
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


ADA = Principal(1, "ada", "reader")


async def test_who_is_known_is_not_looked_up_again_for_a_second() -> None:
    now = 100.0
    cache, look_up = principal_cache.PrincipalCache(lambda: now), LookUps(ADA)
    assert await cache.get("digest", look_up) == ADA
    now += principal_cache.LASTS / 2
    assert (await cache.get("digest", look_up), look_up.count) == (ADA, 1)
    now += principal_cache.LASTS / 2
    assert (await cache.get("digest", look_up), look_up.count) == (ADA, 2)


async def test_who_was_refused_is_looked_up_each_time() -> None:
    revoked = replace(ADA, barred=Unauthorized("This key is revoked."))
    cache, look_up = principal_cache.PrincipalCache(), LookUps(revoked)
    for count in (1, 2):
        assert (await cache.get("digest", look_up), look_up.count) == (revoked, count)


@pytest.mark.parametrize("end", [ADA, Unauthorized("This key is not known.")])
async def test_all_that_ask_at_once_share_one_look_up_but_with_no_other_caller(
    end: Principal | Exception,
) -> None:
    cache, look_up, other = principal_cache.PrincipalCache(), LookUps(end), LookUps(ADA)
    look_up.allowed.clear()
    gone, *others = [asyncio.ensure_future(cache.get("digest", look_up)) for _ in range(64)]
    assert await cache.get("another digest", other) == ADA
    gone.cancel()
    look_up.allowed.set()
    assert set(await asyncio.gather(*others, return_exceptions=True)) == {end}
    assert (look_up.count, other.count) == (1, 1)


async def test_a_look_up_that_began_a_second_ago_is_not_joined() -> None:
    """A key may have been revoked since: ``server.admin`` said so, and nothing opens with it."""
    now = 100.0
    cache, slow = principal_cache.PrincipalCache(lambda: now), LookUps(ADA)
    slow.allowed.clear()
    first = asyncio.ensure_future(cache.get("digest", slow))
    await asyncio.sleep(0)
    now += principal_cache.LASTS
    revoked = LookUps(Unauthorized("This key is revoked."))
    with pytest.raises(Unauthorized):
        await cache.get("digest", revoked)
    slow.allowed.set()
    assert await first == ADA
    with pytest.raises(Unauthorized):
        await cache.get("digest", revoked)


async def test_another_configured_key_revokes_the_one_before(
    call: Caller, database: Database, dispatcher: Dispatcher, settings: Settings
) -> None:
    from server.security import authentication

    async with database.transaction() as connection:
        await authentication.prepare(connection, "a newer key")
    assert (await call("ping")).outcome == "unauthorized"
    assert (await Caller(dispatcher, "a newer key")("ping")).outcome == "ok"
    async with database.transaction() as connection:
        await authentication.prepare(connection, settings.api_key)
    assert (await call("ping")).outcome == "ok"


@pytest.mark.parametrize("replaced_before", [False, True])
async def test_a_configured_key_that_was_revoked_stays_revoked(
    call: Caller, database: Database, settings: Settings, replaced_before: bool
) -> None:
    async with database.transaction() as connection:
        if replaced_before:
            await authentication.prepare(connection, "a newer key")
        await accounts.revoke_key(connection, 1)
    for _ in range(2):
        with pytest.raises(authentication.KeyRevoked, match="Set API_KEY to a new one"):
            async with database.transaction() as connection:
                await authentication.prepare(connection, settings.api_key)
    assert (await call("ping")).outcome == "unauthorized"


async def test_a_token_of_a_clock_that_is_a_little_ahead_is_accepted(
    reader: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ahead, outcome in ((2, "ok"), (60, "unauthorized")):

        class Ahead(datetime):
            @classmethod
            def now(cls, tz: Any = None, seconds: int = ahead) -> "Ahead":
                return super().now(tz) + timedelta(seconds=seconds)

        with monkeypatch.context() as patch:
            patch.setattr(tokens, "datetime", Ahead)
            token = await token_of(reader)
        asked = await reader("ping", {"auth_token": token}, auth=None)
        assert asked.outcome == outcome


async def test_accounts_refuse_what_would_be_a_riddle_later(database: Database) -> None:
    async with database.transaction() as connection:
        await accounts.add_user(connection, "Rita", Role.READER, None)
        for wrong in (
            accounts.add_user(connection, "Ulf", Role.READER, "short"),
            accounts.make_key(connection, "Nobody", "k"),
            accounts.revoke_key(connection, 999),
        ):
            with pytest.raises(ApiError):
                await wrong
    async with database.transaction() as connection:
        with pytest.raises(ApiError, match="Rita"):
            await accounts.add_user(connection, "Rita", Role.READER, None)


async def test_passwords_and_keys_are_stored_as_digests(reader: Caller, database: Database) -> None:
    async with database.reading() as connection:
        everything = [
            str((await connection.execute(text(f"SELECT * FROM {table}"))).all())
            for table in ("users", "api_keys", "idempotency_keys")
        ]
    assert "a long password" not in "".join(everything)
    assert reader.api_key not in "".join(everything)
    assert "argon2id" in everything[0]


@pytest.fixture
def limited(database: Database, settings: Settings) -> Caller:
    """Two requests of each kind, and no more."""
    return Caller(Dispatcher(database, limit=RateLimit(rate=0.0, burst=2)), settings.api_key)


async def outcomes(call: Caller, count: int, *request: Any, **fields: Any) -> list[str]:
    return [(await call(*request, **fields)).outcome for _ in range(count)]


async def test_a_user_over_the_limit_is_refused_before_the_database_is_asked(
    limited: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await outcomes(limited, 2, "ping") == ["ok", "ok"]
    monkeypatch.setattr(database, "reading", lambda: pytest.fail("the database was asked"))
    assert await outcomes(limited, 2, "ping") == ["rate_limited"] * 2


async def test_a_user_is_limited_over_all_of_their_credentials(
    limited: Caller, database: Database
) -> None:
    async with database.transaction() as connection:
        other = await accounts.make_key(connection, CONFIGURED_USER, "another")
    assert await outcomes(limited, 1, "ping") + await outcomes(limited, 2, "ping", auth=other) == [
        *("ok", "ok", "rate_limited"),
    ]


async def test_guesses_are_limited_together_and_lock_out_no_one_who_is_known(
    limited: Caller,
) -> None:
    assert await outcomes(limited, 1, "ping") == ["ok"]
    guesses = [await limited("ping", auth=f"guess {number}") for number in range(5)]
    assert [g.outcome for g in guesses] == ["unauthorized"] * 2 + ["rate_limited"] * 3
    assert await outcomes(limited, 1, "ping") == ["ok"]


async def test_requests_without_credentials_are_limited_and_lock_out_no_login(
    limited: Caller, database: Database
) -> None:
    refused = await outcomes(limited, 4, "ping", auth=None)
    assert refused == ["unauthorized"] * 2 + ["rate_limited"] * 2
    async with database.transaction() as connection:
        await accounts.add_user(connection, "Rita", Role.READER, "a long password")
    assert await token_of(limited)


async def test_attempts_to_log_in_are_limited_for_each_name(limited: Caller) -> None:
    wrong = {"name": "Rita", "password": "wrong"}
    refused = await outcomes(limited, 3, "login", wrong, auth=None)
    assert refused == ["unauthorized", "unauthorized", "rate_limited"]
    other = await outcomes(limited, 1, "login", wrong | {"name": "Ida"}, auth=None)
    assert other == ["unauthorized"]


async def test_what_was_let_in_before_is_not_limited(limited: Caller, settings: Settings) -> None:
    await outcomes(limited, 2, "ping")
    request = {"id": "1", "version": "v1", "action": "ping", "auth": settings.api_key}
    again = await limited._dispatcher.execute(Request.model_validate(request), again=True)
    assert again.outcome == "ok"


def test_a_bucket_fills_again_with_time() -> None:
    now = time.monotonic()
    clock = iter([now, now, now, now + 1, now + 1]).__next__
    limit = RateLimit(rate=1, burst=2, clock=clock)
    limit.take("a")
    limit.take("a")
    with pytest.raises(RateLimited):
        limit.take("a")
    limit.take("a")
    with pytest.raises(RateLimited):
        limit.take("a")


def test_one_caller_does_not_use_up_what_another_has() -> None:
    limit = RateLimit(rate=0.0, burst=1)
    limit.take("a")
    limit.take("b")
    with pytest.raises(RateLimited):
        limit.take("a")


def test_the_memory_for_callers_is_bounded() -> None:
    limit = RateLimit()
    for number in range(MOST_CALLERS + 500):
        limit.take(str(number))
    assert len(limit._buckets) == MOST_CALLERS


def test_of_too_many_callers_the_one_that_asked_longest_ago_is_forgotten() -> None:
    limit = RateLimit(rate=0.0, burst=1)
    limit.take("the oldest")
    for number in range(MOST_CALLERS - 1):
        limit.take(str(number))
    with pytest.raises(RateLimited):
        limit.take("0")  # now it is the newest one
    limit.take("another")
    limit.take("the oldest")
    with pytest.raises(RateLimited):
        limit.take("0")


async def test_an_unknown_name_costs_a_hash_like_a_known_one(
    reader: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    verify = passwords._verify

    def counted(stored: str, password: str) -> bool:
        verified.append(stored)
        return verify(stored, password)

    monkeypatch.setattr(passwords, "_verify", counted)
    for name in ("Rita", "Nora", CONFIGURED_USER):  # known, unknown, known without a password
        refused = await reader("login", {"name": name, "password": "wrong"}, auth=None)
        assert refused.outcome == "unauthorized"
    assert len(verified) == 3
    costs = {stored.rsplit("$", 2)[0] for stored in verified}
    assert len(costs) == 1, "one of them is cheaper, and so quicker"
