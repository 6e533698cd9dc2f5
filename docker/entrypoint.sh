#!/bin/sh
# Runs a program with the passwords of the lab in its environment.
#
#   docker/entrypoint.sh server|lab PROGRAM...
set -eu
secrets=${SECRETS:-/secrets}/$1.env; shift
set -a
. "$secrets"
set +a
exec "$@"
