"""The student's lab: all services of this clone, started and stopped together."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

from labkit.services import (
    binaries,
    browser,
    debian,
    environment,
    handshake,
    jupyter,
    lock,
    postgresql,
    rabbitmq,
    rest,
    supervisor,
    users,
    venv,
    worker,
)
from labkit.services.errors import MissingSoftware
from labkit.services.layout import Home
from labkit.services.process import recorded
from labkit.services.progress import Progress
from labkit.services.steps import Steps

LONG_LIVED = (jupyter.NAME, worker.NAME, rest.NAME, rabbitmq.NAME, postgresql.NAME, rabbitmq.EPMD)
"""What the lab itself starts; notebooks record workers of theirs beside them."""


def home() -> Home:
    return Home(environment.LAB)


def up(progress: Progress, *, with_jupyter: bool = False) -> None:
    """Start what does not run, adopt what does, and write `lab.env`.

    If it fails or is interrupted, what this call has started is stopped again.
    """
    place = home()
    place.make()
    with lock.exclusive(place.path / "lock", lambda: progress.say("  … another `make` is at work")):
        before = {process.pid for process in recorded(place.run_dir) if process.alive()}
        _announce_what_will_be_installed(progress)
        try:
            with Steps(progress) as steps:
                _begin(steps, place, with_jupyter=with_jupyter)
            environment.write_env(place.env_file, _environment(place))
        except BaseException:
            _stop(place, lambda pid: pid not in before)
            raise


def down(progress: Progress) -> None:
    """Stop everything that runs from this clone; data stays."""
    place = home()
    place.make()
    with lock.exclusive(place.path / "lock", lambda: progress.say("  … another `make` is at work")):
        start = time.monotonic()
        with progress.running("stopping"):
            names = _stop(place)
        place.env_file.unlink(missing_ok=True)
        browser.forget()
    text = "stopped: " + ", ".join(names) if names else "nothing was running"
    progress.say(f"  {text} ({time.monotonic() - start:.1f} s)")


def prepare(progress: Progress) -> None:
    """What has to be installed before anything can start: for the tests, which start their own."""
    _announce_what_will_be_installed(progress)
    with Steps(progress) as steps:
        pip = _begin_pip(steps)
        steps.begin("Python", venv.ensure, *pip)
        steps.begin("Software", _software, *pip)


def addresses(place: Home) -> str:
    """Where everything is, for people."""
    values = environment.read_env(place.env_file)
    rows = {
        "JupyterLab": values.get("JUPYTER_URL", "not started: make lab"),
        "REST": f"{values['REST_URL']}/docs" if "REST_URL" in values else "not started: make up",
        "RabbitMQ": _management(values),
        "PostgreSQL": values.get("DATABASE_URL", "?"),
        "For programs": f"set -a; . {place.env_file.relative_to(environment.ROOT)}",
    }
    return "\n".join(f"  {name:<12} {text}" for name, text in rows.items())


def _announce_what_will_be_installed(progress: Progress) -> None:
    """All at once, before anything is begun. Raises `MissingSoftware` if it cannot be, or may not
    be: the user can decline.
    """
    pip = ["pip"] if venv.pip_is_missing() else []
    services = [] if environment.given_services(os.environ) else binaries.missing()
    if missing := pip + services:
        if not debian.may_install():
            raise MissingSoftware(binaries.advice(missing))
        packages = ", ".join(debian.PACKAGES[name] for name in missing)
        progress.say(f"  Debian's packages {packages} will be installed (LAB_INSTALL=no declines)")


def _begin(steps: Steps, place: Home, *, with_jupyter: bool) -> None:
    pip = _begin_pip(steps)
    packages = steps.begin("Python", venv.ensure, *pip)
    services = _begin_given(steps) or _begin_private(steps, place, pip)

    def serve(cancel: threading.Event) -> str:
        return worker.up(place, _services(place), cancel)

    def serve_http(cancel: threading.Event) -> str:
        return rest.up(place, _services(place), cancel)

    def study(cancel: threading.Event) -> str:
        return jupyter.up(place, {}, cancel)

    steps.begin("Server", serve, packages, *services)
    steps.begin("REST", serve_http, packages, *services)
    if with_jupyter:
        steps.begin("JupyterLab", study, packages)


def _begin_given(steps: Steps) -> list[Future[None]]:
    given = environment.given_services(os.environ)

    def check(name: str) -> Callable[[threading.Event], str]:
        return lambda _: f"yours, at {handshake.listens(given[name])}"

    titles = {"AMQP_URL": "RabbitMQ", "DATABASE_URL": "PostgreSQL"}
    return [steps.begin(title, check(name)) for name, title in titles.items() if name in given]


def _begin_pip(steps: Steps) -> list[Future[None]]:
    """Before Debian's large packages, so that Python's are fetched while those are installed."""
    return [steps.begin("pip", venv.ensure_pip)] if venv.pip_is_missing() else []


def _begin_private(steps: Steps, place: Home, pip: list[Future[None]]) -> list[Future[None]]:
    def broker(cancel: threading.Event) -> str:
        rabbitmq.up(place, cancel)
        version = handshake.amqp(users.urls(place)["AMQP_URL"])
        return f"{version}, port {place.port('amqp')}"

    def database(cancel: threading.Event) -> str:
        postgresql.up(place, cancel)
        version = handshake.postgresql(postgresql.urls(place)["DATABASE_URL"])
        return f"{version}, port {place.port(postgresql.NAME)}"

    after = [steps.begin("Software", _software, *pip)] if binaries.missing() else []
    return [
        steps.begin("RabbitMQ", broker, *after),
        steps.begin("PostgreSQL", database, *after),
    ]


def _software(cancel: threading.Event) -> str:
    """RabbitMQ and PostgreSQL are installed. Raises `MissingSoftware`, with what to install."""
    names = binaries.missing()
    if not names:
        return "RabbitMQ and PostgreSQL are installed"
    if not debian.may_install():
        raise MissingSoftware(binaries.advice(names))
    debian.install(names, cancel)
    if still := binaries.missing():
        raise MissingSoftware(binaries.advice(still))
    return f"installed {' and '.join(names)}"


def _services(place: Home) -> dict[str, str]:
    given = environment.given_services(os.environ)
    own = users.urls(place) | postgresql.urls(place)
    return (given or own) | {"API_KEY": environment.api_key(place)}


def _environment(place: Home) -> dict[str, str]:
    running = {process.name for process in recorded(place.run_dir) if process.alive()}
    pages = {"REST_URL": rest, "JUPYTER_URL": jupyter}
    urls = {name: page.url(place) for name, page in pages.items() if page.NAME in running}
    return _services(place) | urls | {environment.OWN: str(environment.LAB)}


def _management(values: dict[str, str]) -> str:
    if "MANAGEMENT_URL" not in values:
        return values.get("AMQP_URL", "?")
    parts = urlsplit(values["MANAGEMENT_URL"])
    return f"http://{parts.hostname}:{parts.port}  user {parts.username}, password {parts.password}"


def _stop(place: Home, wanted: Callable[[int], bool] = lambda pid: True) -> list[str]:
    """Stop what is recorded: who uses a service goes before it. Returns the names of what lived."""
    processes = [process for process in recorded(place.run_dir) if wanted(process.pid)]
    alive = [
        process.name
        for process in processes
        if process.alive() and not supervisor.is_supervisor(process)
    ]
    brokers = (rabbitmq.NAME, postgresql.NAME, rabbitmq.EPMD)
    for process in filter(supervisor.is_supervisor, processes):
        process.stop()  # first, or it would restart what is stopped
    with ThreadPoolExecutor() as pool:
        for process in processes:
            if process.name not in brokers:
                pool.submit(process.stop, signal.SIGTERM, worker.DRAIN_DEADLINE)
    names = {process.name for process in processes}
    with ThreadPoolExecutor() as pool:
        stops = [
            pool.submit(service.down, place)
            for service in (rabbitmq, postgresql)
            if names & {service.NAME, *brokers[2:]}
        ]
    for stop in stops:
        stop.result()
    for process in processes:
        process.kill()  # what a dead service's record still leads to
    return alive
