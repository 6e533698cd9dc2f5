"""JupyterLab on the loopback interface, with settings of its own."""

from pathlib import Path

from labkit import own_notebooks
from labkit.launcher import venv
from labkit.services import handshake, ports
from labkit.services.environment import ROOT
from labkit.services.errors import PortTaken
from labkit.services.files import write_json
from labkit.services.home import Home
from labkit.services.process import Process, find, start
from labkit.services.ready import adopted, until_ready

NAME = "jupyter"
PORT = 8888
START_DEADLINE = 90.0
TRIES = 4
FIRST_PAGE = f"{own_notebooks.FOLDER}/00_start_here.ipynb"
ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"
SETTINGS = {
    # A link from a lesson to the glossary opens a page to be read, not its source.
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
}
"""Where the student has not chosen otherwise."""


async def up(home: Home, root: Path = ROOT) -> str:
    """Start JupyterLab, or adopt the one that runs; says where it is. ``root`` is the folder that
    it shows, with the student's notebooks.
    """
    own_notebooks.make(copies=root / own_notebooks.FOLDER)
    running = find(NAME, home.run_dir)
    if running is not None and await adopted(running, lambda: _wait(running, home)):
        return f"port {home.port(NAME)} (ran already)"
    _configure(home.path / NAME, root)
    for attempt in range(TRIES):
        await ports.assign(home, NAME, PORT, remembered=attempt == 0)
        try:
            await _wait(_start(home, root), home)
            return f"port {home.port(NAME)}"
        except PortTaken:
            continue
    raise ports.all_taken("JupyterLab")


def url(home: Home, root: Path = ROOT) -> str:
    """The first page, token included: anyone who has this address may run code as you."""
    return f"{_address(home)}{_first_page(root)}?token={home.password(NAME)}"


async def answers(home: Home) -> str:
    """Its version. Raises `OSError` if it does not answer."""
    return await handshake.jupyter(_address(home), home.password(NAME))


def _address(home: Home) -> str:
    return f"http://{ports.LOOPBACK}:{home.port(NAME)}"


async def _wait(process: Process, home: Home) -> None:
    await until_ready(process, lambda: answers(home), deadline=START_DEADLINE)


def _start(home: Home, root: Path) -> Process:
    folder = home.path / NAME
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
        env=venv.environment() | own,
        cwd=root,
    )


def _first_page(root: Path) -> str:
    return f"/lab/tree/{FIRST_PAGE}" if (root / FIRST_PAGE).exists() else "/lab"


def _configure(folder: Path, root: Path) -> None:
    """No news, no update notices; the clone is what the file browser shows."""
    server = {
        "ip": ports.LOOPBACK,
        "port_retries": 0,  # a taken port is an error here, and then we choose another
        "root_dir": str(root),
        "default_url": _first_page(root),
        "allow_root": True,
    }
    lab = {
        "news_url": None,
        "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "default_url": _first_page(root),
    }
    config = folder / "config"
    write_json(config / "jupyter_server_config.json", {"ServerApp": server, "LabApp": lab})
    ours = config / "labconfig"
    write_json(ours / "page_config.json", {"disabledExtensions": {ANNOUNCEMENTS: True}})
    write_json(ours / "default_setting_overrides.json", SETTINGS)
