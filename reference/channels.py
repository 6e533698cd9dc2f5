"""The queues, as AsyncAPI's channels. Their names and arguments are the topology's own."""

from typing import Any

from reference import messages
from reference.actions import ACTIONS
from server.contract import topology
from server.contract.limits import Limits

LIMITS = Limits()
"""Those of a server without settings."""

ADDRESSES = {
    topology.REQUESTS: "requests",
    topology.DEAD_LETTERS: "deadLetters",
    topology.RAW_DEAD_LETTERS: "rawDeadLetters",
    topology.SET_ASIDE: "unreadable",
}
"""Queue → what the document calls it; the others are called like the queue."""

DESCRIPTIONS = {
    topology.REQUESTS: "Where requests go. All workers share it.",
    topology.DEAD_LETTERS: "Requests that could not be worked on, each with its "
    "reason and without its secrets. Only an operator leads a message out of it.",
    topology.RAW_DEAD_LETTERS: "Requests that the broker itself dead-letters, with their secrets, "
    "on their way to `api.dlq`. No client may read it.",
    topology.SET_ASIDE: "What is set aside: messages that no worker can receive, and letters that "
    "an operator or a policy has moved out of `api.dlq`. Only an operator looks into it.",
}
MESSAGES = {
    topology.REQUESTS: [action.id for action in ACTIONS],
    topology.DEAD_LETTERS: [messages.DEAD_LETTER],
}
"""Queue → the messages in it; in the others there are requests that are set aside."""

RETRY = "Requests wait here for their next attempt. It has no consumer."
OTHER = "A queue of the server's own."
NOT_FOR_CLIENTS = "Clients neither publish nor consume here: it is described for operators."


def queues() -> list[topology.Queue]:
    return topology.topology(LIMITS)


def describe(queue: topology.Queue) -> str:
    waits = queue.name.startswith(topology.RETRY_PREFIX)
    return RETRY if waits else DESCRIPTIONS.get(queue.name, OTHER)


def channels() -> dict[str, Any]:
    ours = {ADDRESSES.get(queue.name, queue.name): _channel(queue) for queue in queues()}
    return {"requests": ours.pop("requests"), "replies": _replies(), **ours}


def _channel(queue: topology.Queue) -> dict[str, Any]:
    for_clients = queue.name == topology.REQUESTS
    return {
        "address": queue.name,
        "description": describe(queue) + ("" if for_clients else f" {NOT_FOR_CLIENTS}"),
        "messages": _refs(MESSAGES.get(queue.name, [messages.SET_ASIDE])),
        "bindings": _binding(name=queue.name, durable=True, exclusive=False, autoDelete=False)
        | ({"x-rabbitmq-arguments": dict(queue.arguments)} if queue.arguments else {}),
    }


def _replies() -> dict[str, Any]:
    """Its address is not known beforehand: every request names its own."""
    names = [f"{action.id}.{outcome}" for action in ACTIONS for outcome in messages.OUTCOMES]
    return {
        "address": None,
        "description": "A queue of one client, exclusive and named by the broker, in which it "
        "waits for replies: what its requests name in `reply_to`.",
        "messages": _refs([*names, messages.REFUSAL]),
        "bindings": _binding(name="", durable=False, exclusive=True, autoDelete=True),
    }


def _refs(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _binding(**queue: Any) -> dict[str, Any]:
    return {"amqp": {"is": "queue", "queue": queue, "bindingVersion": "0.3.0"}}
