#!/bin/sh
# Makes the secrets of compose.yaml, once: what is there stays as it is. koshelek_password is the one Koshelek is given.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
generated() {
    [ -e "secrets/$1" ] || openssl rand -base64 24 | tr '+/' '-_' | tr -d '\n' > "secrets/$1"
}
for role in administrator owner service koshelek; do
    generated "${role}_password"
done
for role in owner service; do
    printf 'postgresql://koshelek_%s:%s@database/koshelek' "$role" "$(cat "secrets/${role}_password")" \
        > "secrets/${role}_url"
done
# The containers' users must be able to read them; who may enter the folder is another matter.
chmod 0700 secrets
chmod 0444 secrets/*
