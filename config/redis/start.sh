#!/bin/sh
# Starts Redis with its users and their passwords from the environment. They go in on standard input, a service's as
# its SHA-256: a command line shows what is on it to everyone who may list processes, and a file would keep it.
set -eu
digest() {
    printf '%s' "$1" | sha256sum | cut -c 1-64
}
users() {
    sed -f /dev/stdin /etc/redis/users.acl <<DIGESTS
s/#REDIS_CONSUMER_REDIS_PASSWORD/#$(digest "$REDIS_CONSUMER_REDIS_PASSWORD")/
s/#PREDICTOR_REDIS_PASSWORD/#$(digest "$PREDICTOR_REDIS_PASSWORD")/
DIGESTS
}
exec docker-entrypoint.sh redis-server - <<CONFIGURATION
$(cat /etc/redis/redis.conf)
$(users)
requirepass "$(printf '%s' "$REDIS_PASSWORD" | sed 's/["\\]/\\&/g')"
CONFIGURATION
