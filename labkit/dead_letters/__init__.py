"""The dead letter queue, for an operator: look, select, send again, edit, move out of the way."""

from labkit.dead_letters.desk import DeadLetters
from labkit.dead_letters.letter import Letter
from labkit.dead_letters.selection import Selection

__all__ = ["DeadLetters", "Letter", "Selection"]
