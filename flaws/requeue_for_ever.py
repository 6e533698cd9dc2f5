"""``requeue=True``: what fails goes back to where it came from, at once, without limit.

A message that always fails, a *poison message*, is then delivered as fast as the worker can fail.
"""

from dataclasses import replace

from flaws.process_block import ProcessBlock
from server.contract import topology
from server.settings import Settings
from server.transports.amqp.worker import Worker


class Requeues(ProcessBlock):
    requeue = True


class RequeueForEver(Worker):
    """Its ``api.requests`` is a plain queue, which counts no deliveries and knows no limit."""

    answers_with = Requeues

    def queues(self, settings: Settings) -> list[topology.Queue]:
        return [
            replace(queue, arguments={}) if queue.name == topology.REQUESTS else queue
            for queue in super().queues(settings)
        ]
