#!/bin/bash
# Starts MariaDB. On an empty data folder it makes the system tables, the database and the user first;
# on the data of an older server it runs mariadb-upgrade.
#
#   MARIADB_DATABASE, MARIADB_USER              what to make (names: letters, digits, underscore)
#   MARIADB_PASSWORD or MARIADB_PASSWORD_FILE   the user's password
#
# root comes in over the socket only, as the container's root, without a password.
set -euo pipefail

DATA=/var/lib/mysql
SOCKET=/run/mysqld/mysqld.sock
# While data are upgraded the server listens elsewhere, so that no health check takes it for ready.
UPGRADE_SOCKET=/run/mysqld/upgrade.sock

if [ "${1:-}" != mariadbd ]; then exec "$@"; fi

name_of() {
  if [[ ! ${2:-} =~ ^[A-Za-z0-9_]{1,64}$ ]]; then
    echo "entrypoint: $1 must be letters, digits and underscores, and is '${2:-}'" >&2
    exit 64
  fi
  printf '%s' "$2"
}

password() {
  if [ -n "${MARIADB_PASSWORD_FILE:-}" ]; then cat "$MARIADB_PASSWORD_FILE"; else printf '%s' "${MARIADB_PASSWORD:-}"; fi
}

# SQL's way to write a text: quote and backslash doubled up.
sql_text() { printf "'%s'" "$(sed -e 's/\\/\\\\/g' -e "s/'/''/g")"; }

install -d -o mysql -g mysql "$DATA" /run/mysqld
chown mysql:mysql "$DATA"

if [ ! -d "$DATA/mysql" ]; then
  database=$(name_of MARIADB_DATABASE "${MARIADB_DATABASE:-}")
  user=$(name_of MARIADB_USER "${MARIADB_USER:-}")
  if [ -z "$(password)" ]; then
    echo "entrypoint: the password for $user is empty; set MARIADB_PASSWORD_FILE" >&2
    exit 64
  fi
  echo "entrypoint: empty data folder, making the system tables, database $database and user $user"
  mariadb-install-db --user=mysql --datadir="$DATA" --skip-test-db \
    --auth-root-authentication-method=socket --auth-root-socket-user=root >/dev/null
  # Without the grant tables loaded the server takes no GRANT, so load them first.
  {
    echo "FLUSH PRIVILEGES;"
    echo "CREATE DATABASE \`$database\`;"
    printf 'CREATE USER %s@%s IDENTIFIED BY %s;\n' "'$user'" "'%'" "$(password | sql_text)"
    echo "GRANT ALL ON \`$database\`.* TO '$user'@'%';"
  } | mariadbd --user=mysql --bootstrap --skip-networking >/dev/null
else
  was=$(cat "$DATA/mariadb_upgrade_info" "$DATA/mysql_upgrade_info" 2>/dev/null | head -n 1 || true)
  now=$(mariadbd --version | sed -n 's/.*Ver \([0-9]*\.[0-9]*\).*/\1/p')
  if [[ $was != "$now".* ]]; then
    echo "entrypoint: data of MariaDB ${was:-(unknown)}, upgrading to $now"
    mariadbd --user=mysql --skip-networking --socket="$UPGRADE_SOCKET" &
    server=$!
    until mariadb-admin --socket="$UPGRADE_SOCKET" ping >/dev/null 2>&1; do
      kill -0 "$server" || { echo "entrypoint: the server did not start on the old data" >&2; exit 1; }
      sleep 0.2
    done
    mariadb-upgrade --socket="$UPGRADE_SOCKET" --silent
    mariadb-admin --socket="$UPGRADE_SOCKET" shutdown
    wait "$server" || true
    echo "entrypoint: upgraded"
  fi
fi

exec mariadbd --user=mysql --socket="$SOCKET"
