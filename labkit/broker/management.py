"""RabbitMQ's management API, as far as a lab needs it: virtual hosts and queue depths."""

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

import httpx

from labkit.errors import BrokerAway, NoStatistics
from labkit.services.http_client import http_client
from labkit.services.node import COUNT_EVERY, QUORUM_TICK
from labkit.services.permissions import EVERYTHING, Rights
from server.contract import brokers

PATIENCE, PATIENCE_WITH_A_NODE = 30.0, 10.0
"""Seconds for an answer; less where another node may be asked instead."""
LEADERLESS, LOOKS_AGAIN = 10.0, 0.1
"""Seconds for an election, which mostly takes one; and between two looks whether it is over."""
FRESH = 1.5 * QUORUM_TICK
"""Seconds: after so long every queue has reported its counts again."""


class Broker:
    """The management API at ``url``, ``http://user:password@host:port``. Who opens it closes it.

    Of a cluster ``url`` names several, with commas, and the first that answers is asked. Every
    method raises ``BrokerAway`` if the API cannot be reached, or refuses.
    """

    def __init__(self, url: str) -> None:
        addresses = [urlsplit(one) for one in brokers.each(url)]
        self._user = unquote(addresses[0].username or "guest")
        timeout = PATIENCE if len(addresses) == 1 else PATIENCE_WITH_A_NODE
        self._nodes = [_Node.at(address, timeout) for address in addresses]

    async def close(self) -> None:
        for node in self._nodes:
            await node.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_vhost(self, vhost: str, granted: Mapping[str, Rights] | None = None) -> None:
        """An empty virtual host: the API's own user may do everything, others what they are
        granted.
        """
        await self._do("PUT", f"vhosts/{_path(vhost)}")
        for user, rights in {**(granted or {}), self._user: EVERYTHING}.items():
            where = f"permissions/{_path(vhost)}/{_path(user)}"
            await self._do("PUT", where, json=rights.as_json())

    async def delete_vhost(self, vhost: str) -> None:
        """Its queues, messages and connections go with it. Deleting none is harmless."""
        await self._ask("DELETE", f"vhosts/{_path(vhost)}", also_fine=[404])

    async def trace(self, vhost: str, *, on: bool) -> None:
        """Its firehose: a copy of each message to ``amq.rabbitmq.trace``."""
        await self._do("PUT", f"vhosts/{_path(vhost)}", json={"tracing": on})

    async def vhosts(self) -> list[str]:
        """Their names. One that is just being deleted is listed, too, but without one."""
        return [vhost["name"] for vhost in await self._do("GET", "vhosts") if "name" in vhost]

    async def queues(self, vhost: str) -> list[dict[str, Any]]:
        """All queues with their counts of this moment.

        The plain call would answer with statistics that are up to five seconds old. A quorum queue
        reports its counts only now and then, in a lab every ``QUORUM_TICK`` seconds: so we wait for
        the next time. With a broker of your own it may be five seconds, too.
        """
        await asyncio.sleep(FRESH)
        return await self.queues_last_reported(vhost)

    async def queues_last_reported(self, vhost: str) -> list[dict[str, Any]]:
        """The same at once: each queue's counts are of a moment within the last ``FRESH``.

        A queue of a cluster that has lost its leader has nothing to report until another node leads
        it, which is waited for; after ``LEADERLESS`` seconds the broker counts as away.
        """
        exact = {"disable_stats": "true", "enable_queue_totals": "true"}
        end = time.monotonic() + LEADERLESS
        while True:
            queues: list[dict[str, Any]]
            queues = await self._do("GET", f"queues/{_path(vhost)}", params=exact)
            if len(self._nodes) == 1 or not (mute := await self._mute(vhost, queues)):
                return queues
            if time.monotonic() > end:
                where = ", ".join(node.where for node in self._nodes)
                raise BrokerAway(where, OSError(f"no node leads {', '.join(sorted(mute))}"))
            await asyncio.sleep(LOOKS_AGAIN)

    async def _mute(self, vhost: str, queues: Iterable[Mapping[str, Any]]) -> set[str]:
        """Those without counts, and those of which the list says nothing at all: the binding that
        each queue has by its name stays.
        """
        bound = {each["destination"] for each in await self.bindings(vhost) if not each["source"]}
        return bound - {queue["name"] for queue in queues if "messages_ready" in queue}

    async def version(self) -> tuple[int, ...]:
        """Such as ``(4, 0, 5)``."""
        overview = await self._do("GET", "overview")
        return tuple(map(int, re.findall(r"\d+", overview["rabbitmq_version"])[:3]))

    async def declared(self, vhost: str) -> list[dict[str, Any]]:
        """All queues with the arguments with which they were declared."""
        found: list[dict[str, Any]] = await self._do("GET", f"queues/{_path(vhost)}")
        return found

    async def bindings(self, vhost: str) -> list[dict[str, Any]]:
        """All of them, those of the default exchange too."""
        found: list[dict[str, Any]] = await self._do("GET", f"bindings/{_path(vhost)}")
        return found

    async def counters(self, vhost: str) -> dict[str, dict[str, int]]:
        """How many messages went in and out of each queue since it is there, in the broker's words:
        ``publish``, ``deliver_get``, ``ack`` … As of the last time that it counted.
        """
        found = await self._do("GET", f"queues/{_path(vhost)}")
        return {queue["name"]: queue.get("message_stats", {}) for queue in found}

    async def counts_every(self) -> float:
        """Seconds between two times at which it counts; raises ``NoStatistics`` if it never does.

        It does not tell. It tells for how many seconds it keeps what it has counted: a lab's own
        ``COUNT_EVERY`` goes with a minute, and five seconds with anything else.
        """
        overview = await self._do("GET", "overview")
        if overview.get("disable_stats") or overview.get("rates_mode") == "none":
            raise NoStatistics
        ours = 60 in overview["sample_retention_policies"]["detailed"]
        return COUNT_EVERY if ours else 5

    async def consumers(self, vhost: str) -> Counter[str]:
        """How many each queue has; as old as ``counters``."""
        found = await self._do("GET", f"consumers/{_path(vhost)}")
        return Counter(consumer["queue"]["name"] for consumer in found)

    async def purge(self, vhost: str, queue: str) -> None:
        """Drop what is ready in the queue; what a consumer holds is not touched."""
        await self._ask("DELETE", f"queues/{_path(vhost)}/{_path(queue)}/contents", also_fine=[404])

    async def close_connections(
        self, vhost: str, user: str | None = None, opened_before: float = math.inf
    ) -> int:
        """Cut every client off, or this user only, as a broker's operator can; how many it were.

        ``opened_before`` is seconds since 1970, by the broker's clock. A connection is listed only
        some moments after it was opened, and some after it was closed: then RabbitMQ answers that
        there is none, or fails (rabbitmq/rabbitmq-management#497).
        """
        all_of_them = await self._do("GET", f"vhosts/{_path(vhost)}/connections")
        theirs = [
            each
            for each in all_of_them
            if user in (None, each.get("user"))
            and each.get("connected_at", 0) <= opened_before * 1000
        ]
        paths = [f"connections/{_path(connection['name'])}" for connection in theirs]
        answers = [await self._ask("DELETE", path, also_fine=[404, 500]) for path in paths]
        return sum(answer.is_success for answer in answers)

    async def _do(self, method: str, path: str, **options: Any) -> Any:
        response = await self._ask(method, path, **options)
        return response.json() if response.content else None

    async def _ask(
        self, method: str, path: str, *, also_fine: Sequence[int] = (), **options: Any
    ) -> httpx.Response:
        """By the node that answered last; if it is away, by the next: each call may be repeated.

        Raises ``BrokerAway``, also for an error that is not ``also_fine``.
        """
        away: list[tuple[str, httpx.HTTPError]] = []
        for node in list(self._nodes):
            try:
                response = await node.http.request(method, path, **options)
            except httpx.HTTPError as error:
                away.append((node.where, error))
                continue
            self._nodes.sort(key=lambda other: other is not node)  # the others keep their order
            if response.is_error and response.status_code not in also_fine:
                refusal = f"{response.status_code} {response.reason_phrase} to {path}"
                raise BrokerAway(node.where, OSError(refusal))
            return response
        raise BrokerAway(", ".join(where for where, _ in away), away[-1][1]) from away[-1][1]


@dataclass(frozen=True)
class _Node:
    where: str
    http: httpx.AsyncClient

    @classmethod
    def at(cls, address: SplitResult, timeout: float) -> Self:
        where = address.netloc.rpartition("@")[2]
        # The password goes into the client, not into URLs: errors and logs quote those.
        url = f"{address.scheme}://{where}/api/"
        login = (unquote(address.username or "guest"), unquote(address.password or "guest"))
        http = http_client(url, base_url=url, auth=login, timeout=timeout)
        return cls(where, http)


def _path(name: str) -> str:
    return quote(name, safe="")
