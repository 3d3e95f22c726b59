"""Updates that do not fit in memory: they come as blocks of columns, each read when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fastkd._core._native import Rows
from fastkd.aggregate.form import VECTOR
from fastkd.aggregate.read import Tables, read

__all__ = ["Blocks"]

COLUMNS = 1024  # squares are summed over so many at a time: blocks are cut there, so that sums have the same bits


class Blocks(Tables):
    """Tables of n rows and a multiple of `COLUMNS` columns (the last: what is left), walked anew each time.

    `blocks` is a function that returns an iterable of (n, d_i) blocks; any d_i will do.
    """

    def __init__(self, blocks: Callable[[], Iterable[Any]]) -> None:
        if not callable(blocks):
            raise TypeError(
                "blocks must be a function that returns an iterator of (n, d_i) arrays, as rules may walk them twice; "
                f"got {type(blocks).__name__}"
            )
        self.blocks, self.d = blocks, -1
        self.rows: np.ndarray | None = None
        self._ahead: Iterator[Rows] | None = self._read()  # begun to learn n; the first walk goes on with it
        self._first: Rows | None = next(self._ahead)
        self.n, self.single = self._first.n, self._first.single

    def take(self, rows: np.ndarray) -> Blocks:
        """The same of some clients."""
        few = object.__new__(Blocks)
        few.blocks, few.d, few._ahead, few.single = self.blocks, self.d, None, self.single
        few.rows = np.asarray(rows) if self.rows is None else self.rows[rows]
        few.n = len(rows)
        return few

    def __iter__(self) -> Iterator[Rows]:
        ahead, self._ahead = self._ahead, None
        d = 0
        for table in self._cut(self._read() if ahead is None else self._begun(ahead)):
            d += table.d
            yield table if self.rows is None else table.take(self.rows)
        if self.d not in (-1, d):
            raise ValueError(f"blocks gave {self.d} columns at first and {d} later: each walk must give the same")
        self.d = d

    def _begun(self, ahead: Iterator[Rows]) -> Iterator[Rows]:
        first, self._first = self._first, None
        yield first
        yield from ahead

    def _read(self) -> Iterator[Rows]:
        """The blocks as tables, checked to be alike."""
        n, single = None, True
        k = -1
        for k, block in enumerate(self.blocks()):
            try:
                u = read(block)
            except (TypeError, ValueError) as error:
                raise type(error)(f"block {k}: {error}") from None
            table = u.tables[0]
            flat = u.form is VECTOR or (not u.form.several and u.form.shapes is not None and len(u.form.shapes[0]) == 1)
            if isinstance(block, Tables) or not flat:
                raise ValueError(f"block {k} must be an array (n clients, d_i columns) or n vectors")
            if n is None:
                n, single = table.n, table.single
            if (table.n, table.single) != (n, single):
                types = {True: "float32", False: "float64"}
                raise ValueError(
                    f"block {k} has {table.n} clients of {types[table.single]}; block 0 {n} of {types[single]}: "
                    "all must match"
                )
            yield table
        if k < 0:
            raise ValueError("blocks gave no block")

    def _cut(self, tables: Iterator[Rows]) -> Iterator[Rows]:
        """The same columns, cut at multiples of `COLUMNS`: most of them where they lie, those in between copied."""
        carry, have = np.empty((0, 0)), 0
        for table in tables:
            at = 0
            if have:
                at = min(COLUMNS - have, table.d)
                _copy(table, 0, at, carry, have)
                have += at
                if have < COLUMNS:
                    continue
                yield Rows(carry)
            end = at + (table.d - at) // COLUMNS * COLUMNS
            if end > at:
                yield table if end - at == table.d else table.part(at, end)
            have = table.d - end
            if have:
                carry = np.empty((table.n, COLUMNS), table.row(0).dtype)
                _copy(table, end, table.d, carry, 0)
        if have:
            yield Rows(carry[:, :have])


def _copy(table: Rows, c0: int, c1: int, to: np.ndarray, at: int) -> None:
    for i in range(table.n):
        to[i, at : at + c1 - c0] = table.row(i)[c0:c1]
