#!/bin/sh
# Restore the latest backup of a folder into a scratch ledger, bring it to this version's schema, let the program read it,
# and throw it away. Says how long each step took. Nothing of the hub that serves is touched. Run it every month.
#
#     rehearse.sh FOLDER     PostgreSQL: PG* of a server for rehearsals, as a role that may create databases there.
#                            SQLite: needs nothing
#
# TIDEWAITER_RESTORE_THROUGH as for restore.sh. `tidewaiter` must be on the PATH.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
latest=$(find "${1:?the folder with backups}" -mindepth 2 -name manifest -not -path '*.part/*' | sort | tail -n 1)
[ -n "$latest" ] || { echo "rehearse: no backup in $1" >&2; exit 1; }
backup=$(dirname "$latest")
work=$(mktemp -d)
scratch="tidewaiter_rehearsal_$$"
clean_up() {
    rm -rf "$work"
    if [ -n "${made:-}" ]; then dropdb --if-exists --force "$scratch"; fi
}
trap clean_up EXIT

step() { # step NAME COMMAND...: run it, and say how long it took
    name=$1
    shift
    began=$(date +%s.%N)
    "$@" > "$work/said" || { cat "$work/said" >&2; echo "rehearse: $name failed" >&2; exit 1; }
    echo "$name $(date +%s.%N) $began" | awk '{ printf "%-10s %8.2f s\n", $1, $2 - $3 }'
}

export TIDEWAITER_HOME="$work"
if grep -q '^engine sqlite' "$backup/manifest"; then
    export TIDEWAITER_LEDGER_URL="sqlite:///$work/ledger.sqlite"
    step restore "$here/restore.sh" "$backup" "$work/ledger.sqlite"
else
    createdb "$scratch"
    made=yes
    export PGDATABASE="$scratch"
    # The password, if one is needed, is found where libpq finds it: PGPASSFILE.
    export TIDEWAITER_LEDGER_URL="postgresql://${PGUSER:-postgres}@${PGHOST:-localhost}:${PGPORT:-5432}/$scratch"
    step restore "$here/restore.sh" "$backup"
fi
cp "$work/said" "$work/restored"
step migrate tidewaiter migrate
step read tidewaiter key list --member HUB

echo
grep '^taken_at' "$backup/manifest"
grep -v '^restored' "$work/restored"
echo "rehearsed: $backup can be restored"
