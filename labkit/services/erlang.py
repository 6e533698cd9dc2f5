"""A quicker start of RabbitMQ: an Erlang code path without the plugins that are not used.

At boot a node loads every module that it has, and looks for each in one folder after the other. Of
the about 70 folders it needs 30; without the others it is up in two thirds of the time.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from labkit.services.files import make_folder

OPTIONAL = "rabbitmq_"
"""How the names of plugins begin; everything else in that folder is a library, and stays."""


def narrow(server: Path, plugins: Iterable[str], folder: Path) -> str:
    """The text of an environment file for RabbitMQ's start script; it makes links in `folder`.

    Empty, so that nothing changes, where the installation does not look as expected.
    """
    installed = server.resolve().parent.parent / "plugins"
    applications = {
        path.parent.parent.name.rpartition("-")[0]: path for path in installed.glob("*/ebin/*.app")
    }
    needed = _closure(["rabbit", "rabbitmq_prelaunch", *plugins], applications)
    if not {"rabbit", *plugins} <= applications.keys() or ":" in str(folder):
        return ""
    links = folder / "home" / "plugins"
    make_folder(links)
    for link in links.iterdir():
        link.unlink()
    for name, path in applications.items():
        if name in needed or not name.startswith(OPTIONAL):
            (links / path.parent.parent.name).symlink_to(path.parent.parent)
    # The start script puts "$RABBITMQ_HOME/plugins" on the code path, after it has read this.
    return f"RABBITMQ_HOME={shlex.quote(str(links.parent))}\n"


def _closure(names: Iterable[str], applications: dict[str, Path]) -> set[str]:
    """These applications, those that they need, those that these need …"""
    needed: set[str] = set()
    wanted = [name for name in names if name in applications]
    while wanted:
        name = wanted.pop()
        needed.add(name)
        wanted += [
            other
            for other in _needs(applications[name])
            if other in applications and other not in needed
        ]
    return needed


def _needs(path: Path) -> list[str]:
    """The `applications` of an Erlang application's resource file."""
    found = re.search(r"\{applications,\s*\[(.*?)\]\}", path.read_text("utf-8"), re.DOTALL)
    return re.findall(r"\w+", found.group(1)) if found else []
