#!/bin/sh
# Make the secrets of a hub, once: passwords of its own for every role, and nothing that exists is overwritten.
#     deploy/make-secrets.sh [FOLDER]      default: deploy/secrets beside this file
# Certificates (tls_pem, clients_ca, clients_crl) are put there by you (deploy/README.md).
#
# The files are readable by all, in a folder that only you may enter: Compose mounts each file into a container with the
# owner and mode that it has here (`uid`, `gid` and `mode` of file secrets are ignored), and the containers run as
# several users.
set -euC # C: never overwrite
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

for role in superuser owner hub registrar backup monitor; do
    openssl rand -hex 24 | tr -d '\n' > "postgres_$role"
done
# The hub's processes, the migration and the operator's commands each have the URL of their own role.
for role in owner hub registrar; do
    printf '%s' "postgresql://tidewaiter_$role:$(cat "postgres_$role")@postgres/tidewaiter" > "ledger_url_$role"
done
# libpq's form, for psql and pg_dump: no password in a command line or an environment.
for role in owner backup; do
    printf 'postgres:5432:tidewaiter:tidewaiter_%s:%s\n' "$role" "$(cat "postgres_$role")" > "pgpass_$role"
done

wire=$(openssl rand -hex 24)
printf '%s' "amqp://tidewaiter:$wire@rabbitmq:5672/" > amqp_url
# RabbitMQ keeps a salted hash: base64 of four octets of salt and SHA-256 of salt and password.
salt=$(openssl rand -hex 2)
hash=$({ printf '%s' "$salt"; printf '%s%s' "$salt" "$wire" | openssl dgst -sha256 -binary; } | openssl base64 -A)
cat > rabbitmq_user.json <<JSON
{"users": [{"name": "tidewaiter", "tags": ["administrator"], "limits": {}, "password_hash": "$hash",
            "hashing_algorithm": "rabbit_password_hashing_sha256"}],
 "permissions": [{"user": "tidewaiter", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]}
JSON
openssl rand -hex 32 | tr -d '\n' > erlang_cookie

chmod 444 postgres_* ledger_url_* pgpass_* amqp_url rabbitmq_user.json erlang_cookie
