# Shared by the scripts in this folder; sourced, never run.
#
# Every script says what it does in short lines that begin with the seconds since it started, because a
# step that takes a minute in silence looks like a hang.

# Without this a failure inside $(...) goes unnoticed in spite of `set -e`.
shopt -s inherit_errexit

# Where cc-ci keeps what it makes on this machine: registry, tools, recipe repositories, private engines.
CC_CI_HOME=${CC_CI_HOME:-/var/lib/cc-ci}
# The registry is on loopback, so the engine talks plain HTTP to it without any configuration.
CC_CI_REGISTRY=${CC_CI_REGISTRY:-localhost:5055}
export CC_CI_HOME CC_CI_REGISTRY

# One clock for a script and the scripts it calls.
CC_CI_STARTED=${CC_CI_STARTED:-$(date +%s)}
export CC_CI_STARTED
SECONDS=$(($(date +%s) - CC_CI_STARTED))

repo_root() { (cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P); }

say() { printf '[%3ds] %s\n' "$SECONDS" "$*"; }

# The second line of a failure is what to try.
die() {
  printf '[%3ds] error: %s\n' "$SECONDS" "$1" >&2
  if [ $# -gt 1 ]; then printf '       try: %s\n' "$2" >&2; fi
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root. Root needs no sudo; anybody else is told before sudo asks.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    printf '[%3ds] sudo, because only root may: %s\n' "$SECONDS" "$*"
    sudo "$@"
  else
    die "only root may run: $*" "run this as root, or install sudo"
  fi
}

# CC_CI_DOCKER if it is set; else Debian's own client where there is one: it brings BuildKit along, a newer
# client without the buildx plugin does not.
docker_cli() {
  if [ -x /usr/bin/docker ]; then printf '/usr/bin/docker'; else printf 'docker'; fi
}
DOCKER=${CC_CI_DOCKER:-$(docker_cli)}

engine_socket() {
  case ${DOCKER_HOST:-unix:///var/run/docker.sock} in
    unix://*) printf '%s' "${DOCKER_HOST:-unix:///var/run/docker.sock}" | sed 's|^unix://||' ;;
    *) die "DOCKER_HOST is ${DOCKER_HOST:-}: these scripts need an engine on this machine" \
      "unset DOCKER_HOST" ;;
  esac
}

engine_answers() { curl -fsS -m 5 --unix-socket "$(engine_socket)" http://engine/_ping >/dev/null 2>&1; }

# wait_until SECONDS COMMAND...: polls a state ten times a second; fails when the time is over.
wait_until() {
  local limit=$((SECONDS + $1))
  shift
  until "$@"; do
    if [ "$SECONDS" -ge "$limit" ]; then return 1; fi
    sleep 0.1
  done
}
