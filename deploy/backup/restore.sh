#!/bin/sh
# Puts a copy made by backup.sh into an EMPTY database: restore.sh FILE. Stop serve and worker before, everywhere.
# Whose database, is told as in backup.sh; both roles have to exist. It is restored as a whole or not at all.
set -eu
file=${1:?name the file to restore}
there=$(psql --no-psqlrc --tuples-only --no-align --command "SELECT count(*) FROM pg_namespace WHERE nspname = 'koshelek'")
[ "$there" = 0 ] || { echo "the database is not empty: make a new one (CREATE DATABASE), and restore into that" >&2; exit 1; }
pg_restore --exit-on-error --single-transaction --dbname="${PGDATABASE:-}" "$file"
