"""A policy that makes the broker lose dead letters is found, explained, and can be removed."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from labkit.broker.management import Broker
from labkit.launcher import policies
from server.contract.topology import DEAD_LETTERS, REQUESTS


class Policies:
    """Those of one virtual host."""

    def __init__(self, vhost: str, http: httpx.AsyncClient) -> None:
        self.vhost = urlsplit(vhost).path[1:]
        self.http = http

    async def put(self, kind: str, name: str, pattern: str, **definition: Any) -> None:
        applies = definition.pop("apply_to", "all")
        given = {k.replace("_", "-"): v for k, v in definition.items()}
        body = {"pattern": pattern, "definition": given, "apply-to": applies}
        path = f"/api/{kind}/{quote(self.vhost, safe='')}/{quote(name, safe='')}"
        (await self.http.put(path, json=body)).raise_for_status()

    async def found(self) -> list[policies.Policy]:
        everywhere = policies.harmful(os.environ["MANAGEMENT_URL"])
        return [policy async for policy in everywhere if policy.vhost == self.vhost]


@pytest.fixture
async def broker(vhost: str) -> AsyncIterator[Policies]:
    async with httpx.AsyncClient(base_url=os.environ["MANAGEMENT_URL"], trust_env=False) as http:
        yield Policies(vhost, http)


@pytest.fixture
async def management() -> AsyncIterator[Broker]:
    async with Broker(os.environ["MANAGEMENT_URL"]) as management:
        yield management


HARMFUL: dict[str, tuple[str, str, dict[str, Any]]] = {
    "by name": ("policies", r"^api\.dlq$", {"message_ttl": 1000}),
    "by a pattern for everything": ("policies", ".*", {"max_length": 5}),
    "by a part of the name": ("policies", "dlq", {"expires": 60000, "apply_to": "queues"}),
    "of an operator": ("operator-policies", "^api", {"max_length": 7, "apply_to": "queues"}),
}


@pytest.mark.parametrize("how", HARMFUL)
async def test_a_policy_on_a_queue_of_ours_is_found_and_removed(broker: Policies, how: str) -> None:
    kind, pattern, definition = HARMFUL[how]
    await broker.put(kind, "drop 'letters' $HOME", pattern, **definition)
    (found,) = await broker.found()
    assert DEAD_LETTERS in found.queues
    assert str(next(iter(definition.values()))) in str(found)
    done = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", found.removal], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert await broker.found() == []


async def test_what_a_policy_does_is_said_in_words(broker: Policies) -> None:
    await broker.put("policies", "short", f"^{REQUESTS}$", message_ttl=1000, max_length=5)
    (found,) = await broker.found()
    assert "messages are gone after 1000 ms" in str(found)
    assert "of more than 5 messages some are dropped" in str(found)


async def test_a_policy_for_other_things_is_no_matter(broker: Policies) -> None:
    await broker.put("policies", "others", "^students-", message_ttl=1000)
    await broker.put("policies", "exchanges", ".*", alternate_exchange="e", apply_to="exchanges")
    assert await broker.found() == []


async def test_a_virtual_host_that_goes_meanwhile_is_no_matter(
    broker: Policies, management: Broker
) -> None:
    names = {f"{broker.vhost}-{letter}" for letter in "ab"}
    try:
        for name in names:
            await management.create_vhost(name)
            await Policies(f"/{name}", broker.http).put("policies", "short", "^api", max_length=5)
        found = policies.harmful(os.environ["MANAGEMENT_URL"])
        seen = {await anext(policy.vhost async for policy in found if policy.vhost in names)}
        for name in names - seen:
            await management.delete_vhost(name)
        assert names.isdisjoint([policy.vhost async for policy in found])
    finally:
        for name in names:
            await management.delete_vhost(name)


def test_a_pattern_that_only_erlang_understands_is_taken_to_apply() -> None:
    assert policies._applies({"pattern": r"^(?>api)\K\Q.\E", "apply-to": "queues"}, DEAD_LETTERS)
