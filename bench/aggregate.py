"""Robust aggregation of n updates of d parameters: fastkd and its peers.

Peers get their inputs in the layout they like, made before the clock starts. Every result is compared with a float64
oracle (as a note, "own definition, off by", where a peer's rule is another one); Krum also in how often it chooses
another client than the oracle when updates lie close together far from 0. "share of roofline" is the least time that
the machine needs (bench/roofline.py) over the time taken.
Run: ``python -m bench.aggregate --json PATH [--quick]``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import common, roofline
from bench.common import Contender, optional

SHAPES = [(10, 1000), (32, 10_000), (50, 100_000), (100, 1_000_000)]
TILE = 2048
COLUMNS = 50_000  # that an oracle takes at a time
WITH_F = ("trimmed mean", "krum", "multi-krum", "bulyan")
BUDGET = 2.0  # seconds a case
RULES = ("mean", "median", "trimmed mean", "krum", "multi-krum", "bulyan", "geometric median")


def data(n: int, d: int, dtype: Any) -> np.ndarray:
    return np.random.default_rng(n + d).standard_normal((n, d)).astype(dtype)


# ---------------------------------------------------------------------------------------------- NumPy


def by_tiles(X: np.ndarray, lo: int, hi: int, transposed: bool = False) -> np.ndarray:
    """Mean of ranks lo .. hi - 1, sorted in tiles that stay in cache: faster than one np.sort of all."""
    out = np.empty(X.shape[1], X.dtype)
    for c in range(0, X.shape[1], TILE):
        tile = X[:, c : c + TILE]
        if transposed:
            out[c : c + TILE] = np.sort(np.ascontiguousarray(tile.T), axis=1)[:, lo:hi].mean(axis=1)
        else:
            out[c : c + TILE] = np.sort(tile, axis=0)[lo:hi].mean(axis=0)
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


def ours(rule: str, X: np.ndarray, f: int) -> list[Contender]:
    name = rule.replace(" ", "_").replace("-", "_")
    fk = optional("fastkd.aggregate", name)
    if fk is None:
        return []
    options = {"f": f} if rule in WITH_F else {}
    if rule == "multi-krum":
        options["m"] = len(X) - f - 2
    call: Callable[..., Any] = fk.get(name, **options)
    out = np.empty(X.shape[1], X.dtype)
    return [
        Contender("fastkd", call, (X,)),
        Contender("fastkd, out=", lambda a: call(a, out=out), (X,)),
        Contender("fastkd, 2 workers", lambda a: call(a, workers=2), (X,)),
    ]


def numpy_routes(rule: str, X: np.ndarray, f: int) -> list[Contender]:
    n = len(X)
    routes: dict[str, Callable[..., Any]] = {}
    if rule == "mean":
        w = np.full(n, 1 / n, X.dtype)
        routes = {"numpy w @ X": lambda a: w @ a, "numpy mean": lambda a: a.mean(axis=0)}
    if rule in ("median", "trimmed mean"):
        lo, hi = ((n - 1) // 2, n // 2 + 1) if rule == "median" else (f, n - f)
        routes["numpy sort"] = lambda a: np.sort(a, axis=0)[lo:hi].mean(axis=0)
        routes["numpy sort, tiles"] = lambda a: by_tiles(a, lo, hi)
        routes["numpy sort, transposed tiles"] = lambda a: by_tiles(a, lo, hi, transposed=True)
    if rule == "median" and n < 100:
        routes["numpy median"] = lambda a: np.median(a, axis=0)
        if bn := optional("bottleneck"):
            routes["bottleneck nanmedian"] = lambda a: bn.nanmedian(a, axis=0)
    if rule == "trimmed mean" and n < 100 and (stats := optional("scipy.stats")):
        routes["scipy trim_mean"] = lambda a: stats.trim_mean(a, (f + 0.5) / n, axis=0)
    if rule == "krum":
        routes["numpy Gram"] = lambda a: gram_krum(a, f)
    if rule == "multi-krum":
        routes["numpy Gram"] = lambda a: gram_multi_krum(a, f)
    if rule == "geometric median":
        routes["numpy, 100 steps"] = numpy_weiszfeld
    return [Contender(name, call, (X,)) for name, call in routes.items()]


def libraries(rule: str, X: np.ndarray, f: int) -> list[Contender]:
    """byzfl on arrays and on tensors, Flower's functions, the package krum on tensors.

    byzfl's Krum(f + 1) sums as many neighbors as ours with f; krum's Bulyan and geometric median are other rules.
    """
    found = krum_package(rule, X, f)
    if byzfl := optional("byzfl"):
        known: dict[str, Callable[[], Any]] = {
            "mean": lambda: byzfl.Average(),
            "median": lambda: byzfl.Median(),
            "trimmed mean": lambda: byzfl.TrMean(f),
            "krum": lambda: byzfl.Krum(f + 1),
            "multi-krum": lambda: byzfl.MultiKrum(f),
            "geometric median": lambda: byzfl.GeometricMedian(),
        }
        large = len(X) == 100  # where some take seconds a call
        if rule in known and not (rule == "median" and large):
            if not (large and rule in ("krum", "multi-krum")):
                found.append(Contender("byzfl", known[rule](), (X,)))
            if X.dtype == np.float32 and (torch := optional("torch")):  # it computes in float32
                found.append(Contender("byzfl, torch", known[rule](), (torch.from_numpy(X),)))
    if (fl := optional("flwr.server.strategy.aggregate")) and len(X) < 100:
        n = len(X)
        calls: dict[str, Callable[..., Any]] = {
            "mean": fl.aggregate,
            "median": fl.aggregate_median,
            "trimmed mean": lambda r: fl.aggregate_trimmed_avg(r, (f + 0.5) / n),
            "krum": lambda r: fl.aggregate_krum(r, f, 0),
            "multi-krum": lambda r: fl.aggregate_krum(r, f, n - f - 2),
        }
        if X.size < 1e6:  # seconds beyond that
            calls["bulyan"] = lambda r: fl.aggregate_bulyan(list(r), f, fl.aggregate_krum, to_keep=0)
        if rule in calls:
            results = [([row], 1) for row in X]
            found.append(Contender("flwr", lambda r: calls[rule](r)[0], (results,)))
    return found


def krum_package(rule: str, X: np.ndarray, f: int) -> list[Contender]:
    n = len(X)
    calls: dict[str, tuple[str, str, dict[str, int]]] = {
        "mean": ("average", "Average", {}),
        "median": ("median", "Median", {}),
        "trimmed mean": ("trimmed_mean", "TrimmedMean", {"f": f}),
        "krum": ("krum", "Krum", {"n": n, "f": f}),
        "multi-krum": ("multikrum", "MultiKrum", {"n": n, "f": f, "m": n - f - 2}),
    }
    torch = optional("torch")
    if torch is None or rule not in calls or (rule == "median" and X.size > 16e6):  # more than torch.quantile takes
        return []
    if optional("krum.primitives.aggregators") is None:
        return []
    module, name, options = calls[rule]
    aggregate = getattr(optional(f"krum.primitives.aggregators.{module}"), name).aggregate
    return [Contender("krum, torch", lambda a: aggregate(a, **options), (torch.from_numpy(X),))]


OWN_DEFINITION = {("multi-krum", "byzfl"), ("geometric median", "byzfl")}


def gram_scores64(X: np.ndarray, f: int) -> np.ndarray:
    """Krum scores in float64; the Gram matrix is safe for updates around 0."""
    G = np.zeros((len(X), len(X)))
    for c in range(0, X.shape[1], COLUMNS):
        part = X[:, c : c + COLUMNS].astype(np.float64)
        G += part @ part.T
    q = G.diagonal()
    D = q[:, None] + q - 2 * G
    np.fill_diagonal(D, np.inf)
    return np.sort(D, axis=1)[:, : len(X) - f - 2].sum(axis=1)


def oracle(rule: str, X: np.ndarray, f: int) -> np.ndarray:
    from fastkd import reference

    def tiled(call: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return np.concatenate([call(X[:, c : c + COLUMNS]) for c in range(0, X.shape[1], COLUMNS)])

    known: dict[str, Callable[[], np.ndarray]] = {
        "mean": lambda: X.mean(axis=0, dtype=np.float64),
        "median": lambda: tiled(reference.median),
        "trimmed mean": lambda: tiled(lambda a: reference.trimmed_mean(a, f)),
        "krum": lambda: X[np.argmin(gram_scores64(X, f))],
        "multi-krum": lambda: X[np.sort(np.argsort(gram_scores64(X, f))[: len(X) - f - 2])].mean(axis=0, dtype=float),
        "bulyan": lambda: reference.bulyan(X, f),
        "geometric median": lambda: numpy_weiszfeld(X.astype(np.float64), 60),
    }
    return known[rule]()


def sorting(n: int) -> int:
    """Comparators that sort n values: the smallest networks known up to 8, Batcher's merges beyond."""
    few = (0, 0, 1, 3, 5, 9, 12, 16, 19)
    if n < len(few):
        return few[n]

    def merging(a: int, b: int) -> int:
        if a * b <= 1:
            return a * b
        return merging(a - a // 2, b - b // 2) + merging(a // 2, b // 2) + (a + b - 1) // 2

    return sorting(n - n // 2) + sorting(n // 2) + merging(n - n // 2, n // 2)


def least_seconds(rule: str, X: np.ndarray, f: int) -> float | None:
    """What the machine needs at least: one reading of the updates; differences or comparisons."""
    n, d = X.shape
    by_pair = 4.0 * (n * (n - 1) / 2) * d  # subtract, multiply and add

    def halves(n: int) -> int:  # the middle of two sorted halves takes 2 n - 2 minima and maxima
        return sorting(n - n // 2) + sorting(n // 2)

    kept = n - 2 * f  # by Bulyan, which then takes the mean around their median
    work = {
        "mean": 2.0 * n * d,
        "median": 2.0 * d * (2 * halves(n) + 2 * n - 2),
        "trimmed mean": 2.0 * d * (2 * halves(n) + 2 * f + n - 2 * f),
        "krum": by_pair,
        "multi-krum": by_pair + 2.0 * n * d,
        "bulyan": by_pair + 2.0 * d * (2 * halves(kept) + 2 * kept - 2 + kept - 2 * f),
        "geometric median": by_pair + 2.0 * n * d,
    }
    if rule not in work:
        return None
    return roofline.least_seconds(X.nbytes, work[rule], X.itemsize)


def difference(result: Any, truth: np.ndarray) -> float:
    """The largest one, on a part of the columns that fits in cache at a time."""
    got = np.asarray(result)
    return max(
        float(np.abs(got[c : c + COLUMNS] - truth[c : c + COLUMNS]).max()) for c in range(0, len(truth), COLUMNS)
    )


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


def measure(rule: str, X: np.ndarray, f: int, quick: bool) -> list[Contender]:
    found, truth = ours(rule, X, f) + numpy_routes(rule, X, f) + libraries(rule, X, f), oracle(rule, X, f)
    once = 0.0
    for c in found:
        begin = time.perf_counter()
        result = c.call(*c.args)
        once += time.perf_counter() - begin
        error = difference(result, truth)
        if (rule, c.name.split(",")[0]) in OWN_DEFINITION:
            c.notes["own definition, off by"] = error
        else:
            c.errors["result"] = error
    common.require(found, 1e-4 if X.dtype == np.float32 else 1e-10)
    rounds = 3 if quick else max(3, min(15, int(BUDGET / once) - 2))
    common.throughput(found, rounds=rounds, sample_seconds=1e-3 if quick else min(2e-2, BUDGET / len(found) / rounds))
    least = least_seconds(rule, X, f)
    for c in found:
        if least is not None:
            c.notes["share of roofline"] = least / float(np.median(c.seconds))
    return found


def main() -> None:
    options = common.arguments(__doc__)
    wrong = wrong_choices(20 if options.quick else 200)
    cases = []
    for n, d in SHAPES[:2] if options.quick else SHAPES:
        f = (n - 3) // 4
        for dtype in (np.float32, np.float64):
            if n == 100 and dtype == np.float64:
                continue
            X = data(n, d, dtype)
            for rule in RULES:
                row = f"{rule} ({n}, {d}) {np.dtype(dtype).name}"
                if options.only not in row or (n == 100 and rule in RULES[5:]):
                    continue
                if dtype == np.float64 and rule not in ("mean", "median", "krum"):
                    continue
                found = measure(rule, X, f, options.quick)
                for c in found:
                    if rule == "krum" and c.name in wrong and dtype == np.float32:
                        c.notes["wrong choices near 30"] = wrong[c.name]
                cases.append(common.case("aggregation", row, found))
    common.write("aggregate", options, cases)


if __name__ == "__main__":
    main()
