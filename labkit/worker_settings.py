"""Settings for the server's processes of a lab, checked before any of them starts."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypedDict

from pydantic import ValidationError

from labkit.errors import BadArgument, NoSuchArgument
from server.contract.limits import Limits


class WorkerSettings(TypedDict, total=False):
    """Keyword arguments of ``Lab.open`` and ``lab.start_workers``: times in seconds, sizes in
    bytes. ``server.contract.limits.Limits`` says what each of them does.
    """

    prefetch: int
    pool_size: int
    commit_batch: int
    max_body: int
    max_queue_length: int
    delivery_limit: int
    retry_delays: str
    """Separated by commas, ``"0.5,2,8"``."""
    lock_timeout: float
    key_retention: float
    rate_limit: float
    drain_timeout: float
    rest_port: int
    """Where the lab's REST listens, instead of at any free port."""
    metrics_port: int
    """Where Prometheus finds a process's metrics: 0 for any free port, which its log names."""
    otel_exporter_otlp_endpoint: str
    """Where a process sends its traces: an OpenTelemetry collector, ``"http://127.0.0.1:4318"``."""


NAMES = sorted(WorkerSettings.__annotations__)


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """As environment variables. Raises ``NoSuchArgument`` and ``BadArgument``."""
    for name in settings:
        if name not in NAMES:
            similar = get_close_matches(name, NAMES, n=1)
            hint = f"Did you mean {similar[0]!r}? " if similar else ""
            there_are = ", ".join(NAMES)
            raise NoSuchArgument(f"There is no setting {name!r}. {hint}There is: {there_are}.")
    try:
        Limits.model_validate({k: v for k, v in settings.items() if k in Limits.model_fields})
    except ValidationError as error:
        problems = [f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors()]
        raise BadArgument("; ".join(problems)) from None
    return {name.upper(): str(value) for name, value in settings.items()}


def limits_of(environment: Mapping[str, str]) -> Limits:
    """Those of a process with these environment variables."""
    named = {name: environment.get(name.upper()) for name in Limits.model_fields}
    return Limits.model_validate({name: value for name, value in named.items() if value})


def lab_name(name: object) -> None:
    """Raises ``BadArgument`` for what is no name of a lab."""
    if not isinstance(name, str) or not re.fullmatch("[a-z0-9][a-z0-9-]{0,40}", name):
        raise BadArgument(
            f"The lab's name is {name!r}: give text of letters a-z, digits and hyphens, as in "
            'Lab.open("08").'
        )


def checked(argument: str, number: object, *, at_least: int = 0) -> None:
    """Raises ``BadArgument`` for what is no whole number from ``at_least`` on."""
    if not isinstance(number, int) or isinstance(number, bool) or number < at_least:
        raise BadArgument(f"{argument} is {number!r}: give a whole number from {at_least}.")
