#!/bin/sh
# Run by the database's image when it starts with an empty folder: a role that owns the tables, and one that serves.
set -eu
secrets=${SECRETS:-/run/secrets}
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
    --set owner="$(cat "$secrets/owner_password")" --set service="$(cat "$secrets/service_password")" \
    --set database="$POSTGRES_DB" <<'SQL'
CREATE ROLE koshelek_owner LOGIN PASSWORD :'owner';
CREATE ROLE koshelek_service LOGIN PASSWORD :'service';
ALTER DATABASE :"database" OWNER TO koshelek_owner;
SQL
