#!/bin/bash
# format.sh CLANG_FORMAT [--fix]: the C core is formatted as .clang-format says (the version is there). --fix formats it.
set -euo pipefail
cd "$(dirname "$0")/../csrc"
# Not yet, but for sorting.inc.h, whose lines are tables. Take a file off the list, run --fix, and compare objects.
by_hand=" candles.inc.h dispatch.c distances.inc.h distill.inc.h distill_rows.inc.h exits.inc.h fastkd.h
 fastkd_kernels.h feed.inc.h kernels.inc.h order.inc.h rows.inc.h runs.inc.h sorting.inc.h
 vec.h vmath.inc.h "
files=()
for file in *.[ch]; do
    [[ ${by_hand//$'\n'/ } == *" $file "* ]] || files+=("$file")
done
if [ "${2:-}" = --fix ]; then
    "$1" -i "${files[@]}"
else
    "$1" --dry-run -Werror "${files[@]}"
fi
if grep -nE '^.{121}' "${files[@]}"; then
    echo "lines of more than 120 columns" >&2
    exit 1
fi
