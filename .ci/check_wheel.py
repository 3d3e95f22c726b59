"""Fails unless a wheel holds what users need, no sources that they do not, and less than 3 MB."""

import sys
import zipfile
from pathlib import Path

LIMIT = 3_000_000
HEADERS = ("fastkd.h", "fastkd_kernels.h", "fastkd_core.pxd", "candles.inc.h", "feed.inc.h")  # the last two: export_c
NEEDED = ("fastkd/__init__.py", "fastkd/py.typed", *(f"fastkd/include/{name}" for name in HEADERS))
UNWANTED = (".pyx", ".pxi", ".c", ".inc.h", ".pyc")


def main(path: Path) -> None:
    names = zipfile.ZipFile(path).namelist()
    faults = [f"{name} is missing" for name in NEEDED if name not in names]
    faults += [f"{name} should not be in it" for name in names if name.endswith(UNWANTED) and name not in NEEDED]
    faults += [f"{name} lies outside the package" for name in names if name.split("/")[0].split("-")[0] != "fastkd"]
    if not any(name.startswith("fastkd/_core/_native") for name in names):
        faults.append("the compiled module is missing")
    if path.stat().st_size >= LIMIT:
        faults.append(f"{path.stat().st_size:,} bytes; the limit is {LIMIT:,}")
    if faults:
        sys.exit(f"{path.name}: " + "; ".join(faults))
    print(f"{path.name}: {len(names)} files, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
