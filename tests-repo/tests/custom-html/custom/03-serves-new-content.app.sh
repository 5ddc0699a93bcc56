# What is copied into the volume is served at once; a hidden file beside it is not.
set -eu
folder="/usr/share/nginx/html/check-$CC_CI_TOKEN"
mkdir "$folder"
trap 'rm -rf "$folder"' EXIT
printf '%s' "$CC_CI_TOKEN" >"$folder/page.txt"
printf 'hidden' >"$folder/.env"
test "$(curl -fsS "http://127.0.0.1/check-$CC_CI_TOKEN/page.txt")" = "$CC_CI_TOKEN"
test "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1/check-$CC_CI_TOKEN/.env")" = 404
