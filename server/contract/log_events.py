"""The log is read by programs, too: by the lab, by metrics and by traces. These are the names that
they look for; all other events are for people.
"""

READY = "ready"
"""A process serves from now on."""
REQUEST = "request"
"""One delivery, or one HTTP request, has been worked on: its ``outcome`` is ``ok``, an error's code
or ``RETRY_SCHEDULED``."""
DEAD_LETTERED = "dead_lettered"
DRAINED = "drained"
"""A process that was asked to stop has finished what it had in hand."""

RETRY_SCHEDULED = "retry_scheduled"
"""The outcome of a request that has none yet: it comes again."""
