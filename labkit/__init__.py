"""What a lesson needs: a lab to work in, clients to call with, tables to look at.

Names are loaded when they are first used. So ``import labkit`` is quick and pulls in no package:
the launcher's first steps run on the standard library alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.client.amqp import AsyncAPIClient as AsyncAPIClient
    from labkit.client.blocking import BlockingAPIClient as BlockingAPIClient
    from labkit.client.caller import Reply as Reply
    from labkit.client.errors import ReplyTimeout as ReplyTimeout
    from labkit.client.rest import RestClient as RestClient
    from labkit.lab import Lab as Lab
    from labkit.ledger import Ledger as Ledger

_HOME_OF = {
    "AsyncAPIClient": "labkit.client.amqp",
    "BlockingAPIClient": "labkit.client.blocking",
    "Lab": "labkit.lab",
    "Ledger": "labkit.ledger",
    "Reply": "labkit.client.caller",
    "ReplyTimeout": "labkit.client.errors",
    "RestClient": "labkit.client.rest",
}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
