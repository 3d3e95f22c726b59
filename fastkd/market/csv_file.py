"""Candle columns from and to CSV files, plain or gzip, without pandas."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd._files import write_whole
from fastkd.market.errors import CandleError

__all__ = ["read_columns", "write_columns"]

REQUIRED = ("start_ms", "open", "high", "low", "close", "volume")
OPTIONAL = ("turnover",)


def read_columns(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read the candle columns of a CSV file; columns of other names are ignored.

    Every number becomes the float64 nearest to its text. Line 1 is the header, so candle i stands on line i + 2.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CandleError
        The file is empty, damaged, lacks a column, or holds a line that is not a candle.
    """
    text = _read_text(Path(path)).replace("\r\n", "\n").rstrip("\n")
    header, *lines = text.split("\n")
    names = [name.strip() for name in header.split(",")]
    if not text.strip():
        raise CandleError(f"{path}: the file is empty; expected a header line {','.join(REQUIRED)}")
    for name in REQUIRED + OPTIONAL:
        if names.count(name) > 1 or (name in REQUIRED and name not in names):
            fault = "is missing" if name not in names else "appears twice"
            raise CandleError(f"{path}: line 1: column '{name}' {fault}; the header is {header[:200]!r}")
    if not lines:
        raise CandleError(f"{path}: the file has a header but no candles")
    for line_number, commas in enumerate(map(str.count, lines, repeat(",")), start=2):
        if commas + 1 != len(names):
            raise CandleError(f"{path}: line {line_number}: expected {len(names)} fields, found {commas + 1}")

    wanted = {name: names.index(name) for name in REQUIRED + OPTIONAL if name in names}
    try:
        table = np.loadtxt(lines, delimiter=",", comments=None, usecols=list(wanted.values()), ndmin=2)
    except ValueError:
        raise CandleError(f"{path}: {_find_fault(lines, wanted)}") from None
    columns: dict[str, NDArray[Any]] = {name: table[:, k].copy() for k, name in enumerate(wanted)}
    starts = columns["start_ms"]
    bad = ~(np.abs(starts) < 2**53) | (starts != np.floor(starts))  # below 2^53 a float64 holds every whole number
    if bad.any():
        row = int(np.argmax(bad))
        found = lines[row].split(",")[wanted["start_ms"]][:40]
        message = f"line {row + 2}: column 'start_ms': expected whole milliseconds, found {found!r}"
        raise CandleError(f"{path}: {message}")
    columns["start_ms"] = starts.astype(np.int64)
    return columns


def write_columns(path: str | os.PathLike[str], columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns as CSV, gzip where the name ends in ``.gz``; the old file stays until the new one is complete."""
    path = Path(path)
    texts = [map(repr, values.tolist()) for values in columns.values()]  # repr of a float reads back bit for bit
    body = "\n".join(map(",".join, zip(*texts, strict=True))) + "\n"
    body = body.replace(".0,", ",").replace(".0\n", "\n")  # 9127.0 -> 9127: the same number, a smaller file
    data = f"{','.join(columns)}\n{body}".encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, compresslevel=4, mtime=0)  # no time stamp: equal candles, equal bytes
    write_whole(path, data)


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    try:
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except EOFError:
        raise CandleError(f"{path}: the gzip file is truncated; fetch or copy it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CandleError(f"{path}: not a valid gzip file ({error})") from None
    except UnicodeDecodeError as error:
        hint = "; a gzip file must be named .gz" if data[:2] == b"\x1f\x8b" else ""
        raise CandleError(f"{path}: not a text file: byte {error.start} is not UTF-8{hint}") from None


def _find_fault(lines: list[str], wanted: Mapping[str, int]) -> str:
    """Where the first field stands that is not a number."""
    for line_number, line in enumerate(lines, start=2):
        fields = line.split(",")
        for name, position in wanted.items():
            if not _is_number(fields[position]):
                return f"line {line_number}: column '{name}': expected a number, found {fields[position][:40]!r}"
    return "a line that is not numbers and commas"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text  # Python's float reads 1_000 and other scripts' digits; NumPy does not
