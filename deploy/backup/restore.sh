#!/bin/sh
# Restore a backup into an empty ledger, and compare what is there with what the manifest says.
#
#     restore.sh BACKUP                 PostgreSQL, by the usual PG* variables, as tidewaiter_owner; the database is there,
#                                       roles.sql has been run in it, and it has no tables
#     restore.sh BACKUP ledger.sqlite   SQLite; the file is not there
#
# TIDEWAITER_RESTORE_THROUGH: the command that undoes TIDEWAITER_BACKUP_THROUGH, for example:  age --decrypt --identity KEY
# It opens no door: what must be done before the hub serves from a restored ledger is in docs/runbook.md, "Restore".
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
backup=${1:?the backup: a folder with ledger and manifest}
through=${TIDEWAITER_RESTORE_THROUGH:-cat}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "restore: $*" >&2
    exit 1
}

[ "sha256 $(sha256sum < "$backup/ledger" | cut -d' ' -f1)" = "$(grep '^sha256 ' "$backup/manifest")" ] ||
    fail "the ledger in $backup is not the one of its manifest"
sql() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"
}

if grep -q '^engine sqlite' "$backup/manifest"; then
    ledger=${2:?the file to restore to}
    [ ! -e "$ledger" ] || fail "$ledger is there already"
    sh -c "$through" < "$backup/ledger" > "$ledger.part"
    python3 "$here/sqlite_ledger.py" measure "$ledger.part" > "$work/found"
    python3 "$here/sqlite_ledger.py" whole "$ledger.part" > "$work/broken"
else
    [ "$(sql --command="SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")" = 0 ] ||
        fail "the database ${PGDATABASE:-} has tables already"
    sh -c "$through" < "$backup/ledger" > "$work/plain"
    pg_restore --dbname="${PGDATABASE:?}" --no-owner --no-acl --exit-on-error --single-transaction "$work/plain"
    sql --command="ANALYZE"
    sql --file="$here/measure.sql" > "$work/found"
    sql --file="$here/whole.sql" > "$work/broken"
fi

grep -E '^(revision|position|registry|hub_key|table) ' "$backup/manifest" > "$work/wanted"
diff "$work/wanted" "$work/found" >&2 || fail "what was restored differs from the manifest (above)"
[ ! -s "$work/broken" ] || fail "$(cat "$work/broken")"
if grep -q '^engine sqlite' "$backup/manifest"; then mv "$ledger.part" "$ledger"; fi
cat "$work/found"
echo "restored, and as the manifest says"
