#!/bin/bash
# The C core in all ways that this machine can compile and run it, warnings as errors, every instruction set; one after the other.
# WORK is a folder for objects.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf -- '--- %s (%d s)\n' "$*" "$SECONDS"; }
or_skip() { # a command that says by exit code 77, with its reason, that it cannot run here
    "$@" || { code=$?; [ "$code" = 77 ] || exit "$code"; }
}

step "gcc, AddressSanitizer and UndefinedBehaviorSanitizer"
FASTKD_C_BUILD=$WORK/c-gcc bash tests/c/run.sh sanitize

step "clang, flags of the wheel"
or_skip bash tests/platforms/install.sh clang -- clang
if command -v clang > /dev/null; then CC=clang FASTKD_C_BUILD=$WORK/c-clang bash tests/c/run.sh shipped; fi

step "aarch64 under qemu, flags of the wheel"
if [ "$(uname -m)" = aarch64 ]; then echo "this is one"; else or_skip bash tests/platforms/arm_core.sh; fi
