"""What the lab's own clients noted of their calls, while it was recorded."""

import time
from dataclasses import dataclass

from labkit.client.moments import Moment


@dataclass(frozen=True)
class Noted:
    at: float
    """Seconds since 1970."""
    moment: Moment
    request_id: str


def noted_now(moment: Moment, request_id: str) -> Noted:
    return Noted(time.time(), moment, request_id)
