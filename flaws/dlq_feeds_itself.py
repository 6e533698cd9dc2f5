"""The dead letter queue of many tutorials: ``api.dlq`` leads back to ``api.requests``, for retries.

    worker ──reject──► api.dlq ──expires──► api.requests ──► worker ──reject──► …

A message that always fails goes round for ever, and is never looked at. The broker drops a
message that goes round in a circle, but only "if there was no rejections in the entire cycle"
(https://www.rabbitmq.com/docs/dlx). And without a time to live, nothing ever leaves ``api.dlq``.
"""

from typing import Any

from flaws.process_block import ProcessBlock
from server.contract.topology import DEAD_LETTERS, REQUESTS, Queue, topology
from server.settings import Settings
from server.transports.amqp.worker import Worker

BACK_AFTER = 100
"""Milliseconds that a message stays in the dead letter queue."""


class Rejects(ProcessBlock):
    requeue = False


class DlqFeedsItself(Worker):
    """An operator has to declare ``circle()`` before it starts: RabbitMQ lets only those
    lead messages out of a queue who may read it, and no server may read the dead letter queue.
    """

    answers_with = Rejects

    def queues(self, settings: Settings) -> list[Queue]:
        others = [q for q in topology(settings) if q.name not in (REQUESTS, DEAD_LETTERS)]
        return [*others, *circle()]


def circle() -> list[Queue]:
    """As they have it; without the time to live its circle would not even turn."""
    return [
        Queue(REQUESTS, _leads_to(DEAD_LETTERS)),
        Queue(DEAD_LETTERS, _leads_to(REQUESTS) | {"x-message-ttl": BACK_AFTER}),
    ]


def _leads_to(name: str) -> dict[str, Any]:
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name}
