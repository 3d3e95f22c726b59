#!/bin/bash
# The C core for aarch64 (NEON and one lane), compiled by gcc at the flags of the wheel, runs under qemu with guard pages.
# Needs gcc-aarch64-linux-gnu and qemu-user; where apt and root are at hand it installs them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v aarch64-linux-gnu-gcc qemu-aarch64 > /dev/null; then
    bash "$here/install.sh" gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user || { [ $? = 77 ] && exit 77; exit 1; }
fi
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
CC=aarch64-linux-gnu-gcc LDFLAGS=-static RUN=qemu-aarch64 FASTKD_C_BUILD=$build bash "$here/../c/run.sh" shipped
