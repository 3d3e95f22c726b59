"""Writing files: whole or not at all, through links, and never in place of what is no regular file."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["whole_file", "write_whole"]


def write_whole(path: Any, data: bytes) -> None:
    """Write `data` so that no reader and no crash sees half a file.

    A symbolic link stays one and its target is written; a device or a pipe is written to directly.

    Raises
    ------
    OSError
        The file cannot be written; the error names `path`.
    """
    with whole_file(path) as name, open(name, "wb") as file:
        file.write(data)
        file.flush()
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.fsync(file.fileno())


@contextmanager
def whole_file(path: Any) -> Iterator[str]:
    """The name to write to: of a file beside `path` that takes its place at the end, or of `path` if it is a device."""
    path = os.fspath(path)
    target = os.path.realpath(path)
    try:
        if os.path.exists(target) and not os.path.isfile(target):  # a folder fails when it is opened
            yield target
            return
        part = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{secrets.token_hex(6)}.tmp")
        try:
            yield part
            os.replace(part, target)
        finally:
            if os.path.lexists(part):
                os.remove(part)
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, os.strerror(error.errno), path) from error
