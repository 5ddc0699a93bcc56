# A page of its own per token, as a maintainer would copy one into the volume.
set -eu
page="/usr/share/nginx/html/page-$CC_CI_TOKEN.html"
printf '<!doctype html><title>seeded</title><p id="token">%s</p>\n' "$CC_CI_TOKEN" >"$page"
mkdir -p /usr/share/nginx/html/pictures
head -c 65536 /dev/urandom >"/usr/share/nginx/html/pictures/$CC_CI_TOKEN.bin"
sha256sum "/usr/share/nginx/html/pictures/$CC_CI_TOKEN.bin" >"/usr/share/nginx/html/pictures/$CC_CI_TOKEN.sha256"
