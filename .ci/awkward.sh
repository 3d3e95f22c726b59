#!/bin/bash
# awkward.sh BIN [TESTS...]: tests in the current folder, by the pytest in BIN, in a random order and where much is missing or unusual:
# the home cannot be written to, numbers and letters follow Turkish rules, the time zone has a quarter of an hour, nothing but 127.0.0.1 answers.
set -euo pipefail
bin=$1
settings=(HOME=/proc/self/home XDG_CACHE_HOME=/proc/self/cache TZ=Asia/Kathmandu LC_ALL=C)
[ -d /usr/share/i18n/locales ] || bash "$(dirname "$0")/../tests/platforms/install.sh" tr_TR -- locales || true
if [ -d /usr/share/i18n/locales ]; then
    mkdir -p locales
    localedef -i tr_TR -f UTF-8 "$PWD/locales/tr_TR.UTF-8"
    settings+=(LOCPATH="$PWD/locales" LC_ALL=tr_TR.UTF-8)
fi
tests=("${@:2}")
if [ $# = 1 ]; then tests=(tests/core tests/market tests/features tests/deploy tests/cli tests/federated tests/test_{io,package}.py); fi
command=(env "${settings[@]}" "$bin/python" -m pytest -q -n "$(getconf _NPROCESSORS_ONLN)" -p randomly "${tests[@]}")
if [ "$(id -u)" = 0 ] && unshare --net true 2> /dev/null; then
    exec unshare --net bash -c 'ip link set lo up 2> /dev/null || "$1" -c "
import fcntl, socket, struct
with socket.socket() as s:  # what ip link set lo up does
    fcntl.ioctl(s, 0x8914, struct.pack(\"16sh22x\", b\"lo\", 0x49))"
        echo 1 2> /dev/null > /proc/sys/net/ipv6/conf/all/disable_ipv6 || true
        exec "${@:2}"' _ "$bin/python" "${command[@]}"
fi
echo "no namespace of its own: the network stays"
exec "${command[@]}"
