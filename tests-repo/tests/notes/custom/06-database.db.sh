# The server that was asked for, the table the application made, and a login that needs its password.
set -eu
mariadb -N -e 'SELECT VERSION()' | grep -q '^11\.8\.'
mariadb -N notes -e 'SHOW COLUMNS FROM notes' | grep -q '^pinned'
if mariadb -h 127.0.0.1 -u notes --password=wrong -e 'SELECT 1' 2>/dev/null; then
  echo 'a wrong password was accepted' >&2
  exit 1
fi
MYSQL_PWD=$(cat /run/secrets/db_password) mariadb -h 127.0.0.1 -u notes notes -e 'SELECT 1' >/dev/null
