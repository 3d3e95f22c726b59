"""An embedded database of candles: one SQLite file that survives being killed and resumes downloads."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from fastkd.market.bybit_messages import Table, check_category, merge_tables
from fastkd.market.candles import Candle, Candles
from fastkd.market.errors import CandleError
from fastkd.market.grid import Grid, missing_runs
from fastkd.market.report import Gap
from fastkd.market.store_download import Download, Progress, fill
from fastkd.market.store_file import BLOCK, BYTES, connect, from_blob, to_blob
from fastkd.market.times import range_to_ms

if TYPE_CHECKING:
    from fastkd.market.client import BybitClient, Time

__all__ = ["CandleStore", "StoredSeries"]

KEY = "category = ? AND symbol = ? AND interval = ?"


class StoredSeries(NamedTuple):
    """What a store holds of one market: open times of the first and the last candle, and their number."""

    category: str
    symbol: str
    interval: str
    first_ms: int
    last_ms: int
    n_candles: int


class CandleStore:
    """Candles in one SQLite file, keyed by category, symbol, interval and start.

    Writing is idempotent: of two candles with the same start the one written later stays. Any number of threads and
    processes may read while one writes; further writers wait for their turn.

    Parameters
    ----------
    path : path
        The database file, made if it is not there. Two more files stand beside it while it is in use (``-wal``,
        ``-shm``); the folder must not be a network share.

    Raises
    ------
    CandleError
        The file is no candle store, or one of another version.

    Notes
    -----
    Candles are stored in blocks of up to 512 neighbors, column after column. SQLite and Python would take seconds to
    hand over a million rows; blocks take a tenth of one. A commit is on disk when it returns, so a crash at any
    moment loses what was not committed and nothing else.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastkd.market import synthetic_market
    >>> with CandleStore(os.path.join(tempfile.mkdtemp(), "candles.db")) as store:
    ...     store.write(synthetic_market(1000, random_state=0, symbol="XUSDT"))
    ...     store.read("XUSDT", "5m", "2024-01-02", "2024-01-02T01:00")
    ...     store.gaps("XUSDT", "5m")
    Candles(XUSDT, 5m, 13 rows, 2024-01-02 00:00 .. 2024-01-02 01:00 UTC)
    ()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self._local = threading.local()  # a connection a thread: they read without waiting for each other
        self._connections: list[sqlite3.Connection] = []
        self._writing = threading.Lock()
        self._closed = False
        self._connection()  # a bad file is found here

    def write(self, candles: Candles, category: str = "linear") -> None:
        """Add candles, and replace those with the same start; all in one transaction.

        Raises
        ------
        CandleError
            `candles` have no symbol or interval, or hold impossible, unsorted or duplicate rows; gaps are allowed.
        """
        check_category(category)
        if not candles.symbol or candles.interval is None:
            raise CandleError(f"candles need a symbol and an interval to be stored; got {candles!r}")
        candles.require_clean()
        table = np.stack([getattr(candles, name).astype(np.float64) for name in Candle._fields])
        self.merge(category, candles.symbol, candles.interval, table)

    def read(
        self,
        symbol: str,
        interval: str | int,
        start: Time | None = None,
        end: Time | None = None,
        *,
        category: str = "linear",
    ) -> Candles:
        """Candles whose start lies in [start, end], ascending; without bounds all, and empty if there are none."""
        grid = Grid(interval)
        where, values = "", [check_category(category), symbol, grid.interval]
        low, high = range_to_ms(start, end)
        for bound, comparison in ((low, ">="), (high, "<=")):
            if bound is not None:
                where += f" AND block {comparison} ?"
                values.append(grid.number(bound) // BLOCK)  # type: ignore[arg-type]
        query = f"SELECT data FROM series JOIN blocks USING (series) WHERE {KEY}{where} ORDER BY block"
        tables = [from_blob(blob) for (blob,) in self._connection().execute(query, values)]
        if tables and low is not None:
            tables[0] = tables[0][:, tables[0][0] >= low]
        if tables and high is not None:
            tables[-1] = tables[-1][:, tables[-1][0] <= high]
        table = np.concatenate(tables, axis=1) if tables else np.empty((7, 0))
        return Candles(*table, symbol=symbol, interval=grid.interval)

    def gaps(
        self,
        symbol: str,
        interval: str | int,
        start: Time | None = None,
        end: Time | None = None,
        *,
        category: str = "linear",
    ) -> tuple[Gap, ...]:
        """Holes between the first and the last stored candle of a range."""
        grid = Grid(interval)
        numbers = grid.number(self.read(symbol, interval, start, end, category=category).start_ms)
        runs = missing_runs(numbers, int(numbers[0]), int(numbers[-1])) if len(numbers) else []
        return tuple(Gap(grid.start_ms(first), last - first + 1) for first, last in runs)

    def series(self) -> list[StoredSeries]:
        """Every stored market, in alphabetical order."""
        edge = "(SELECT data FROM blocks b WHERE b.series = s.series ORDER BY block {} LIMIT 1)"
        query = (
            f"SELECT category, symbol, interval, sum(length(data)), {edge.format('ASC')}, {edge.format('DESC')}"
            " FROM series s JOIN blocks USING (series) GROUP BY s.series ORDER BY category, symbol, interval"
        )
        found = []
        for category, symbol, interval, size, first, last in self._connection().execute(query):
            edges = int(from_blob(first)[0, 0]), int(from_blob(last)[0, -1])
            found.append(StoredSeries(category, symbol, interval, *edges, size // BYTES))
        return found

    def download(
        self,
        client: BybitClient,
        symbol: str,
        interval: str | int,
        start: Time | None = None,
        end: Time | None = None,
        category: str = "linear",
        *,
        limit: int = 1000,
        workers: int = 1,
        progress: Callable[[Progress], object] | None = None,
    ) -> Download:
        """Fetch what the store lacks of [start, end], committing page by page; after any stop, call it again.

        Parameters
        ----------
        client : BybitClient
        symbol, interval, start, end, category, limit, workers
            As in `BybitClient.klines`. Without `start` the download goes on from the last stored candle; without
            `end` it goes up to now.
        progress : callable, optional
            Called with a `Progress` after each commit. An exception from it stops the download and loses nothing.

        Returns
        -------
        Download
            ``.received`` and ``.gaps``.

        Notes
        -----
        The last stored candle is fetched again and overwritten, in case it was stored before its last trades. Holes
        are asked for again. The time before the symbol was listed is asked for once.
        """
        check_category(category)
        low, high = range_to_ms(start, end)
        return fill(self, client, symbol, interval, low, high, category, limit, workers, progress)

    def merge(self, category: str, symbol: str, interval: str, table: Table) -> None:
        """Store a table of candles (7, n), ascending, in one transaction."""
        if not table.shape[1]:
            return
        key = (category, symbol, interval)
        blocks, firsts = np.unique(Grid(interval).number(table[0].astype(np.int64)) // BLOCK, return_index=True)
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO series (category, symbol, interval) VALUES (?, ?, ?)", key)
            (series,) = database.execute(f"SELECT series FROM series WHERE {KEY}", key).fetchone()
            for block, part in zip(blocks.tolist(), np.split(table, firsts[1:], axis=1), strict=True):
                where = "WHERE series = ? AND block = ?"
                old = database.execute(f"SELECT data FROM blocks {where}", (series, block)).fetchone()
                merged = part if old is None else merge_tables(from_blob(old[0]), part)
                database.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", (series, block, to_blob(merged)))

    def asked_from(self, category: str, symbol: str, interval: str) -> int | None:
        """The time from which on everything before the first candle was asked for, if any."""
        key = (category, symbol, interval)
        found = self._connection().execute(f"SELECT asked_from FROM series WHERE {KEY}", key).fetchone()
        return found[0] if found else None

    def note_asked_from(self, category: str, symbol: str, interval: str, ms: int) -> None:
        """Remember that everything between a time and the first candle was asked for."""
        with self._transaction() as database:
            query = f"UPDATE series SET asked_from = min(?, ifnull(asked_from, ?)) WHERE {KEY}"
            database.execute(query, (ms, ms, category, symbol, interval))

    def close(self) -> None:
        """Close every connection; other threads must be done with the store."""
        self._closed = True
        while self._connections:
            self._connections.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CandleStore({self.path!r})"

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise ValueError(f"the store {self.path} is closed")
        if not hasattr(self._local, "connection"):
            connection = self._local.connection = connect(self.path)
            self._connections.append(connection)
            weakref.finalize(threading.current_thread(), self._drop, connection)  # threads come and go
        return self._local.connection

    def _drop(self, connection: sqlite3.Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = self._connection()
        with self._writing:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
