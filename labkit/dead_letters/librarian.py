"""Whether the operator is one: asked of a worker before anything is moved."""

import hashlib
import time

from pamqp import commands as spec
from pydantic_core import to_json

from labkit.dead_letters.post import Post
from labkit.errors import NobodyAnswers
from server.contract.envelope import JSON
from server.contract.errors import from_wire
from server.contract.headers import DEADLINE, ON_BEHALF_OF
from server.contract.topology import REQUESTS

ANSWER_TIMEOUT = 10.0
"""Seconds in which a worker has to say so."""


async def check(post: Post, api_key: str, patience: float) -> None:
    """Raises ``Unauthorized``, ``Forbidden`` or ``NobodyAnswers``.

    They ask on behalf of themselves: that is answered to librarians only.
    """
    me = f"key:{hashlib.sha256(api_key.encode()).hexdigest()}"
    properties = spec.Basic.Properties(
        content_type=JSON,
        correlation_id="operator",
        message_id="operator",
        headers={ON_BEHALF_OF: me, DEADLINE: round((time.time() + ANSWER_TIMEOUT) * 1000)},
    )
    body = to_json(
        {
            "id": "operator",
            "version": "v1",
            "action": "get_books",
            "data": {"limit": 1},
            "auth": api_key,
        }
    )
    answer = await post.ask(REQUESTS, properties, body, min(ANSWER_TIMEOUT, patience))
    if answer is None:
        raise NobodyAnswers
    if answer.error is not None:
        raise from_wire(answer.error)
