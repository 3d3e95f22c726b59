#!/bin/bash
# floors.sh WHEEL FOLDER: installs the wheel with the oldest versions of its dependencies that pyproject.toml allows, and runs tests.
set -euo pipefail
python3 -m venv "$2"
"$2/bin/python" - <<'P' > "$2/oldest.txt"
import tomllib

with open("pyproject.toml", "rb") as file:
    print(*(name.replace(">=", "==") for name in tomllib.load(file)["project"]["dependencies"]), sep="\n")
P
"$2/bin/pip" install -q "$1" -r "$2/oldest.txt" pytest pytest-xdist hypothesis
"$2/bin/pip" list 2> /dev/null | grep -iE '^(numpy|scipy|requests|urllib3|safetensors) '
"$2/bin/pytest" -q -n "$(getconf _NPROCESSORS_ONLN)" tests/core tests/aggregate tests/models/test_predictor.py tests/test_io.py
