"""How long one forecast takes: call by call, fastkd and plain NumPy in turn so that both meet the same machine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter_ns
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Microseconds a call, each percentile over `calls` single calls; the clock itself costs about 0.05 of them."""

    what: str
    rows: int
    calls: int
    p50: float
    p99: float
    p999: float


def measure_pair(
    predictor: Callable[..., Any], plain: Callable[..., Any], rows: np.ndarray, *, calls: int = 20_000
) -> tuple[Latency, Latency]:
    """Time `predictor(x, out=out)` and `plain(x)` alternately on the same rows; see `Latency`.

    `rows` is one row (n_features,) or a batch (n, n_features). Garbage collection is off while the clock runs.
    """
    out = np.array(predictor(rows))
    n = 1 if rows.ndim == 1 else len(rows)
    ours, theirs = np.empty(calls), np.empty(calls)
    for _ in range(min(calls, 200)):  # caches, branch predictors and the clock's frequency settle
        predictor(rows, out=out)
        plain(rows)
    enabled = gc.isenabled()
    gc.disable()
    try:
        for i in range(calls):
            start = perf_counter_ns()
            predictor(rows, out=out)
            middle = perf_counter_ns()
            plain(rows)
            end = perf_counter_ns()
            ours[i], theirs[i] = middle - start, end - middle
    finally:
        if enabled:
            gc.enable()
    return _summary("fastkd", n, ours), _summary("NumPy", n, theirs)


def forecast_microseconds(predictor: Any, calls: int = 20_000) -> float:
    """Median time of one forecast of one row, with `out`, in microseconds."""
    row = np.zeros(predictor.n_features, predictor.dtype)
    out = np.empty(predictor.n_outputs, predictor.dtype)
    times = np.empty(calls)
    for i in range(calls):
        start = perf_counter_ns()
        predictor(row, out=out)
        times[i] = perf_counter_ns() - start
    return float(np.median(times)) / 1000.0


def numpy_forward(sizes: Sequence[int], parameters: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The same ReLU network as one would write it in NumPy: probabilities of one row or a batch.

    `parameters` is flat: layer by layer the weights (n_in, n_out) in C order, then the bias (n_out,).
    """
    layers, start = [], 0
    for n_in, n_out in pairwise(sizes):
        block = parameters[start : start + (n_in + 1) * n_out].reshape(n_in + 1, n_out)
        layers.append((np.ascontiguousarray(block[:-1]), block[-1].copy()))
        start += block.size
    if start != parameters.size:
        raise ValueError(f"a network of sizes {tuple(sizes)} has {start} parameters; got {parameters.size}")
    *hidden, (last_weights, last_bias) = layers

    def forward(x: np.ndarray) -> np.ndarray:
        for weights, bias in hidden:
            x = np.maximum(x @ weights + bias, 0.0)
        logits = x @ last_weights + last_bias
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return shifted / shifted.sum(axis=-1, keepdims=True)

    return forward


def _summary(what: str, rows: int, nanoseconds: np.ndarray) -> Latency:
    p50, p99, p999 = np.percentile(nanoseconds, [50, 99, 99.9]) / 1000.0
    return Latency(what, rows, len(nanoseconds), float(p50), float(p99), float(p999))
