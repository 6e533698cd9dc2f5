"""The queues of one virtual host, as a table."""

import pandas as pd

from labkit.broker import Broker


async def queues(broker: Broker, vhost: str) -> pd.DataFrame:
    """One row per queue: messages ``ready`` for delivery, and delivered but ``unacked``."""
    found = await broker.queues(vhost)
    rows = [
        (q["name"], q["type"], q["messages_ready"], q["messages_unacknowledged"]) for q in found
    ]
    table = pd.DataFrame(rows, columns=["queue", "type", "ready", "unacked"])
    return table.set_index("queue").sort_index()
