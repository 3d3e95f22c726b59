#!/bin/bash
# install.sh PROGRAM... -- PACKAGE...: installs the Debian packages unless all programs are there. Where there is no apt, or nobody who may
# use it, exit code 77 skips the caller; but not in CI (CI=true), where what a check needs must be there.
set -euo pipefail
missing=
while [ "$1" != -- ]; do
    command -v "$1" > /dev/null || missing+=" $1"
    shift
done
shift
[ -n "$missing" ] || exit 0
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
if ! command -v apt-get > /dev/null || ! "${as_root[@]}" true 2> /dev/null; then
    echo "skipped: there is no$missing, and no apt-get that may install $*" >&2
    if [ "${CI:-}" = true ]; then exit 1; else exit 77; fi
fi
exec 9> "${TMPDIR:-/tmp}/fastkd-apt.lock" # one at a time
flock 9
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
