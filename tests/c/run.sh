#!/bin/bash
# run.sh [sanitize | shipped | build]: builds the C core and its test, and runs it on every instruction set of this machine.
#   sanitize   with AddressSanitizer and UndefinedBehaviorSanitizer (the default)
#   shipped    at the flags of the wheel (csrc/cflags): an optimizer may read where the source does not, and the guard pages see it
#   build      as shipped, but is not run
# CC chooses the compiler (with arguments, if need be), RUN what runs programs for another machine, JOBS how many units at once,
# FASTKD_C_BUILD the folder for objects (by default tests/c/build). FASTKD_C_OBJECTS is a folder with objects of the core that are
# there already, as setup.py leaves them in build/temp*/csrc: then only the test is compiled.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
core=$(cd "$here/../../csrc" && pwd)
build=${FASTKD_C_BUILD:-$here/build}
mode=${1:-sanitize}
read -ra cc <<< "${CC:-gcc}"
read -ra run <<< "${RUN:-}"
read -ra shipped < "$core/cflags"
checks=(-Wall -Wextra -Werror -I "$core" -I "$here")
mkdir -p "$build"
rm -f "$build"/*.o

case $mode in
    sanitize) # use-after-scope checks would take five times as long to compile
        flags=("${shipped[@]}" -g1 -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-sanitize-address-use-after-scope) ;;
    shipped | build) flags=("${shipped[@]}") ;;
    *) sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2 ;;
esac

compile() { # for xargs: SOURCE FLAGS...
    local source=$1 out
    shift
    out=$build/$(basename "$source").o
    $CC "$@" -c "$source" -o "$out"
}
export -f compile
export build CC="${cc[*]}"
if [ -n "${FASTKD_C_OBJECTS:-}" ]; then
    objects=("$FASTKD_C_OBJECTS"/*.o)
else
    printf '%s\n' "$core"/*.c |
        xargs -P "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" -I{} bash -c 'compile "$@"' _ {} "${flags[@]}" "${checks[@]}"
    objects=("$build"/*.o)
fi
# the test itself at -O1: its own speed does not matter
"${cc[@]}" "${flags[@]}" -O1 "${checks[@]}" "$here/test_core.c" "${objects[@]}" -o "$build/test_core.bin" -lm ${LDFLAGS:-}
[ "$mode" = build ] || "${run[@]}" "$build/test_core.bin"
