"""What a node remembers from one message to the next: named tensors, in files or in the memory of the SuperNode."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from fastkd._io import write_whole

__all__ = ["Memory"]

RECORD = "fastkd"


class Memory:
    """Tables of arrays by name. Files are written whole or not at all."""

    def __init__(self, state: RecordDict, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        elif RECORD not in state:
            state[RECORD] = ConfigRecord()
        self._state = state

    def names(self) -> list[str]:
        """Of all tables."""
        if self.folder is None:
            return sorted(str(name) for name in self._state[RECORD])
        return sorted(path.stem for path in self.folder.glob("*.safetensors"))

    def get(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of a table; None if there is none."""
        from safetensors.numpy import load

        if self.folder is not None:
            path = self.folder / f"{name}.safetensors"
            return load(path.read_bytes()) if path.exists() else None
        data = self._state[RECORD].get(name)
        return load(data) if isinstance(data, bytes) else None

    def put(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Write a table, in place of the one of that name."""
        from safetensors.numpy import save

        data = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        if self.folder is None:
            self._state[RECORD][name] = data
        else:
            write_whole(os.fspath(self.folder / f"{name}.safetensors"), data)

    def drop(self, name: str) -> None:
        """Forget a table."""
        if self.folder is None:
            del self._state[RECORD][name]
        else:
            (self.folder / f"{name}.safetensors").unlink(missing_ok=True)
