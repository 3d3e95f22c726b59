#!/bin/bash
# The C core for x86-64 Windows, compiled three ways at the flags of the wheel, runs under wine with guard pages, all four tables:
#   mingw   gcc for Windows
#   zig     a recent clang with the GNU runtime (`pip install ziglang`; left out where it is not there)
#   msvc    clang in the guise of Microsoft's compiler, as setup.py calls it on Windows; its objects are linked by mingw
# Needs Debian's gcc-mingw-w64-x86-64, clang and wine64. Arguments choose among the three.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
core=$here/../../csrc
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export WINEDEBUG=-all WINEPREFIX=$build/wine RUN=/usr/lib/wine/wine64
bash "$here/install.sh" x86_64-w64-mingw32-gcc clang "$RUN" -- gcc-mingw-w64-x86-64 clang wine64

run() { # NAME COMPILER...: the rest of the settings come from outside
    echo "$1:"
    FASTKD_C_BUILD=$build/$1 CC="${*:2}" bash "$here/../c/run.sh" shipped
}

mingw() { LDFLAGS=-static run mingw x86_64-w64-mingw32-gcc; }

zig() {
    local python=${PYTHON:-python3}
    "$python" -c 'import ziglang' 2> /dev/null || { echo "zig: left out, $python has no ziglang"; return; }
    run zig "$python" -m ziglang cc -target x86_64-windows-gnu
}

# Microsoft's headers cannot be had here, and mingw's refuse its guise: what the core uses of them is declared below.
msvc() {
    local headers=$build/headers objects=$build/objects unit flags
    mkdir -p "$headers" "$objects"
    echo '#include <stddef.h>' | tee "$headers/malloc.h" > "$headers/stdlib.h"
    cat > "$headers/math.h" << 'C'
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
double sqrt(double), fabs(double), fmax(double, double), fmin(double, double), exp(double), log(double), log1p(double);
double tanh(double), erfc(double), pow(double, double);
float sqrtf(float), fabsf(float);
C
    cat > "$headers/string.h" << 'C'
#include <stddef.h>
void *memcpy(void *, const void *, size_t), *memmove(void *, const void *, size_t), *memset(void *, int, size_t);
int strcmp(const char *, const char *);
C
    read -ra flags < "$core/cflags"
    for unit in "$core"/*.c; do
        clang --target=x86_64-pc-windows-msvc -isystem "$headers" "${flags[@]}" -Wall -Wextra -Werror -I "$core" -c "$unit" \
            -o "$objects/$(basename "$unit").o"
    done
    # what Microsoft's runtime has under these names
    echo 'int _fltused; __asm__(".text\n.globl __chkstk\n__chkstk: jmp ___chkstk_ms");' > "$build/runtime.c"
    x86_64-w64-mingw32-gcc -c "$build/runtime.c" -o "$objects/runtime.o"
    FASTKD_C_OBJECTS=$objects LDFLAGS=-static run msvc x86_64-w64-mingw32-gcc
}

for way in "${@:-mingw}" $([ $# -gt 0 ] || echo zig msvc); do "$way"; done
