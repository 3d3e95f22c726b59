#!/bin/bash
# check_objects.sh BUILD: on x86-64, no AVX instruction outside the AVX units (a CPU without AVX runs the rest), and the module exports
# its init function only. BUILD is the folder in which setuptools left object files and the module.
set -euo pipefail
[ "$(uname -m)" = x86_64 ] || exit 0

# The mnemonics of all vector-extension-encoded instructions begin with v; so do verr, verw and the virtual machine's, which are none.
avx() { objdump -d --no-show-raw-insn "$1" | grep -cE '^ +[0-9a-f]+:\s+v[^em]' || true; }

objects=$(find "$1" -name '*.o')
[ "$(wc -l <<< "$objects")" -ge 6 ] || { echo "expected the object files of the core in $1" >&2; exit 1; }
for object in $objects; do
    count=$(avx "$object")
    case $(basename "$object") in
        isa_avx2.o | isa_avx512.o) [ "$count" -gt 1000 ] || { echo "$object: only $count AVX instructions" >&2; exit 1; } ;;
        *) [ "$count" -eq 0 ] || { echo "$object: $count AVX instructions" >&2; exit 1; } ;;
    esac
done

module=$(find "$1" -name '_native*.so')
exported=$(nm -D --defined-only "$module" | awk '{ print $3 }')
[ "$exported" = PyInit__native ] || { echo "$module exports: $exported" >&2; exit 1; }
echo "AVX instructions in the AVX units only; one exported symbol"
