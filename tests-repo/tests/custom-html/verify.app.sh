# Every byte of the picture is as it was written.
set -eu
sha256sum -c "/usr/share/nginx/html/pictures/$CC_CI_TOKEN.sha256"
