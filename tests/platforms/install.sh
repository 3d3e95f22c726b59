#!/bin/bash
# install.sh PACKAGE...: Debian packages. Where there is no apt, or nobody who may use it, exit code 77 skips the caller; but
# not in CI (CI=true), where what a check needs must be there.
set -euo pipefail
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
if ! command -v apt-get > /dev/null || ! "${as_root[@]}" true 2> /dev/null; then
    [ "${CI:-}" != true ] || { echo "needs $*" >&2; exit 1; }
    echo "skipped: there is no apt-get that may install $*" >&2
    exit 77
fi
exec 9> "${TMPDIR:-/tmp}/fastkd-apt.lock" # one at a time
flock 9
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" > /dev/null
