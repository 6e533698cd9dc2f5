"""A solution of each stage: one file, from which each stage takes its lines."""

import difflib
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined

SOURCE = Path(__file__).with_name("my_server.py.jinja")

BEGINNING = '''"""A library's server: requests come from RabbitMQ.

What it needs is in its environment: AMQP_URL, DATABASE_URL, RETRY_DELAYS.
"""
'''
"""What the student's file is at first."""


@cache
def solution(stage: int) -> str:
    """The whole program as it may look after this stage; the empty file after stage 0."""
    if stage == 0:
        return BEGINNING
    environment = Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  (it is Python, not HTML)
    )
    source = environment.from_string(SOURCE.read_text(encoding="utf-8"))
    return source.render(stage=stage).strip() + "\n"


def difference(stage: int) -> str:
    """What this stage changes, as a unified diff."""
    before, after = solution(stage - 1).splitlines(), solution(stage).splitlines()
    names = f"stage {stage - 1}", f"stage {stage}"
    return "\n".join(difflib.unified_diff(before, after, *names, lineterm="", n=2))
