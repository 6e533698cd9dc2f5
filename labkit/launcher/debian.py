"""Installing Debian's packages, with nothing else changed; the user can decline."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path

from labkit.services.errors import MissingSoftware
from labkit.services.running import run
from labkit.services.software import INSTALL, advice, missing

SCRIPT = Path(__file__).with_name("install_on_debian.sh")
DECLINED = "LAB_INSTALL"
"""Set to `no`, nothing of Debian's is installed."""


def may_install() -> bool:
    """Whether the user has not declined (`LAB_INSTALL=no`), there is apt-get, and we are root or
    become it without being asked for a password.
    """
    if os.environ.get(DECLINED, "").lower() in ("no", "0", "false"):
        return False
    return shutil.which("apt-get") is not None and _root_command() is not None


async def install(names: Sequence[str]) -> None:
    """Install what `INSTALL` calls these. Starts no service and makes no cluster.

    Interrupted, it lets dpkg finish the package it is at, so that none is left half-configured.
    Raises `ServiceError` with the end of apt-get's output, or if something is still missing.
    """
    prefix = _root_command()
    if prefix is None:
        raise MissingSoftware(f"Installing {', '.join(names)} needs root.")

    async def interrupt(child: Process) -> None:
        if prefix:  # sudo hands the signal on to what it runs
            kill = await asyncio.create_subprocess_exec(*prefix, "kill", "-INT", str(child.pid))
            await kill.wait()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT)
        await child.communicate()  # keep reading: a closed pipe would break dpkg off

    packages = [INSTALL[name][0] for name in names]
    await run([*prefix, "sh", SCRIPT, *packages], interrupt=interrupt)
    if still := [name for name in names if name in missing()]:
        raise MissingSoftware(advice(still))


def _root_command() -> tuple[str, ...] | None:
    """What to put before a command so that root runs it; None if nothing does."""
    if os.geteuid() == 0:
        return ()
    if (sudo := shutil.which("sudo")) is None:
        return None
    asked = subprocess.run(  # noqa: S603
        [sudo, "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return (sudo, "-n") if asked.returncode == 0 else None
