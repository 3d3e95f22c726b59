#!/bin/bash
# Builds the C core and its test with AddressSanitizer and UndefinedBehaviorSanitizer, and runs it on every instruction set of this machine.
# CC chooses the compiler, FASTKD_C_BUILD the folder for objects (by default tests/c/build).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
core=$(cd "$here/../../csrc" && pwd)
build=${FASTKD_C_BUILD:-$here/build}
mkdir -p "$build"
# the flags of setup.py at a lower optimization; use-after-scope checks would take five times as long to compile
flags=(-std=c11 -g1 -O1 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror
       -fsanitize=address,undefined -fno-sanitize-recover=all -fno-sanitize-address-use-after-scope -I "$core" -I "$here")
printf '%s\n' "$core"/*.c "$here"/test_core.c |
    xargs -P "$(getconf _NPROCESSORS_ONLN)" -I{} sh -c 'cc=$1; out=$2/$(basename "$3").o; src=$3; shift 3; exec "$cc" "$@" -c "$src" -o "$out"' \
        _ "${CC:-gcc}" "$build" {} "${flags[@]}"
"${CC:-gcc}" "${flags[@]}" "$build"/*.o -o "$build/test_core" -lm
exec "$build/test_core"
