"""Files that a command is going to write, checked before any long work: writable, and nobody's input."""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["check_folder", "check_output", "check_outputs", "check_plot", "need"]


def check_output(path: Path) -> None:
    """Raise the error that writing `path`, or what a link there leads to, would raise."""
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file, such as one in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {target.parent}")
    if target.exists():
        if not os.access(target, os.W_OK):
            raise PermissionError(f"cannot write {path}: it is write-protected")
        if not target.is_file():  # a device, such as that of a terminal
            return
    trial = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        trial.touch()
    except OSError as error:
        raise PermissionError(f"cannot write {path}: {error.strerror}") from None
    finally:
        trial.unlink(missing_ok=True)


def check_outputs(outputs: Mapping[str, Path | None], inputs: Mapping[str, Iterable[Path | None]]) -> None:
    """Each output can be written, and is neither an input nor another output.

    `outputs` are by flag, `inputs` by what they hold ("the candles"); None stands for what was not given.
    """
    seen: list[tuple[str, Path]] = []
    for flag, path in outputs.items():
        if path is None:
            continue
        check_output(path)
        for what, files in inputs.items():
            if any(file is not None and _same(path, file) for file in files):
                raise ValueError(f"{flag} {path} would overwrite {what}; name another file")
        for other, there in seen:
            if _same(path, there):
                raise ValueError(f"{flag} {path} would overwrite what {other} writes; name another file")
        seen.append((flag, path))


def check_folder(path: Path) -> None:
    """Files can be written in this folder, or it can be made."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(f"cannot write into {path}: {there} is a file, not a folder")
    check_output(there / "file")


def check_plot(path: Path | None) -> None:
    """Matplotlib is there and knows the kind of file."""
    if path is None:
        return
    need("matplotlib")
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = sorted(FigureCanvasBase.filetypes)
    if path.suffix.lower().lstrip(".") not in kinds:
        raise ValueError(f"--plot must end in one of .{', .'.join(kinds)}; got {path}")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.resolve() == other.resolve() or one.samefile(other)
    except OSError:  # one of them is not there
        return False


def need(*modules: str) -> None:
    """Raise the error that names the extra, if one of its modules is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise OSError(f"this command needs {' and '.join(missing)}: pip install 'fastkd[cli]'")
