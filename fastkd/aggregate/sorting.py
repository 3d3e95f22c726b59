"""How columns of n values are sorted: which runs the kernel sorts at once, and by which comparators it merges them."""

from __future__ import annotations

import functools

from fastkd._core._native import Sorter

__all__ = ["comparators", "sorter"]

RUN = 32  # rows that the kernel sorts without a list of comparators
Pair = tuple[int, int]


@functools.lru_cache(maxsize=64)
def sorter(n: int, lo: int, hi: int, keep: int = 0) -> Sorter:
    """What gives the mean of ranks lo .. hi - 1 of n values, or of the `keep` nearest to their median."""
    if n > 65535:
        raise ValueError(f"order statistics serve at most 65535 clients; got {n}")
    runs, pairs, halves = comparators(n, lo, hi, bool(keep))
    return Sorter(n, runs, [row for pair in pairs for row in pair], halves, lo, hi, keep)


def comparators(n: int, lo: int, hi: int, all_ranks: bool = False) -> tuple[list[int], list[Pair], bool]:
    """(starts of runs, comparators, halves) for ranks lo .. hi - 1 of n rows, as fastkd.h wants them.

    Where two sorted halves do, they are not merged. Of merges no comparator is kept that those ranks do not need.
    """
    halves = not all_ranks and n > 1 and lo + hi == n and (hi - lo <= 2 or 2 * lo <= n // 2)
    runs: list[int] = []
    network: list[Pair] = []
    if halves:
        _sort(0, n - n // 2, runs, network)
        _sort(n - n // 2, n // 2, runs, network)
    else:
        _sort(0, n, runs, network)
        if not all_ranks:
            network = _needed(network, set(range(lo, hi)))
    return runs, network, halves


def _sort(first: int, n: int, runs: list[int], network: list[Pair]) -> None:
    if n <= RUN:
        runs.append(first)
        return
    lower = n - n // 2
    _sort(first, lower, runs, network)
    _sort(first + lower, n - lower, runs, network)
    network += _merge(first, lower, n - lower)


def _merge(first: int, a: int, b: int) -> list[Pair]:
    """Batcher's merge (1968) of sorted rows first .. first + a - 1 with the next b <= a.

    As if both were 2^k rows, with -inf before the first and +inf after the last, which no comparator would move.
    """
    top = 1 << (a - 1).bit_length()
    low, end = top - a, top + b
    network = [(i, i + top) for i in range(top)]
    step = top // 2
    while step:
        network += [(g + i, g + i + step) for g in range(step, 2 * top - step, 2 * step) for i in range(step)]
        step //= 2
    return [(first + i - low, first + j - low) for i, j in network if low <= i and j < end]


def _needed(network: list[Pair], ranks: set[int]) -> list[Pair]:
    """Without the comparators whose results nobody asks for."""
    kept = []
    for i, j in reversed(network):
        if i in ranks or j in ranks:
            ranks.update((i, j))
            kept.append((i, j))
    return kept[::-1]
