#!/bin/bash
# arm64.sh [PYTEST ARGUMENTS...]: the Python package on aarch64 Linux, in a chroot under qemu; by default the tests of core, aggregate,
# models, features and deploy. The module is cross-compiled at the flags of the wheel; tests take some 20 times as long as on the machine
# itself. Needs root, and a Python 3.11 (PYTHON, as in Debian 12) with numpy, cython and setuptools. FOLDER keeps the chroot for another run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
folder=${FOLDER:-$(mktemp -d)}
root=$folder/root
mkdir -p "$folder"
[ -n "${FOLDER:-}" ] || trap 'rm -rf "$folder"' EXIT
[ "$(id -u)" = 0 ] || { echo "skipped: a chroot needs root"; exit 77; }
[ "$("$python" -c 'import sys; print(*sys.version_info[:2])')" = "3 11" ] || { echo "skipped: $python is not 3.11"; exit 77; }
bash "$here/install.sh" mmdebstrap aarch64-linux-gnu-gcc qemu-aarch64-static -- \
    mmdebstrap gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static

if [ ! -e "$root/usr/bin/python3.11.arm" ]; then
    mmdebstrap --quiet --variant=extract --architectures=arm64 --include=python3,libstdc++6 bookworm "$root" http://deb.debian.org/debian
    cp "$(command -v qemu-aarch64-static)" "$root/qemu"
    # Tests start Python by its name, and the kernel need not know how to run it: under that name lies a program for this machine
    # that runs qemu, which needs no binfmt_misc.
    mv "$root/usr/bin/python3.11" "$root/usr/bin/python3.11.arm"
    cat > "$folder/start.c" << 'C'
#include <stdlib.h>
#include <unistd.h>
int main(int n, char **arguments) {
  char **all = malloc((size_t)(n + 4) * sizeof *all);
  if (!all) return 127;
  all[0] = "/qemu", all[1] = "-0", all[2] = arguments[0], all[3] = "/usr/bin/python3.11.arm";
  for (int i = 1; i <= n; ++i) all[i + 3] = arguments[i];
  execv("/qemu", all);
  return 127;
}
C
    gcc -O1 -static "$folder/start.c" -o "$root/usr/bin/python3.11"
    "$python" -m pip install -q --target "$root/opt/site" --only-binary=:all: --python-version 3.11 --implementation cp \
        --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
        numpy scipy requests urllib3 safetensors scikit-learn pandas polars pytest pytest-xdist hypothesis
fi

tree=$folder/tree
rm -rf "$tree" "$root/opt/site/fastkd" "$root/opt/fastkd"
mkdir -p "$tree" "$root/opt/fastkd" "$root/dev" "$root/proc" "$root/tmp"
(cd "$here/../.." && tar -c --exclude='*.so' csrc fastkd tests docs setup.py pyproject.toml conftest.py README.md) | tar -x -C "$tree"
(cd "$tree" && CC=aarch64-linux-gnu-gcc LDSHARED="aarch64-linux-gnu-gcc -shared" _PYTHON_HOST_PLATFORM=linux-aarch64 \
    "$python" setup.py -q build --build-lib "$folder/lib")
cp -r "$folder/lib/fastkd" "$root/opt/site/"
module=$(echo "$root"/opt/site/fastkd/_core/_native*.so)
mv "$module" "$root/opt/site/fastkd/_core/_native.cpython-311-aarch64-linux-gnu.so"
cp -r "$tree/tests" "$tree/conftest.py" "$tree/pyproject.toml" "$tree/docs" "$tree/README.md" "$root/opt/fastkd/"

mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
trap 'umount "$root/proc" "$root/dev"; [ -n "${FOLDER:-}" ] || rm -rf "$folder"' EXIT
tests=("$@")
[ $# -gt 0 ] || tests=(tests/core tests/aggregate tests/models tests/features tests/deploy)
env -i PATH=/usr/bin:/bin HOME=/tmp PYTHONPATH=/opt/site OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 \
    /usr/sbin/chroot "$root" /usr/bin/python3.11 -c 'import os, sys, fastkd._core.info as i
print(i.build_info()); os.chdir("/opt/fastkd"); os.execv(sys.executable, [sys.executable, "-m", "pytest", "-q", *sys.argv[1:]])' "${tests[@]}"
