"""Robust aggregation of n updates of d parameters: fastkd and its peers.

Peers get their inputs in the layout they like, made before the clock starts. Every result is compared with a float64
oracle; Krum also in how often it chooses another client than the oracle when updates lie close together far from 0.
Run: ``python -m bench.aggregate --json PATH [--quick]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import common
from bench.common import Contender, optional

SHAPES = [(10, 1000), (32, 10_000), (50, 100_000), (100, 1_000_000)]
TILE = 2048
RULES = ("mean", "median", "trimmed mean", "krum", "multi-krum", "bulyan", "geometric median")


def data(n: int, d: int, dtype: Any) -> np.ndarray:
    return np.random.default_rng(n + d).standard_normal((n, d)).astype(dtype)


# ---------------------------------------------------------------------------------------------- NumPy


def by_tiles(X: np.ndarray, lo: int, hi: int) -> np.ndarray:
    """Mean of ranks lo .. hi - 1, sorted in tiles that stay in cache: faster than one np.sort of all."""
    out = np.empty(X.shape[1], X.dtype)
    for c in range(0, X.shape[1], TILE):
        out[c : c + TILE] = np.sort(X[:, c : c + TILE], axis=0)[lo:hi].mean(axis=0)
    return out


def gram_distances(X: np.ndarray) -> np.ndarray:
    G = X @ X.T
    q = G.diagonal()
    D = q[:, None] + q - 2 * G
    np.fill_diagonal(D, np.inf)
    return D


def gram_scores(X: np.ndarray, f: int) -> np.ndarray:
    return np.sort(gram_distances(X), axis=1)[:, : len(X) - f - 2].sum(axis=1)


def gram_krum(X: np.ndarray, f: int) -> np.ndarray:
    return X[np.argmin(gram_scores(X, f))].copy()


def gram_multi_krum(X: np.ndarray, f: int) -> np.ndarray:
    return X[np.argsort(gram_scores(X, f))[: len(X) - f - 2]].mean(axis=0)


def numpy_weiszfeld(X: np.ndarray, steps: int = 100) -> np.ndarray:
    y = X.mean(axis=0)
    for _ in range(steps):
        w = 1 / np.maximum(np.linalg.norm(X - y, axis=1), 1e-12)
        y = (w / w.sum()).astype(X.dtype) @ X
    return y


# ----------------------------------------------------------------------------------------- contenders


def contenders(rule: str, X: np.ndarray, f: int) -> list[Contender]:
    n, middle = len(X), ((len(X) - 1) // 2, len(X) // 2 + 1)
    found: list[Contender] = []
    name = rule.replace(" ", "_").replace("-", "_")
    if fk := optional("fastkd.aggregate", name):
        options = {"f": f} if rule in ("trimmed mean", "krum", "multi-krum", "bulyan") else {}
        call: Callable[..., Any] = fk.get(name, **options)
        found.append(Contender("fastkd", call, (X,)))
        found.append(Contender("fastkd, 2 workers", lambda a: call(a, workers=2), (X,)))
    if rule == "mean":
        w = np.full(n, 1 / n, X.dtype)
        found += [
            Contender("numpy w @ X", lambda a: w @ a, (X,)),
            Contender("numpy mean", lambda a: a.mean(axis=0), (X,)),
        ]
    if rule == "median":
        found.append(Contender("numpy median", lambda a: np.median(a, axis=0), (X,)))
        if bn := optional("bottleneck"):
            found.append(Contender("bottleneck nanmedian", lambda a: bn.nanmedian(a, axis=0), (X,)))
    if rule in ("median", "trimmed mean"):
        lo, hi = middle if rule == "median" else (f, n - f)
        found.append(Contender("numpy sort", lambda a: np.sort(a, axis=0)[lo:hi].mean(axis=0), (X,)))
        found.append(Contender("numpy sort, tiles", lambda a: by_tiles(a, lo, hi), (X,)))
    if rule == "trimmed mean" and (stats := optional("scipy.stats")):
        found.append(Contender("scipy trim_mean", lambda a: stats.trim_mean(a, (f + 0.5) / n, axis=0), (X,)))
    if rule == "krum":
        found.append(Contender("numpy Gram", lambda a: gram_krum(a, f), (X,)))
    if rule == "multi-krum":
        found.append(Contender("numpy Gram", lambda a: gram_multi_krum(a, f), (X,)))
    if rule == "geometric median":
        found.append(Contender("numpy, 100 steps", numpy_weiszfeld, (X,)))
    return found


def oracle(rule: str, X: np.ndarray, f: int) -> np.ndarray:
    from fastkd import reference

    n = len(X)
    known: dict[str, Callable[[], np.ndarray]] = {
        "mean": lambda: X.mean(axis=0, dtype=np.float64),
        "median": lambda: reference.median(X),
        "trimmed mean": lambda: reference.trimmed_mean(X, f),
        "krum": lambda: X[reference.krum(X, f)],
        "multi-krum": lambda: reference.multi_krum(X, f, n - f - 2),
        "bulyan": lambda: reference.bulyan(X, f),
        "geometric median": lambda: reference.geometric_median(X, 200),
    }
    return known[rule]()


def wrong_choices(trials: int = 200) -> dict[str, float]:
    """How many of the choices of Krum differ from the oracle's: 20 float32 updates near 30 that differ by 1e-3."""
    from fastkd import aggregate, reference

    wrong = {"fastkd": 0.0, "numpy Gram": 0.0}
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        X = (30 + 1e-3 * rng.standard_normal((20, 100))).astype(np.float32)
        right = reference.krum(X, 6)
        wrong["fastkd"] += int(aggregate.krum(X, 6, return_info=True)[1].selected[0]) != right
        wrong["numpy Gram"] += int(np.argmin(gram_scores(X, 6))) != right
    return wrong


def main() -> None:
    options = common.arguments(__doc__)
    rounds, sample = (3, 1e-3) if options.quick else (15, 2e-2)
    wrong = wrong_choices(20 if options.quick else 200)
    cases = []
    for n, d in SHAPES[:2] if options.quick else SHAPES:
        f = (n - 3) // 4
        for rule in RULES:
            for dtype in (np.float32, np.float64):
                row = f"{rule} ({n}, {d}) {np.dtype(dtype).name}"
                if options.only not in row or (n == 100 and (dtype == np.float64 or rule in RULES[5:])):
                    continue
                X = data(n, d, dtype)
                found, truth = contenders(rule, X, f), oracle(rule, X, f)
                for c in found:
                    c.errors["result"] = float(np.abs(c.call(*c.args) - truth).max())
                    if rule == "krum" and c.name in wrong and dtype == np.float32:
                        c.notes["wrong choices near 30"] = wrong[c.name]
                common.require(found, 1e-5 if dtype == np.float32 else 1e-10)
                common.throughput(found, rounds=rounds, sample_seconds=sample)
                cases.append(common.case("aggregation", row, found))
    common.write("aggregate", options, cases)


if __name__ == "__main__":
    main()
