#!/bin/sh
# Starts PostgreSQL. With TLS=true it lets nobody in over the network who comes without; its key has to belong to it and be
# readable to nobody else, which a copy of the user's file is.
set -eu
if [ "$TLS" = false ]; then
    exec docker-entrypoint.sh postgres
fi
tls=/etc/energy/tls/postgres
for file in server.crt server.key; do
    if [ ! -r "$tls/$file" ]; then
        echo "TLS=$TLS: config/tls/postgres/$file cannot be read; the README says how to make it" >&2
        exit 1
    fi
done
install -m 600 -o postgres -g postgres "$tls/server.key" /tmp/server.key
exec docker-entrypoint.sh postgres -c ssl=on -c "ssl_cert_file=$tls/server.crt" -c ssl_key_file=/tmp/server.key \
    -c hba_file=/etc/energy/postgres/pg_hba.conf
