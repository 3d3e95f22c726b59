"""`condense`: many rows into few, by any of the methods."""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fastkd._check import as_float, as_positive, as_rng
from fastkd.condense import feature_matching, gradient_matching, kip, trajectory_matching, unrolled
from fastkd.condense.centroids import k_means
from fastkd.condense.condensed import Condensed
from fastkd.condense.coresets import herding, k_center
from fastkd.condense.course import Checkpoint, Course
from fastkd.condense.kmedoids import k_medoids
from fastkd.condense.linear_sketch import linear_sketch
from fastkd.condense.networks import Net, read_net
from fastkd.condense.rows import Rows, is_stream, open_rows
from fastkd.condense.start import as_whole, check_teacher, joint_centroids, soft_labels, stamp_of

LEARNT: dict[str, tuple[Callable[..., Any], tuple[float, ...]]] = {
    "gradient_matching": (gradient_matching.gradient_matching, gradient_matching.LEARNING_RATES),
    "distribution_matching": (feature_matching.distribution_matching, feature_matching.LEARNING_RATES),
    "trajectory_matching": (trajectory_matching.trajectory_matching, trajectory_matching.LEARNING_RATES),
    "kip": (kip.kip, kip.LEARNING_RATES),
    "unrolled": (unrolled.unrolled, unrolled.LEARNING_RATES),
    "feature_alignment": (feature_matching.feature_alignment, feature_matching.LEARNING_RATES),
}
CHOSEN = ("centroids", "kmedoids", "herding", "kcenter", "random")
METHODS = (*LEARNT, "linear_sketch", *CHOSEN)
MEDOID_ROWS = 3000  # of a class; a sweep over n rows takes n^2 distances
SEARCH_SHARE = 5  # a trial of a learning rate takes this part of the iterations


