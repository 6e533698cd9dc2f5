"""AMQP over TLS only: who the broker is gets checked, and nothing is said in the clear."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio

from labkit import AsyncAPIClient
from labkit.client.errors import QueueFull, Unroutable
from labkit.errors import BrokerAway
from labkit.services import handshake
from labkit.services.environment import ROOT
from labkit.services.home import Tls
from labkit.services.private import private_services
from server.application.dispatcher import Dispatcher
from server.settings import Settings
from server.transports.amqp.worker import Worker
from tests.support import eventually

MAKE = ROOT / "docker" / "certificates.sh"


def certificates(folder: Path, *names: str) -> Tls:
    subprocess.run(["sh", MAKE, folder, *names], check=True, capture_output=True)
    return Tls(folder / "ca.pem", folder / "server.pem", folder / "server.key")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def urls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """A broker that is called 127.0.0.1, and by no other name."""
    home = tmp_path_factory.mktemp("tls")
    tls = certificates(home / "certificates", "IP:127.0.0.1")
    async with private_services(home / "lab", durable=False, tls=tls) as urls:
        yield urls


@pytest.fixture
def settings(urls: dict[str, str]) -> Settings:
    return Settings(amqp_url=urls["SERVER_AMQP_URL"], database_url=urls["DATABASE_URL"])


@pytest.fixture(params=["the CA is another", "the name is another", "not over TLS"])
def wrong(request: pytest.FixtureRequest, urls: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The addresses, each wrong in the same way."""
    if request.param == "the CA is another":
        stranger = certificates(tmp_path, "IP:127.0.0.1").authority
        query = f"?cafile={quote(str(stranger))}"
        return {name: url.partition("?")[0] + query for name, url in urls.items()}
    if request.param == "the name is another":
        return {name: url.replace("@127.0.0.1:", "@localhost:") for name, url in urls.items()}
    return {name: url.replace("amqps:", "amqp:") for name, url in urls.items()}


async def test_worker_and_client_speak_over_tls(
    urls: dict[str, str], settings: Settings, dispatcher: Dispatcher
) -> None:
    stop = asyncio.Event()
    worker = asyncio.create_task(Worker(settings, dispatcher).run(stop))
    try:
        async with AsyncAPIClient(urls["AMQP_URL"], settings.api_key, timeout=2) as client:

            async def answered() -> bool:
                with suppress(Unroutable, QueueFull):  # the worker has not yet declared its queues
                    return (await client.request("ping")).status == "ok"
                return False

            await eventually(answered)
    finally:
        stop.set()
        await worker


async def test_a_client_refuses_what_is_not_its_broker(wrong: dict[str, str]) -> None:
    with pytest.raises(BrokerAway):
        await AsyncAPIClient(wrong["AMQP_URL"]).connect()


async def test_a_worker_refuses_what_is_not_its_broker(
    wrong: dict[str, str],
    settings: Settings,
    dispatcher: Dispatcher,
    capsys: pytest.CaptureFixture[str],
) -> None:
    elsewhere = settings.model_copy(update={"amqp_url": wrong["SERVER_AMQP_URL"]})
    stop = asyncio.Event()
    worker = asyncio.create_task(Worker(elsewhere, dispatcher).run(stop))
    said = ""

    async def gave_up() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "broker_unreachable" in said

    await eventually(gave_up)
    stop.set()
    await worker
    assert "ready" not in said


async def test_the_services_own_handshake_refuses_it_too(
    urls: dict[str, str], wrong: dict[str, str]
) -> None:
    assert await handshake.amqp(urls["AMQP_URL"])
    with pytest.raises(OSError, match=r"."):
        await handshake.amqp(wrong["AMQP_URL"])


def test_no_plain_port_is_open(urls: dict[str, str]) -> None:
    assert {urlsplit(url).scheme for name, url in urls.items() if "AMQP" in name} == {"amqps"}


async def test_there_is_no_port_for_amqp_in_the_clear(urls: dict[str, str]) -> None:
    listeners = (await handshake.ask(f"{urls['MANAGEMENT_URL']}/api/overview"))["listeners"]
    protocols = {each["protocol"] for each in listeners}
    assert "amqp/ssl" in protocols
    assert "amqp" not in protocols
