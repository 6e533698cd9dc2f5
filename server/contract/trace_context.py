"""W3C trace context: what a message says of the trace that it belongs to.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

import re
from typing import Any

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def well_formed(given: Any) -> str | None:
    """The header ``traceparent``; None for anything else, which could hold whatever a sender likes:
    a key, for one.
    """
    return given if isinstance(given, str) and _TRACEPARENT.fullmatch(given) else None
