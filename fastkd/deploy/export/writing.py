"""Files that appear whole, all of them or none."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_all(files: dict[Path, bytes]) -> None:
    """Write each beside its target first, then rename them all; after an error all is as before."""
    mark = secrets.token_hex(6)
    beside = {path: path.with_name(f".{path.name}.{mark}.tmp") for path in files}
    before: dict[Path, bytes | None] = {}
    try:
        for path, data in files.items():
            with open(beside[path], "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in beside.items():
            before[path] = path.read_bytes() if path.exists() else None
            os.replace(temporary, path)
    except BaseException:
        for temporary in beside.values():
            temporary.unlink(missing_ok=True)
        for path, data_before in before.items():
            if data_before is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(data_before)
        raise
