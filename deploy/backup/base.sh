#!/bin/sh
# Copies the whole server into a folder, to which the log that is archived from then on is added: base.sh FOLDER.
# The service goes on meanwhile. Whose server, is told as to every program of PostgreSQL; the role needs REPLICATION.
set -eu
umask 077
folder=${1:?name the folder to write}
[ ! -e "$folder" ] || { echo "$folder exists" >&2; exit 1; }
[ ! -e "$folder.part" ] || { echo "$folder.part exists: another copy is under way, or one was killed" >&2; exit 1; }
trap 'rm -rf "$folder.part"' EXIT
pg_basebackup --pgdata="$folder.part" --checkpoint=fast --wal-method=stream
# One without its control file is none; pg_verifybackup FOLDER compares every file with the manifest.
pg_controldata --pgdata="$folder.part" > /dev/null
mv "$folder.part" "$folder"
