#!/bin/bash
# The C core for macOS, arm64 and x86-64, compiles and links without a warning (`pip install ziglang`); nothing runs it here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
"$python" -c 'import ziglang' 2> /dev/null || { echo "skipped: $python has no ziglang"; exit 77; }
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
for target in aarch64-macos x86_64-macos; do
    CC="$python -m ziglang cc -target $target" FASTKD_C_BUILD=$build/$target bash "$here/../c/run.sh" build
    echo "$target: compiled and linked"
done
