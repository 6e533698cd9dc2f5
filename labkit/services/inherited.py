"""What the programs that we start inherit of the user's environment: the only place that decides.

A student's shell has settings for other programs: another Python, another database, a locale, a
back end for pictures. None of them may change what ours do.
"""

import os
from collections.abc import Mapping

PREFIXES = ("PG", "PIP_", "PYTHON", "RABBITMQ_", "ERL_", "JUPYTER", "IPYTHON", "LC_")
NAMES = ("LANG", "LANGUAGE", "MPLBACKEND", "NOTIFY_SOCKET", "VIRTUAL_ENV", "CONDA_PREFIX")
OURS = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PYTHONUTF8": "1",  # files, arguments and logs are UTF-8, also where there is no such locale
    "PYTHONNOUSERSITE": "1",  # packages in the user's home are not those that were tested
}


def inherited(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environ` without what would change our programs, and in UTF-8.

    Proxies stay, for `%pip install` in a notebook; our own clients ask loopback without them.
    """
    kept = {name: value for name, value in environ.items() if not _is_foreign(name)}
    return kept | OURS


def for_pip(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The same, with the package index that the user has set, but not where to install to."""
    index = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST")
    given = {name: environ[name] for name in index if environ.get(name)}
    # These two also stand above pip.conf: `user = true` there would refuse to install.
    return inherited(environ) | given | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}


def _is_foreign(name: str) -> bool:
    return name in NAMES or name.startswith(PREFIXES)
