#!/bin/sh
# Back the ledger up while the hub serves: one moment of it, with a manifest of what it holds.
#
#     backup.sh FOLDER                  PostgreSQL, by the usual PG* variables, as tidewaiter_backup
#     backup.sh FOLDER ledger.sqlite    SQLite
#
# Makes FOLDER/<time>/ with `ledger` (pg_dump's custom format, or a SQLite file) and `manifest`, readable by you alone.
# TIDEWAITER_BACKUP_THROUGH: a command that the ledger is piped through before it is written, so that this machine cannot
# read its own backups, for example:  age --recipients-file /etc/tidewaiter/backup-recipients
#
# Not in it: the hub's key (TIDEWAITER_HOME/hub.key), which is kept apart; the manifest says which key the ledger knows.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
taken_at=$(date -u +%Y%m%dT%H%M%SZ)
target="${1:?the folder for backups}/$taken_at"
through=${TIDEWAITER_BACKUP_THROUGH:-cat}
part="$target.part"
mkdir -p "$1"
mkdir "$part"
trap 'rm -rf "$part"' EXIT

{
    echo "taken_at $taken_at"
    echo "encrypted $([ "$through" = cat ] && echo no || echo yes)"
} > "$part/manifest"
if [ $# -gt 1 ]; then
    echo "engine sqlite" >> "$part/manifest"
    python3 "$here/sqlite_ledger.py" copy "$2" "$part/plain"
    python3 "$here/sqlite_ledger.py" measure "$part/plain" >> "$part/manifest"
    sh -c "$through" < "$part/plain" > "$part/ledger"
    rm "$part/plain"
else
    # One snapshot for both: what the manifest counts is what the dump holds, whatever is posted meanwhile.
    PART=$part THROUGH=$through HERE=$here psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
        >> "$part/manifest" <<'SQL'
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT 'engine postgresql ' || current_setting('server_version');
SELECT pg_export_snapshot() AS snapshot \gset
\setenv SNAPSHOT :snapshot
\! { pg_dump --format=custom --snapshot="$SNAPSHOT" && touch "$PART/dumped"; } | sh -c "$THROUGH" > "$PART/ledger"
\getenv here HERE
\i :here/measure.sql
COMMIT;
SQL
    rm "$part/dumped" # not there: pg_dump has failed, and has said why
fi
[ -s "$part/ledger" ]
echo "sha256 $(sha256sum < "$part/ledger" | cut -d' ' -f1)" >> "$part/manifest"
sync
mv "$part" "$target"
trap - EXIT
echo "$target"
