#!/bin/bash
# fuzz.sh PYTHON [SECONDS]: builds the module with AddressSanitizer in a temporary folder and runs tests/fuzz on it. PYTHON has what the
# build and the package need. The script stands in a tree of the sources.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
seconds=${2:-60}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
cp -r csrc fastkd tests setup.py pyproject.toml README.md LICENSE MANIFEST.in "$work/tree"
cd "$work/tree"
rm -f fastkd/_core/_native*.so
compiler=${CC:-cc}
flags="-O1 -g1 -fsanitize=address -fno-omit-frame-pointer"
# gcc compiles the kernels in a quarter of the time with checks as calls and without those for use after scope
if ! $compiler --version | grep -q clang; then
    flags+=" -fno-sanitize-address-use-after-scope --param asan-instrumentation-with-call-threshold=0"
fi
FASTKD_CFLAGS=$flags "$python" setup.py -q build_ext --inplace
library=$($compiler -print-file-name=libasan.so)
# Python itself does not free all it has at its end
LD_PRELOAD=$library ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1 PYTHONMALLOC=malloc PYTHONPATH=$PWD \
    "$python" tests/fuzz --seconds "$seconds" --log "$work/last" ||
    { echo "the last check was: $(cat "$work/last")" >&2; exit 1; }
