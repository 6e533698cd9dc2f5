"""Waiting that ends with a sentence, not with an empty ``TimeoutError``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from labkit.errors import NotSettled


@asynccontextmanager
async def within(seconds: float, explanation: str) -> AsyncIterator[None]:
    """Raises ``NotSettled`` (a ``TimeoutError``) after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise NotSettled(f"After {seconds:g} s: {explanation}") from None
