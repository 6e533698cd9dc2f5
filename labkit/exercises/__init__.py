"""The exercises of the lessons: one small class each, checked on their effects."""

from labkit.exercises.exercise import Exercise, Verdict

__all__ = ["Exercise", "Verdict"]
