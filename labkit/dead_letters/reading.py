"""The letters that are held, read one batch after the other, and one of them found."""

from collections.abc import AsyncIterator

from aiormq.abc import DeliveredMessage

from labkit.broker.held import Held
from labkit.dead_letters import letter
from labkit.dead_letters.letter import Letter
from labkit.errors import BadSelection
from labkit.ui.printable import printable

Pair = tuple[Letter, DeliveredMessage]
Pairs = list[Pair]


async def batches(held: Held, own_user: str) -> AsyncIterator[Pairs]:
    """All letters, in the queue's order, each with its message."""
    number = 1
    async for batch in held.all():
        numbered = enumerate(batch, number)
        yield [(letter.read(n, message, own_user), message) for n, message in numbered]
        number += len(batch)


async def find(held: Held, own_user: str, id: str | None, number: int | None) -> Pair:
    """The first letter of this id, or the one at this place. Raises ``BadSelection``."""
    if (id is None) == (number is None):
        raise BadSelection("Which letter? Give its id, or its number in the list.")
    shown = None if id is None else printable(id)
    async for batch in batches(held, own_user):
        for one, message in batch:
            if one.summary.number == number if id is None else one.summary.id == shown:
                return one, message
    raise BadSelection(f"No letter has the {'id' if id else 'number'} {shown or number}.")
