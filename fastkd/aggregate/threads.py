"""Work shared out among threads: pieces are taken in turn by the caller and its helpers, who wait between calls."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastkd.aggregate.read import as_count

__all__ = ["as_workers", "share", "share_columns"]

FROM = 1 << 20  # numbers, a third of a millisecond of work: fewer are over before a helper has woken
LEAST = 2048  # columns a piece
PIECES = 8  # a worker, so that a late helper leaves no long wait


def as_workers(value: Any) -> int:
    """Threads to share the work; -1 is one a core."""
    n = as_count(value, "workers", -1)
    if n == 0:
        raise ValueError("workers must be >= 1, or -1 for all cores; got 0")
    return os.cpu_count() or 1 if n == -1 else n


@functools.lru_cache(maxsize=4)
def _helpers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="fastkd")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_helpers.cache_clear)


def share(pieces: int, workers: int, work: Callable[[int], None]) -> None:
    """work(0) .. work(pieces - 1), each once, by the caller and workers - 1 helpers."""
    count = min(workers, pieces) - 1
    if count < 1:
        for k in range(pieces):
            work(k)
        return
    rest, lock = iter(range(pieces)), threading.Lock()

    def take() -> None:
        while True:
            with lock:
                k = next(rest, None)
            if k is None:
                return
            work(k)

    futures = [_helpers(count).submit(take) for _ in range(count)]
    try:
        take()
    finally:
        with lock:  # after an error nothing more is begun
            for _ in rest:
                pass
    for future in futures:
        if not future.cancel():  # one that did not get round to it
            future.result()


def share_columns(n: int, d: int, workers: int, work: Callable[[int, int], None]) -> None:
    """work(c0, c1) over all columns of n rows."""
    if workers == 1 or n * d < FROM:
        work(0, d)
        return
    width = max(LEAST, -(-d // (PIECES * workers) // 64) * 64 + 64)
    share(-(-d // width), workers, lambda k: work(k * width, min((k + 1) * width, d)))
