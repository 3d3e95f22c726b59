#!/bin/bash
# Exports with every compiler, emulator and simulator that Debian offers: bash .ci/export.sh PYTHON [HOSTILE_ROWS]
# Installs them where there is apt; elsewhere the tests that need what is missing say so and are skipped. With CI=true that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
packages=(gcc g++ clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm iverilog)
programs=(gcc g++ clang aarch64-linux-gnu-gcc qemu-aarch64 arm-none-eabi-gcc qemu-system-arm iverilog)

missing=()
require=1
for program in "${programs[@]}"; do command -v "$program" > /dev/null || missing+=("$program"); done
if [ "${#missing[@]}" -gt 0 ]; then
    if command -v apt-get > /dev/null; then
        root=
        [ "$(id -u)" = 0 ] || root=sudo
        $root apt-get update -qq
        $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
    elif [ "${CI:-}" = true ]; then
        printf 'no apt-get, and these are missing: %s\n' "${missing[*]}" >&2
        exit 1
    else
        printf 'no apt-get here; the tests that need these are skipped: %s\n' "${missing[*]}" >&2
        require=0
    fi
fi
FASTKD_REQUIRE_TOOLS=$require FASTKD_HOSTILE_ROWS=${2:-1000000} "$python" -m pytest -q -rs tests/deploy/export
