"""The least time that work can take on this machine: its bytes over the bandwidth, its operations over the peak.

Bandwidth is that of one thread reading an array much larger than the caches; the peak that of a matrix product, where a
fused multiply-add is two operations. Another vector operation (subtract, minimum, maximum) takes its slot: two, too.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np


def _best(call: Callable[[], object], rounds: int = 7) -> float:
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


@functools.cache
def bandwidth() -> float:
    """Bytes a second from memory."""
    x = np.ones(1 << 26, np.float32)
    return x.nbytes / _best(x.max)


@functools.cache
def peak(itemsize: int) -> float:
    """Operations a second on float32 or float64."""
    n = 1024
    a = np.ones((n, n), np.float32 if itemsize == 4 else np.float64)
    return 2 * n**3 / _best(lambda: a @ a)


def least_seconds(n_bytes: float, operations: float, itemsize: int) -> float:
    return max(n_bytes / bandwidth(), operations / peak(itemsize))
