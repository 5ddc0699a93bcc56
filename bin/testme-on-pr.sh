#!/bin/sh
# Asks for a test on a pull request (POST=1) or only reads its verdict (POST=0), and prints VERDICT=… and BUILD=….
#
#   POST=1 testme-on-pr.sh recipes/custom-html 12 --wait
#
# The same as `cc-ci testme`; see `cc-ci testme --help` for options and exit codes.
set -eu
case "${POST:-0}" in
    0|1) ;;
    *) echo "testme-on-pr.sh: POST must be 0 or 1, not '$POST'" >&2; exit 2 ;;
esac
exec "${CC_CI:-cc-ci}" testme "$@"
