"""Of calls, rows of ``lab.log``: since when the broker had each, and since when its worker served.

A request that waits for a worker is accepted before one serves. All times are of this machine.
"""

from typing import Any

import pandas as pd

from labkit.client.moments import Moment
from labkit.lab import Lab
from labkit.services.logs import events
from server.contract.log_events import READY, REQUEST


def times(texts: pd.Series) -> pd.Series:
    """As a log has them."""
    return pd.to_datetime(texts, utc=True, format="ISO8601")


def first(lab: Lab, moment: Moment, calls: pd.DataFrame) -> pd.Series:
    """When each had this moment; NaT for requests that no client of ``lab.client()`` made."""
    at = lab.moments.of(moment)
    return pd.to_datetime(pd.Series(map(at.get, calls["id"]), calls.index), utc=True)


def began(lab: Lab, calls: pd.DataFrame) -> pd.DataFrame:
    """Of each: its worker's word, the last one before it, that it served ``since`` then, and with
    which ``prefetch``. A name may be used again: ``lab.workers()`` knows only its newest start.
    """
    said: dict[tuple[str, Any], tuple[Any, Any]] = {}
    for worker, log in lab.worker_logs.items():
        ready = None, None
        for event in events([log]):
            if event.get("event") == READY:
                ready = event["time"], event.get("prefetch")
            elif event.get("event") == REQUEST:
                said[worker, event["time"]] = ready
    lines = zip(calls["worker"], calls["time"], strict=True)
    rows = [said.get(line, (None, None)) for line in lines]
    found = pd.DataFrame(rows, calls.index, ["since", "prefetch"])
    return found.assign(since=times(found["since"]))


def waited(lab: Lab, calls: pd.DataFrame) -> pd.Series:
    """Whether the broker had accepted each before the worker that answered it served."""
    return first(lab, Moment.ACCEPTED, calls) < began(lab, calls)["since"]
