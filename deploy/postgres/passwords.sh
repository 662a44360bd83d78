#!/bin/sh
# Give the roles of roles.sql their passwords: once after it, and again to change one. As a superuser, connected by the
# usual PG* variables; $1 is a folder with one file for each role (owner, hub, registrar, backup, monitor), named
# `postgres_<role>`. A role whose file is missing keeps what it has.
# Neither a command line nor the server's log ever holds a password: psql reads the file, and the session does not log.
set -eu
folder=${1:?the folder with the passwords}
for role in owner hub registrar backup monitor; do
    file="$folder/postgres_$role"
    [ -r "$file" ] || continue
    PASSWORD_FILE=$file psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=role="tidewaiter_$role" <<'SQL'
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
SET password_encryption = 'scram-sha-256';
\set password `cat "$PASSWORD_FILE"`
ALTER ROLE :"role" PASSWORD :'password';
SQL
done
