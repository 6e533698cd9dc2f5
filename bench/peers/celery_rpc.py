"""Celery with RabbitMQ and its `rpc://` backend, as in its documentation
(https://docs.celeryq.dev/en/stable/getting-started/first-steps-with-celery.html).

The server is Celery's own program. The client is not asynchronous: as many requests as are in
flight are sent, and then all their results are taken.
"""

import os
import sys
import time

import load
from celery import Celery

app = Celery("celery_rpc", broker=os.environ["AMQP_URL"], backend="rpc://")
app.conf.update(
    task_default_queue="echo.celery",
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    worker_log_format="%(message)s",
    broker_connection_retry_on_startup=True,
)


@app.task(name="echo")
def echo(body: str) -> str:
    return body


def measure(in_flight: int, seconds: float) -> None:
    body = load.BODY.decode()
    seen = []
    begin = time.perf_counter()
    counted, end = begin + seconds * load.WARM_UP, begin + seconds * (1 + load.WARM_UP)
    while time.perf_counter() < end:
        sent = [(time.perf_counter(), echo.delay(body)) for _ in range(in_flight)]
        for start, result in sent:
            result.get(timeout=30)
            seen.append((start, time.perf_counter()))
    load.report(seen, counted, end)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        app.worker_main(["worker", "--loglevel=INFO", "--concurrency=2", *quiet])
    for order in sys.stdin:
        _, number, duration = order.split()
        measure(int(number), float(duration))
