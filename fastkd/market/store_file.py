"""The file of a candle store: its tables, its blocks of candles, and how it is opened."""

from __future__ import annotations

import os
import sqlite3

import numpy as np

from fastkd.market.bybit_messages import Table
from fastkd.market.errors import CandleError

__all__ = ["BLOCK", "BYTES", "connect", "from_blob", "to_blob"]

BLOCK = 512  # candles of a block; reading is as fast with more, but each new candle rewrites its block
BYTES = 7 * 8  # of one candle
APPLICATION_ID = 0x666B6463  # "fkdc"
VERSION = 1
SCHEMA = """
CREATE TABLE series (
    series INTEGER PRIMARY KEY,
    category TEXT NOT NULL,
    symbol TEXT NOT NULL,
    interval TEXT NOT NULL,
    asked_from INTEGER,  -- all between this time and the first candle was asked for, so it was before the listing
    UNIQUE (category, symbol, interval)
);
CREATE TABLE blocks (
    series INTEGER NOT NULL REFERENCES series,
    block INTEGER NOT NULL,  -- candle number // 512
    data BLOB NOT NULL,      -- the seven columns of its candles one after the other, little-endian float64
    PRIMARY KEY (series, block)
) WITHOUT ROWID;
"""


def to_blob(table: Table) -> bytes:
    return table.astype("<f8", copy=False).tobytes()


def from_blob(blob: bytes) -> Table:
    if len(blob) == 0 or len(blob) % 56:
        raise CandleError(f"the store is damaged: a block has {len(blob)} bytes, no whole candles; fetch it again")
    return np.frombuffer(blob, dtype="<f8").reshape(7, -1)


def connect(path: str) -> sqlite3.Connection:
    """Open a store, and make its tables if the file is new."""
    if not os.path.isdir(os.path.dirname(path)):
        raise CandleError(f"{path}: there is no such folder")
    try:
        # Without Python's own transactions: each one is opened and closed explicitly.
        database = sqlite3.connect(path, timeout=60.0, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise CandleError(f"{path}: {error}") from None
    try:
        _prepare(database, path)
    except sqlite3.DatabaseError as error:
        database.close()
        raise CandleError(f"{path}: not a candle store ({error})") from None
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: str) -> None:
    if _identity(database) != (APPLICATION_ID, VERSION):
        database.execute("BEGIN IMMEDIATE")  # another process may be making the tables
        try:
            identity = _identity(database)
            if identity == (0, 0) and not database.execute("SELECT 1 FROM sqlite_schema").fetchone():
                for statement in SCHEMA.split(";\n")[:-1]:
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {VERSION}")
            elif identity != (APPLICATION_ID, VERSION):
                ours = identity[0] == APPLICATION_ID
                what = (
                    f"of version {identity[1]}; this program reads version {VERSION}" if ours else "of another program"
                )
                raise CandleError(f"{path}: a database {what}")
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
    database.execute("PRAGMA journal_mode = WAL")  # readers and a writer do not wait for each other
    database.execute("PRAGMA synchronous = FULL")  # a commit is on disk when it returns


def _identity(database: sqlite3.Connection) -> tuple[int, int]:
    names = ("application_id", "user_version")
    found = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    return found[0], found[1]
