"""JupyterLab on the loopback interface, with settings of its own."""

import threading
from pathlib import Path

from labkit.services import handshake, ports, venv
from labkit.services.environment import ROOT
from labkit.services.errors import NotReady, PortTaken
from labkit.services.files import write_json
from labkit.services.layout import Home
from labkit.services.process import Process, find, start
from labkit.services.waiting import adopted, until_ready

NAME = "jupyter"
PORT = 8888
START_DEADLINE = 90.0
TRIES = 4
FIRST_PAGE = "notebooks/00_start_here.ipynb"
ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"


def up(home: Home, services: dict[str, str], cancel: threading.Event) -> str:
    """Start JupyterLab, or adopt the one that runs; says where it is."""
    running = find(NAME, home.run_dir)
    if running is not None and adopted(running, lambda: _wait(running, home, cancel)):
        return f"port {home.port(NAME)} (ran already)"
    _configure(home.path / NAME)
    for attempt in range(TRIES):
        ports.assign(home, NAME, PORT, cancel, remembered=attempt == 0)
        try:
            _wait(_start(home, services), home, cancel)
            return f"port {home.port(NAME)}"
        except PortTaken:
            continue
    raise NotReady("JupyterLab found each port taken that it tried: see `ss -ltnp`.")


def url(home: Home) -> str:
    """The first page, token included: anyone who has this address may run code as you."""
    page = f"/tree/{FIRST_PAGE}" if (ROOT / FIRST_PAGE).exists() else ""
    return f"{_address(home)}/lab{page}?token={home.password(NAME)}"


def answers(home: Home) -> str:
    """Its version. Raises `OSError` if it does not answer."""
    return handshake.jupyter(_address(home), home.password(NAME))


def _address(home: Home) -> str:
    return f"http://{ports.LOOPBACK}:{home.port(NAME)}"


def _wait(process: Process, home: Home, cancel: threading.Event) -> None:
    until_ready(process, lambda: answers(home), deadline=START_DEADLINE, cancel=cancel)


def _start(home: Home, services: dict[str, str]) -> Process:
    folder = home.path / NAME
    inherited = {k: v for k, v in venv.environment().items() if not k.startswith("JUPYTER")}
    own = {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_TOKEN": home.password(NAME),  # as an argument, `ps` would show it to everybody
    }
    return start(
        NAME,
        [venv.PYTHON, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={home.port(NAME)}"],
        run_dir=home.run_dir,
        log=home.log(NAME),
        env=inherited | services | own,
        cwd=ROOT,
    )


def _configure(folder: Path) -> None:
    """No news, no update notices; the clone is what the file browser shows."""
    page = f"/lab/tree/{FIRST_PAGE}" if (ROOT / FIRST_PAGE).exists() else "/lab"
    server = {
        "ip": ports.LOOPBACK,
        "port_retries": 0,  # a taken port is an error here, and then we choose another
        "root_dir": str(ROOT),
        "default_url": page,
        "allow_root": True,
    }
    lab = {
        "news_url": None,
        "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "default_url": page,
    }
    config = folder / "config"
    write_json(config / "jupyter_server_config.json", {"ServerApp": server, "LabApp": lab})
    write_json(
        config / "labconfig" / "page_config.json", {"disabledExtensions": {ANNOUNCEMENTS: True}}
    )
