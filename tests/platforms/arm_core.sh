#!/bin/bash
# The C core for aarch64 (NEON and one lane), compiled by gcc at the flags of the wheel, runs under qemu with guard pages.
# Needs gcc-aarch64-linux-gnu and qemu-user; where apt and root are at hand it installs them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bash "$here/install.sh" aarch64-linux-gnu-gcc qemu-aarch64 -- gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
CC=aarch64-linux-gnu-gcc LDFLAGS=-static RUN=qemu-aarch64 FASTKD_C_BUILD=$build bash "$here/../c/run.sh" shipped
