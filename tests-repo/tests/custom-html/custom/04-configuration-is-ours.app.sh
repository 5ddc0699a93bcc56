# nginx accepts the recipe's configuration, and it names this app's domain.
set -eu
nginx -t
grep -qxF "# $DOMAIN" /etc/nginx/conf.d/default.conf
