"""Installing Debian's packages without leaving anything else changed."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import threading

from labkit.services.errors import MissingSoftware
from labkit.services.waiting import run

PACKAGES = {
    "RabbitMQ": "rabbitmq-server",
    "PostgreSQL": "postgresql",
    "pip": "python3-venv",
}

SCRIPT = """\
set -eu
umask 022
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
shipped=/usr/share/postgresql-common/createcluster.conf

# The packages' scripts would start system services, and a PostgreSQL cluster for everybody. While
# this runs a policy says no. Should this be killed, the policy is void: it names our pid.
restore() {
    if [ -n "${wrote_policy-}" ]; then rm -f "$policy"; fi
    if [ -n "${saved_clusters-}" ]; then cp "$saved_clusters" "$clusters"; rm -f "$saved_clusters"
    elif [ -n "${wrote_clusters-}" ] && [ -e "$shipped" ]; then cp "$shipped" "$clusters"
    elif [ -n "${wrote_clusters-}" ]; then rm -f "$clusters"; fi
}
trap restore EXIT
trap 'exit 130' INT TERM HUP
if [ ! -e "$policy" ]; then
    wrote_policy=yes
    printf '#!/bin/sh\\nkill -0 %s 2>/dev/null && exit 101\\nexit 0\\n' $$ > "$policy"
    chmod 755 "$policy"
fi
if [ -e "$clusters" ]; then
    saved_clusters=$(mktemp)
    cp "$clusters" "$saved_clusters"
else
    wrote_clusters=yes
    mkdir -p "${clusters%/*}"
fi
echo 'create_main_cluster = false' >> "$clusters"

get() { apt-get -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 install "$@"; }
had_broker=$(dpkg-query -W -f '${Status}' rabbitmq-server 2>/dev/null || true)
dpkg --configure -a
get "$@" || { apt-get -q update; get "$@"; }

# A broker of the system's own would take the standard port at the next boot.
case " $* " in *" rabbitmq-server "*)
    if [ -z "$had_broker" ] && command -v systemctl > /dev/null; then
        systemctl --quiet disable rabbitmq-server.service epmd.socket > /dev/null 2>&1 || true
    fi
esac
"""

DECLINED = "LAB_INSTALL"
"""Set to `no`, nothing of Debian's is installed."""

_turn = threading.Lock()


def may_install() -> bool:
    """Whether the user has not declined (`LAB_INSTALL=no`), there is apt-get, and we are root or
    become it without being asked for a password.
    """
    if os.environ.get(DECLINED, "").lower() in ("no", "0", "false"):
        return False
    return shutil.which("apt-get") is not None and _root_command() is not None


def install(names: list[str], cancel: threading.Event) -> None:
    """Install what `PACKAGES` calls these. Starts no service and makes no cluster.

    Interrupted, it lets dpkg finish the package it is at, so that none is left half-configured.
    Raises `ServiceError` with the end of apt-get's output.
    """
    prefix = _root_command()
    if prefix is None:
        raise MissingSoftware(f"Installing {', '.join(names)} needs root.")
    environment = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "UCF_FORCE_CONFFOLD": "1"}
    settings = [f"{key}={value}" for key, value in environment.items()]
    packages = [PACKAGES[name] for name in names]
    with _turn:
        run(
            [*prefix, "env", *settings, "sh", "-c", SCRIPT, "install", *packages],
            cancel=cancel,
            interrupt=functools.partial(_interrupt, prefix),
        )


@functools.cache
def _root_command() -> tuple[str, ...] | None:
    """What to put before a command so that root runs it; None if nothing does."""
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(
        ["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return ("sudo", "-n") if asked.returncode == 0 else None


def _interrupt(prefix: tuple[str, ...], child: "subprocess.Popen[str]") -> None:
    if prefix:  # sudo hands the signal on to what it runs
        subprocess.run([*prefix, "kill", "-INT", str(child.pid)], check=False)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)
    child.communicate()  # keep reading: a closed pipe would break dpkg off
