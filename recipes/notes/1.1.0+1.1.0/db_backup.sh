#!/bin/bash
# Dumps the database into the data volume before a backup, and loads the dump after a restore.
set -euo pipefail

DUMP=/var/lib/mysql/backup.sql.gz

case ${1:-} in
  backup)
    # Under another name until it is whole: a dump that was cut short must never be taken for one.
    mariadb-dump --single-transaction --routines --add-drop-database --databases notes | gzip >"$DUMP.part"
    gunzip -c "$DUMP.part" | tail -n 1 | grep -q '^-- Dump completed'
    mv "$DUMP.part" "$DUMP"
    ;;
  restore)
    gunzip -c "$DUMP" | mariadb
    ;;
  *)
    echo "usage: $0 backup|restore" >&2
    exit 64
    ;;
esac
