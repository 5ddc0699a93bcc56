# Exactly one row: a dump that is loaded twice must not double anything.
set -eu
count=$(mariadb -N notes -e "SELECT COUNT(*) FROM notes WHERE body LIKE 'note of $CC_CI_TOKEN %'")
echo "rows with this token: $count"
test "$count" = 1
