#!/bin/bash
# The C core with the C library musl, as on Alpine: x86-64 runs here, aarch64 under qemu (`pip install ziglang`; qemu-user).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
"$python" -c 'import ziglang' 2> /dev/null || { echo "skipped: $python has no ziglang"; exit 77; }
bash "$here/install.sh" qemu-aarch64 -- qemu-user
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
for machine in "${@:-x86_64}" $([ $# -gt 0 ] || echo aarch64); do
    echo "$machine-linux-musl:"
    run=$([ "$machine" = "$(uname -m)" ] || echo "qemu-$machine")
    CC="$python -m ziglang cc -target $machine-linux-musl" RUN=$run FASTKD_C_BUILD=$build/$machine bash "$here/../c/run.sh" shipped
done
