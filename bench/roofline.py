"""The least time that work can take on this machine: its bytes over the bandwidth, its operations over the peak.

Bandwidth is that of one thread reading an array of that size, from whichever cache holds it; the peak that of a matrix
product, where a fused multiply-add is two operations. Another vector operation (subtract, minimum, maximum) takes its
slot: two, too. Both are the best of many tries, but on a machine with other work still too low, and shares too high.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

import numpy as np

from bench.common import Contender


def _best(call: Callable[[], object], seconds: float = 0.3) -> float:
    """The shortest of many calls: the others waited for whatever else the machine does."""
    end = time.perf_counter() + seconds
    best = float("inf")
    while (begin := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - begin)
    return best


@functools.cache
def bandwidth(n_bytes: int) -> float:
    """Bytes a second, read from an array of that size."""
    x = np.ones(n_bytes // 4, np.float32)
    return n_bytes / _best(x.max)


@functools.cache
def peak(itemsize: int) -> float:
    """Operations a second on float32 or float64."""
    n = 768
    a = np.ones((n, n), np.float32 if itemsize == 4 else np.float64)
    return 2 * n**3 / _best(lambda: a @ a)


def least_seconds(n_bytes: int, operations: float, itemsize: int) -> float:
    return max(n_bytes / bandwidth(n_bytes), operations / peak(itemsize))


def note(contenders: Sequence[Contender], least: float) -> None:
    """Beside our own times: the least this machine needs, in us, and the share of it in the shortest time taken."""
    for c in contenders:
        if c.name.startswith("fastkd"):
            c.notes |= {"limit us": 1e6 * least, "share of limit": least / min(c.seconds)}
