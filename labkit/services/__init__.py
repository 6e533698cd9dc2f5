"""Private RabbitMQ, PostgreSQL, worker and JupyterLab, from the standard library alone.

It runs before there is a virtual environment, with whatever Python the system has, so nothing here
may import what `requirements.txt` installs, nor `server` or the rest of `labkit`.

A few names are for everybody else: `private_services` (services of one's own, for a test),
`private_home` and `mishaps` (the same, to be broken), `lab_environment` (where the running lab
listens) and `BrokerTools` (RabbitMQ's own tools, for what no protocol tells).
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - before any import that an older Python cannot read
    raise SystemExit(
        "The lab needs Python 3.11 or newer; this is Python {}.{}.\n"
        "Install it (Debian, Ubuntu: sudo apt install python3; macOS: brew install python@3.13) "
        "and run `make` again.".format(*sys.version_info[:2])
    )

from labkit.services import mishaps
from labkit.services.broker_tools import BrokerTools, ToolFailed
from labkit.services.environment import lab_environment
from labkit.services.errors import LabNotRunning, ServiceError
from labkit.services.layout import Home
from labkit.services.private import private_home, private_services
from labkit.services.rabbitmq import COUNT_EVERY, QUORUM_TICK

__all__ = [
    "COUNT_EVERY",
    "QUORUM_TICK",
    "BrokerTools",
    "Home",
    "LabNotRunning",
    "ServiceError",
    "ToolFailed",
    "lab_environment",
    "mishaps",
    "private_home",
    "private_services",
]
