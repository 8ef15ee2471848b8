#!/bin/sh
# Starts Redis with its password from the environment. It goes in on standard input: a command line shows it to everyone
# who may list processes, and a file would keep it.
set -eu
exec docker-entrypoint.sh redis-server - <<CONFIGURATION
$(cat /etc/redis/redis.conf)
requirepass "$(printf '%s' "$REDIS_PASSWORD" | sed 's/["\\]/\\&/g')"
CONFIGURATION
