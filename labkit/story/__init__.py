"""What happened to a request, by those who saw it: the broker, the workers, the database."""

from labkit.story.recording import Recording
from labkit.story.sources import Sources
from labkit.story.story import Story

__all__ = ["Recording", "Sources", "Story"]
