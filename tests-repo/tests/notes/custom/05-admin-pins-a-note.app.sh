# The token in the rendered config is the generated secret, and it opens the door.
set -eu
url=http://127.0.0.1:8000/api/notes
id=$(curl -fsS -H 'Content-Type: application/json' -d "{\"body\": \"on top $CC_CI_TOKEN\"}" "$url" | sed 's/.*"id": \([0-9]*\).*/\1/')
grep -qE '^[0-9a-f]{64}$' /run/secrets/app_secret
# From a file, so that the secret is on no command line.
printf 'header = "X-Notes-Admin: %s"\n' "$(cat /run/secrets/app_secret)" >/tmp/admin.curl
trap 'rm -f /tmp/admin.curl' EXIT
curl -fsS -K /tmp/admin.curl -X POST "$url/$id/pin" | grep -q '"pinned": true'
