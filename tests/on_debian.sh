#!/bin/sh
# The whole suite on another Debian, with that Debian's own Python, RabbitMQ and PostgreSQL:
#
#   sudo tests/on_debian.sh [SUITE [COMMAND...]]      SUITE: trixie (Debian 13, the default), sid …
#
# trixie has Python 3.13, RabbitMQ 4.0 and PostgreSQL 17. The tree is made once, in
# /var/tmp/rabbitmq-lab-SUITE (SYSTEM= elsewhere); the suite runs in a fresh clone of what is
# committed here, as an ordinary user. It needs root, debootstrap and the network; MIRROR= names
# another Debian mirror. Processes and mounts are in namespaces of their own, and end with it.
set -eu

suite=${1:-trixie}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- make test
source=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
system=${SYSTEM:-/var/tmp/rabbitmq-lab-$suite}
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Component: main' | head -n 1)}

[ "$(id -u)" = 0 ] || { echo "It makes a system in a folder, which needs root: sudo $0" >&2; exit 1; }
command -v debootstrap > /dev/null || { echo "First: apt install debootstrap" >&2; exit 1; }

if ! [ -e "$system/complete" ]; then
	echo "· Debian $suite, RabbitMQ and PostgreSQL in $system: some minutes, the first time" >&2
	rm -rf "$system"
	debootstrap --variant=minbase --include=ca-certificates "$suite" "$system" "$mirror" \
		> "$system.log" 2>&1 || { tail "$system.log" >&2; exit 1; }
	# Whoever installs a server there does not want it started.
	printf '#!/bin/sh\nexit 101\n' > "$system/usr/sbin/policy-rc.d"
	chmod +x "$system/usr/sbin/policy-rc.d"
fi

# How this machine reaches the network, that one does too.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
	[ -e "$file" ] && cp -L "$file" "$system$file"
done
apt-config dump Acquire > "$system/etc/apt/apt.conf.d/99as-outside"

# shellcheck disable=SC2016  (expanded by the inner shell)
exec unshare --mount --pid --ipc --fork --mount-proc sh -euc '
system=$1 source=$2; shift 2
for folder in /proc /dev /dev/shm; do mount --rbind "$folder" "$system$folder"; done
if ! [ -e "$system/complete" ]; then
	chroot "$system" sh -euc "
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -q
		apt-get install -q -y --no-install-recommends \
			git make procps python3 python3-venv postgresql rabbitmq-server
		useradd --create-home lab" > "$system.log" 2>&1 || { tail "$system.log" >&2; exit 1; }
	touch "$system/complete"
fi
rm -rf "$system/home/lab/clone"
git clone -q "$source" "$system/home/lab/clone"
chroot "$system" chown -R lab: /home/lab/clone
exec chroot "$system" setpriv --reuid=lab --regid=lab --init-groups \
	env HOME=/home/lab USER=lab LANG=C.UTF-8 PATH=/usr/bin:/bin \
	sh -c "cd ~/clone && exec \"\$@\"" lab "$@"
' on_debian "$system" "$source" "$@"
