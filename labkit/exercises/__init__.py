"""The exercises of the lessons: one small class each, checked on their effects."""

from labkit.exercises.exercise import Assessment, Exercise

__all__ = ["Assessment", "Exercise"]
