#!/bin/sh
# Makes a copy of base.sh ready to start as it was at a moment: restore-to.sh FOLDER ARCHIVE "2026-11-26 10:15:00+03".
# FOLDER becomes the server's data, so copy it first; ARCHIVE is where archive_command has put the log. Then start the
# server on it: it reads the log up to the moment and goes on from there, as a server of its own.
set -eu
folder=${1:?name the copy}
archive=${2:?name the folder of the archived log}
moment=${3:?name the moment, with its zone}
[ -e "$folder/PG_VERSION" ] || { echo "$folder is no copy made by base.sh" >&2; exit 1; }
[ -d "$archive" ] || { echo "there is no folder $archive" >&2; exit 1; }
case $moment in *[!0-9:.+\ -]*) echo "the moment is written as 2026-11-26 10:15:00+03" >&2; exit 1 ;; esac
{
    echo "restore_command = 'cp \"$archive/%f\" \"%p\"'"
    echo "recovery_target_time = '$moment'"
    echo "recovery_target_action = 'promote'"
    # Or it would add its own log to the archive of the server it was copied from.
    echo "archive_mode = off"
} >> "$folder/postgresql.auto.conf"
: > "$folder/recovery.signal"