def condense(
    X: Any,
    y: Any = None,
    *,
    method: str = "gradient_matching",
    per_class: int = 10,
    model: Any = None,
    random_state: Any = None,
    learning_rate: float | None = None,
    iterations: int | None = None,
    tol: float | None = None,
    teacher: Any = None,
    class_weights: str | None = None,
    progress: Callable[[int, int, float], None] | bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    workers: int = 1,
    pool: int = 20_000,
    **options: Any,
) -> Condensed:
    """Condense a data set to `per_class` rows of each class.

    Always compare with centroids, k-medoids and random rows of the same number (`evaluate`): on feature rows they
    often win.

    Parameters
    ----------
    X : (n, n_features) array or memory map, or a stream
        Standardized features. An array is read in batches where it is. A stream is an iterator of (X, y) blocks, or
        a function that returns one (`parquet_blocks`, `frame_blocks`); of it at most `pool` random rows of each
        class stay in memory.
    y : (n,) labels, or (n,) or (n, k) real values
        Floats that are not all whole numbers make it a regression: then `per_class` is the number of all rows.
    method : str
        "gradient_matching", "distribution_matching", "trajectory_matching", "kip", "unrolled", "feature_alignment":
        rows learnt by gradient descent; see their modules for `options`. "linear_sketch": the d + k rows with
        exactly the least-squares gradients of X and y as they are, no intercept added; `per_class` and `model` are
        not used. "centroids" (k-means), "kmedoids", "herding", "kcenter", "random".
    per_class : int
        Rows a class.
    model : str, tuple, MLPClassifier, MLPRegressor or None
        The network inside: "softmax", "linear" or "ridge" (squared loss), "mlp" (one hidden layer of 64, the
        default; feature alignment has two), widths of hidden layers, or an estimator whose layers and activation to
        take.
    random_state : int, Generator or None
    learning_rate : float, optional
        Of the rows. By default several are tried for a fifth of the iterations; the best at training a network goes
        on.
    iterations : int, optional
        This one, `learning_rate`, `tol` and `checkpoint` are for methods that learn the rows.
    tol : float, optional
        Stop when the mean loss has not fallen by this share in five stretches of iterations.
    teacher : object with predict_proba, optional
        Its probabilities for the condensed rows become their soft labels.
    class_weights : {"prior"}, optional
        Give `sample_weight`s that restore the class shares of the data.
    progress : callable or bool, optional
        Called with (iteration, iterations, loss); True prints a line to standard error.
    checkpoint : path, optional
        Saved every few seconds, after each trial of a learning rate, on Ctrl-C and at the end; if it is there, the same
        call goes on from it, with the same result as without a stop. Only `iterations` and `tol` may differ. Needs
        `random_state`.
    workers : int
        Threads for the trials of learning rates; -1 for one a core. The result does not depend on it.
    pool : int
        Rows a class that stay of a stream, and that centroids, herding and k-center look at; k-medoids look at 3000
        of them at most. At least `per_class`.

    Returns
    -------
    Condensed
        After Ctrl-C the best so far, with info["interrupted"] = True. If no step was finite, the rows it began with,
        with info["diverged"] = True and a RuntimeWarning.

    Raises
    ------
    ValueError
        For bad options, NaN or infinity, one class only, or fewer rows of a class than asked for.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = X @ [1.0, 2.0, 3.0] + 0.1
    >>> small = condense(X, y, method="linear_sketch")
    >>> small.X.shape
    (4, 3)
    >>> np.allclose(np.linalg.lstsq(small.X, small.y)[0], np.linalg.lstsq(X, y)[0])
    True
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    per_class = as_whole(per_class, "per_class")
    if class_weights not in (None, "prior"):
        raise ValueError(f"class_weights must be None or 'prior'; got {class_weights!r}")
    if workers != -1:
        workers = as_whole(workers, "workers (-1 for one a core)")
    if method in LEARNT:
        iterations = None if iterations is None else as_whole(iterations, "iterations")
        if tol is not None and not 0 <= as_float(tol, "tol") < np.inf:
            raise ValueError(f"tol must be finite and >= 0; got {tol!r}")
        if checkpoint is not None and random_state is None:
            raise ValueError("a checkpoint needs random_state, a whole number: without it no call is the same again")
    else:
        given = {"checkpoint": checkpoint, "learning_rate": learning_rate, "iterations": iterations, "tol": tol}
        _no_options(method, {name: value for name, value in given.items() if value is not None})
    if method == "linear_sketch" and teacher is not None:
        raise ValueError("linear_sketch gives combinations of rows with their values: a teacher cannot label them")
    began = time.perf_counter()
    rng = as_rng(random_state)
    if method == "linear_sketch":
        _no_options(method, options)
        rows_, values, seen = linear_sketch(X, y)
        info = {"method": method, "rows_seen": seen, "seconds": time.perf_counter() - began}
        return Condensed(rows_, values, {"loss": []}, info=info)
    if as_whole(pool, "pool") < per_class:
        raise ValueError(f"pool={pool} rows a class are fewer than per_class={per_class}: give a larger pool")
    rows = open_rows(X, y, pool=pool, rng=rng)
    if teacher is not None:
        check_teacher(teacher, rows)
    _enough(rows, per_class)
    if method in LEARNT:
        result = _learn(
            rows,
            method,
            per_class,
            model,
            rng,
            learning_rate,
            iterations,
            tol,
            _printer(progress, method),
            checkpoint,
            workers,
            options,
        )
    else:
        _no_options(method, options)
        result = _choose(rows, method, per_class, rng, pool)
    result.info |= {
        "method": method,
        "per_class": per_class,
        "rows_seen": int(rows.counts.sum()),
        "stream": is_stream(X),
        "seconds": time.perf_counter() - began,
    }
    if class_weights == "prior" and rows.classes is not None:
        share = rows.counts / rows.counts.sum() * len(rows.counts)
        result.sample_weight = np.repeat(share, per_class).astype(rows.dtype)
    return result if teacher is None else result.with_teacher(teacher)


def _choose(rows: Rows, method: str, per_class: int, rng: np.random.Generator, pool: int) -> Condensed:
    """Centroids, or real rows."""
    if rows.classes is None and method == "centroids":
        return Condensed(*_shaped(rows, *joint_centroids(rows, per_class, rng)), {"loss": []})
    parts, labels = [], []
    for g in range(len(rows.index)):
        most = {"random": per_class, "kmedoids": max(per_class, min(pool, MEDOID_ROWS))}.get(method, pool)
        index = np.sort(rows.pick(g, most, rng))
        X, y = rows.take(index)
        if method == "centroids":
            parts.append(k_means(X, per_class, rng))
            labels.append(np.full(per_class, g, np.int32))
            continue
        chosen = np.arange(per_class)
        if method == "kmedoids":
            chosen = k_medoids(X, per_class, rng)
        elif method != "random":
            chosen = (herding if method == "herding" else k_center)(X, per_class)
        parts.append(X[chosen])
        labels.append(y[chosen])
    return Condensed(*_shaped(rows, np.concatenate(parts), np.concatenate(labels)), {"loss": []})


def _learn(rows, method, per_class, model, rng, rate, iterations, tol, progress, checkpoint, workers, options):
    prepare, rates = LEARNT[method]
    rate = None if rate is None else as_positive(rate, "learning_rate")
    known = [
        p
        for p in inspect.signature(prepare).parameters
        if p not in ("rows", "net", "per_class", "rng", "learning_rate")
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"{method} has no option {unknown[0]!r}; it has {', '.join(known)}")
    if method == "trajectory_matching" and rate is None and options.get("trajectories") is None:
        with tempfile.TemporaryDirectory(prefix="fastkd-experts-", ignore_cleanup_errors=True) as folder:
            shared = options | {"trajectories": os.path.join(folder, "experts.npy")}  # one training for all rates
            result = _learn(
                rows, method, per_class, model, rng, rate, iterations, tol, progress, checkpoint, workers, shared
            )
            result.info["options"] = options
            return result
    hidden = (64, 64) if method == "feature_alignment" else (64,)
    net = read_net(model, rows.n_features, rows.n_outputs, rows.classes is None, rows.dtype, hidden)
    seed = int(rng.integers(2**62))
    history: dict[str, Any] = {}
    kept = None
    if checkpoint is not None:
        kept = Checkpoint.open(checkpoint, stamp_of(rows, net, method, per_class, rate, seed, options))

    def run(rate: float, length: int | None, **course: Any) -> tuple[Any, Course]:
        random = np.random.default_rng(seed)
        state, step, usual = prepare(rows, net, per_class, random, learning_rate=rate, **options)
        way = Course(length or iterations or usual, **course)
        return way.run(state, step, random), way

    way = None
    if rate is None and kept is not None and kept.rate is not None:
        rate, history["search"] = kept.rate, kept.search
    elif rate is None and len(rates) > 1:
        usual = prepare(rows, net, per_class, np.random.default_rng(seed), learning_rate=rates[0], **options)[2]
        length = max(1, (iterations or usual) // SEARCH_SHARE)
        rate, history["search"], way, state = _search(run, rows, net, rates, seed, workers, length, per_class, kept)
    if way is None or not way.interrupted:
        rate = rates[0] if rate is None else rate
        if kept is not None:
            kept.rate, kept.search = rate, history.get("search", {})
        state, way = run(rate, None, progress=progress, checkpoint=kept, tol=tol)
    history |= {"loss": way.losses, "learning_rate": rate}
    info = {
        "interrupted": way.interrupted,
        "converged": way.converged,
        "diverged": way.diverged,
        "iterations": len(way.losses),
        "options": options,
    }
    if way.diverged:
        warnings.warn(
            f"{method}: not one step was finite, and the rows are those it began with; standardize X, or give a "
            f"smaller learning_rate than {rate:g}",
            RuntimeWarning,
            stacklevel=3,
        )
    return _finish(rows, per_class, state, history, info)


def _search(run, rows, net, rates, seed, workers, length, per_class, kept):
    """The learning rate whose rows best train a network after some iterations; all scores; its course and state.

    An interrupt, in any thread, ends all trials; those scored by then count.
    """
    X, y = rows.sample(2000, np.random.default_rng(seed + 1))
    stop, lock = threading.Event(), threading.Lock()
    ran: dict[float, tuple[Any, Course]] = {}
    scores: dict[float, float] = {}
    if kept is not None:
        kept.restore_trials(length, ran, scores)

    def trial(rate: float) -> None:
        if stop.is_set() or rate in scores:
            return
        state, way = ran[rate] = run(rate, length, stop=stop)
        if way.interrupted:
            stop.set()
        small = _finish(rows, per_class, state, {}, {})
        scores[rate] = proxy_score(rows, net, small, X, y, np.random.default_rng(seed + 2))
        if kept is not None and not way.interrupted:
            with lock:
                kept.save_trials(length, ran, scores)

    try:
        if workers == 1:
            for rate in rates:
                trial(rate)
        else:
            with ThreadPoolExecutor(os.cpu_count() if workers == -1 else workers) as threads:
                try:
                    list(threads.map(trial, rates))
                except KeyboardInterrupt:
                    stop.set()  # now, as leaving the block waits for the threads
                    raise
    except KeyboardInterrupt:
        stop.set()
        if not ran:  # not a step yet
            raise
    scored = {f"{rate:g}": scores[rate] for rate in rates if rate in scores}
    best = max((r for r in rates if r in ran), key=lambda r: scores.get(r, -np.inf))
    state, way = ran[best]
    way.interrupted = stop.is_set()
    return best, scored, way, state


def proxy_score(
    rows: Rows, net: Net, small: Condensed, X: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> float:
    """How networks trained on the condensed rows do on real ones: balanced accuracy, or minus the squared error."""
    target = small.soft_labels
    if target is None:
        target = (
            np.searchsorted(rows.classes, small.y) if rows.classes is not None else small.y.reshape(len(small.X), -1)
        )
    outputs = [net.kernel.forward(net.train(small.X, target, rng), X) for _ in range(3)]
    if rows.classes is None:
        return -float(np.mean([((f - y) ** 2).mean() for f in outputs]))
    right = np.mean([f.argmax(axis=1) == y for f in outputs], axis=0)
    return float(np.mean([right[y == c].mean() for c in range(len(rows.classes)) if (y == c).any()]))


def _finish(rows: Rows, per_class: int, state, history, info) -> Condensed:
    X = state["X"].astype(rows.dtype)
    soft = None
    y: np.ndarray
    if rows.classes is not None:
        y = np.repeat(np.arange(len(rows.classes)), per_class)
        if "Y" in state:
            soft = soft_labels(state["Y"]).astype(rows.dtype)
        elif "T" in state and info.get("options", {}).get("learn_labels"):
            soft = soft_labels(state["T"] * 10).astype(rows.dtype)
            history["kernel_labels"] = state["T"].tolist()
    else:
        y = next(state[k] for k in ("Y", "T", "y") if k in state)
    return Condensed(*_shaped(rows, X, y), history, soft, info=info)


def _shaped(rows: Rows, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as the caller wrote them; values (n,) if there is one a row."""
    if rows.classes is not None:
        return X, rows.classes[y]
    return X, y[:, 0] if y.shape[1] == 1 else y


def _enough(rows: Rows, per_class: int) -> None:
    for g, index in enumerate(rows.index):
        if len(index) < per_class:
            name = "the data have" if rows.classes is None else f"class {rows.classes[g]} has"
            raise ValueError(f"{name} {len(index)} rows, fewer than per_class={per_class}: ask for at most that many")


def _no_options(method: str, options: dict[str, Any]) -> None:
    if options:
        raise ValueError(f"{method} has no option {next(iter(options))!r}")


def _printer(progress: Any, method: str) -> Callable[[int, int, float], None] | None:
    if not isinstance(progress, bool):
        return progress
    if not progress:
        return None

    terminal = sys.stderr.isatty()

    def line(done: int, total: int, loss: float) -> None:
        text = f"{method} {done}/{total}  loss {loss:.5g}"
        if terminal and (done == total or done % max(1, total // 200) == 0):
            print(f"\r\x1b[K{text}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif not terminal and 10 * done // total > 10 * (done - 1) // total:
            print(text, file=sys.stderr, flush=True)

    return line
