"""A virtual host and a database private to each test, on services private to the run."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import pytest

from labkit.broker.management import Broker
from labkit.services.permissions import granted
from server.application.dispatcher import Dispatcher
from server.persistence.database import Database
from server.security import accounts, authentication
from server.security.principal import Role
from server.settings import Settings
from tests.on_demand import ServicesOnDemand
from tests.support import Caller, at


def pytest_configure(config: pytest.Config) -> None:
    if not config.option.collectonly:
        config.pluginmanager.register(ServicesOnDemand(config))


_numbers = itertools.count(1)


@pytest.fixture
def place() -> Iterator[str]:
    """A name for what this test has to itself. The virtual hosts of its labs go with it: a broker
    with hundreds of idle quorum queues keeps a core busy with them.
    """
    name = f"test-{os.getpid()}-{next(_numbers)}"
    yield name
    if (management := os.environ.get("MANAGEMENT_URL")) is not None:
        # Without TLS no certificates are loaded, which would take 40 ms for each test.
        api = f"{management}/api"
        with httpx.Client(base_url=api, trust_env=False, verify=False, timeout=30) as http:
            there = http.get("/vhosts?columns=name").raise_for_status().json()
            # One that is just being deleted has no name.
            for vhost in [each["name"] for each in there if "name" in each]:
                if vhost.startswith(f"lab-{name}"):
                    http.delete(f"/vhosts/{vhost}").raise_for_status()


@pytest.fixture
async def vhost(place: str) -> AsyncIterator[str]:
    """The URL of an empty virtual host, as the lab's own user, who may do everything in it."""
    async with Broker(os.environ["MANAGEMENT_URL"]) as broker:
        await broker.create_vhost(place, granted(os.environ))
        yield at(os.environ["ADMIN_AMQP_URL"], place)
        await broker.delete_vhost(place)


DATABASE = f"test-{os.getpid()}"
AS_NEW = (
    f'ALTER DATABASE "{DATABASE}" ALLOW_CONNECTIONS true',
    f'ALTER DATABASE "{DATABASE}" RESET ALL',
    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'",
)
"""Whatever the test before has left."""


@pytest.fixture(scope="session")
def databases() -> set[str]:
    """Those that this process has made."""
    return set()


@pytest.fixture
async def empty_database(databases: set[str]) -> str:
    """The URL of a database without tables: this process's own, which its tests use one after the
    other, for to make one takes as long as many a test.
    """
    url = at(os.environ["DATABASE_URL"], DATABASE)
    if DATABASE in databases:
        await execute(os.environ["DATABASE_URL"], *AS_NEW)
        await execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    else:
        await execute(os.environ["DATABASE_URL"], f'CREATE DATABASE "{DATABASE}"')
        databases.add(DATABASE)
    return url


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def settings(vhost: str, empty_database: str) -> Settings:
    """A server of this test's own; retries that a test can wait for."""
    return Settings(
        amqp_url=vhost,
        database_url=empty_database,
        api_key="a key for the tests",
        retry_delays=(0.05, 0.1),
        lock_timeout=1.0,
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Tables, and one user: the librarian, with the settings' key."""
    database = Database(settings)
    try:
        await database.create_tables()
        async with database.transaction() as transaction:
            await authentication.prepare(transaction, settings.api_key)
        yield database
    finally:
        await database.close()


@pytest.fixture
def dispatcher(database: Database) -> Dispatcher:
    return Dispatcher(database)


@pytest.fixture
def call(dispatcher: Dispatcher, settings: Settings) -> Caller:
    """The librarian's calls."""
    return Caller(dispatcher, settings.api_key)


@pytest.fixture
async def reader(dispatcher: Dispatcher, database: Database) -> Caller:
    """The calls of a user who may only read, with a key of her own."""
    async with database.transaction() as connection:
        await accounts.add_user(connection, "Rita", Role.READER, "a long password")
        key = await accounts.make_key(connection, "Rita", "laptop")
    return Caller(dispatcher, key)
