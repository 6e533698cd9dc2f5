#!/bin/sh
# install_on_debian.sh PACKAGE...   as root; starts no service, and leaves nothing else changed.
#
# The packages' scripts would start system services, and a PostgreSQL cluster for everyone. While
# this runs a policy says no. Should this be killed, the policy is void: it names our pid.
set -eu
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C UCF_FORCE_CONFFOLD=1
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
shipped=/usr/share/postgresql-common/createcluster.conf

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
    printf '#!/bin/sh\nkill -0 %s 2>/dev/null && exit 101\nexit 0\n' $$ > "$policy"
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
