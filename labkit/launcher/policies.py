"""Policies of the broker that reach the server's queues, and silently change what they promise.

An administrator sets them by name pattern, beside what the queues were declared with
(https://www.rabbitmq.com/docs/policies). The server needs none.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from labkit.services import handshake

KINDS = ("policies", "operator-policies")
QUEUES = ("api.requests", "api.retry.1000ms", "api.dlq", "api.dlq.raw", "api.dlq.unreadable")
"""Those of `server/contract/topology.py`, also while no worker has declared them."""
OURS = "api."
"""How the names of all of them begin."""
ELSEWHERE = ("exchanges", "streams")
"""What a policy may apply to, and then never does to a queue of ours."""
MEANINGS = {
    "message-ttl": "messages are gone after {} ms",
    "max-length": "of more than {} messages some are dropped",
    "max-length-bytes": "of more than {} bytes of messages some are dropped",
    "expires": "a queue that is not used for {} ms is deleted with all that is in it",
    "overflow": "a full queue acts by {!r}",
    "delivery-limit": "a message is dropped or dead-lettered after {} deliveries",
    "dead-letter-exchange": "dead letters go to the exchange {!r}",
    "dead-letter-routing-key": "dead letters go to the queue {!r}",
}


@dataclass(frozen=True)
class Policy:
    """One that applies to queues of ours."""

    kind: str
    vhost: str
    name: str
    queues: list[str]
    definition: dict[str, Any]

    def __str__(self) -> str:
        does = [MEANINGS.get(k, k + " is {!r}").format(v) for k, v in self.definition.items()]
        kind = "operator policy" if self.kind == "operator-policies" else "policy"
        return (
            f"the {kind} {self.name!r} of virtual host {self.vhost!r} reaches "
            f"{', '.join(self.queues)}: {'; '.join(does)}"
        )

    @property
    def removal(self) -> str:
        """A command for a shell that knows MANAGEMENT_URL. No password gets into its arguments."""
        place = f"{quote(self.vhost, safe='')}/{quote(self.name, safe='')}"
        return f'echo "url = $MANAGEMENT_URL/api/{self.kind}/{place}" | curl --fail -X DELETE -K -'


async def harmful(management_url: str) -> AsyncIterator[Policy]:
    """All policies that reach queues of ours, in any virtual host. Raises `OSError`.

    Queues are asked for only where there is a policy: a list of all takes a busy broker seconds.
    """
    for kind in KINDS:
        for each in await handshake.ask(f"{management_url}/api/{kind}"):
            names = await _queues(management_url, each["vhost"])
            reached = [name for name in names if _applies(each, name)]
            if reached:
                yield Policy(kind, each["vhost"], each["name"], reached, each["definition"])


async def _queues(management_url: str, vhost: str) -> list[str]:
    """The names of ours; none if the virtual host was deleted since its policies were listed."""
    address = f"{management_url}/api/queues/{quote(vhost, safe='')}?disable_stats=true"
    try:
        there = {queue["name"] for queue in await handshake.ask(address)}
    except handshake.Refused as refused:
        if refused.code != "404":
            raise
        return []
    return sorted(name for name in {*QUEUES, *there} if name.startswith(OURS))


def _applies(policy: dict[str, Any], queue: str) -> bool:
    if policy.get("apply-to") in ELSEWHERE:
        return False
    try:
        return re.search(policy["pattern"], queue) is not None
    except re.error:  # Erlang's expressions know a little more than Python's: rather say too much
        return True
