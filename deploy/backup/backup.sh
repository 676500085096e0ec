#!/bin/sh
# Copies the adapter's database into one file: backup.sh FILE. The service goes on meanwhile.
# Whose database, is told as to every program of PostgreSQL: PGSERVICE, PGHOST, PGDATABASE, PGUSER, ~/.pgpass. The role is
# the owner's. The programs have to be of the server's version, or a newer one.
set -eu
umask 077
file=${1:?name the file to write}
[ ! -e "$file" ] || { echo "$file exists" >&2; exit 1; }
trap 'rm -f "$file.part"' EXIT
pg_dump --format=custom --file="$file.part"
# One that cannot be read is none.
pg_restore --list "$file.part" > /dev/null
mv "$file.part" "$file"
