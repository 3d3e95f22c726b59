"""Does a condensed set train a model as well as random rows, centroids or medoids of the same number? The verdict."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastkd._check import as_array, as_rng, to_array
from fastkd._parallel import each
from fastkd.condense.condensed import Condensed
from fastkd.condense.condensing import CHOSEN, condense
from fastkd.condense.report import CondenseReport, Trial
from fastkd.models import MLPClassifier, MLPRegressor

BASELINES = ("random", "centroids", "kmedoids")


def evaluate(
    condensed_sets: Any,
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    *,
    model: Any = None,
    seeds: int | Iterable[int] = 5,
    baselines: Iterable[str] = BASELINES,
    confidence: float = 0.95,
    workers: int = 1,
    executor: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> CondenseReport:
    """Train on all data, on each condensed set and on simple sets of the same number of rows; test on real rows.

    Parameters
    ----------
    condensed_sets : Condensed, list of them, or dict name -> Condensed or list of them
        Made from X and y alone. A list in a dict holds one set a seed, drawn with different random states: only then
        do the intervals know how much one draw of a method differs from the next.
    X, y : training data, as `condense` had them
    X_test, y_test : test data
        Later than X in a time series; in time order.
    model : estimator, dict name -> estimator, or None
        Downstream models with fit and predict (`random_state` is set where there is one). By default a perceptron
        with 64 hidden units, and a linear model.
    seeds : int or iterable of ints
        How many, or which. For each, models start anew and the baselines are drawn anew.
    baselines : iterable of {"random", "centroids", "kmedoids", "herding", "kcenter"}
    confidence : float
        Of the intervals: bootstrap over seeds, and over blocks of neighboring test rows.
    workers : int
        Threads for the draws and trials, -1 for one a core; the report does not depend on it.
    executor : concurrent.futures.Executor, optional
        Takes them instead: processes, Dask, Ray, MPI. Models and rows must be picklable.
    progress : callable, optional
        ``progress(done, pieces)`` after each draw of a baseline and each trained model.

    Returns
    -------
    CondenseReport
        With `verdict`, `trials`, `to_dict()`, `plot()` and `plot_rows()`; str() is the text.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.condense import condense, evaluate
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 400)
    >>> X = rng.normal(size=(400, 2)) + 2 * y[:, None]
    >>> small = condense(X[:300], y[:300], method="distribution_matching", per_class=1, iterations=50, random_state=0)
    >>> report = evaluate(small, X[:300], y[:300], X[300:], y[300:], seeds=2)
    >>> sorted({trial.name for trial in report.trials})
    ['centroids', 'distribution_matching', 'full', 'kmedoids', 'random']
    """
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not seeds:
        raise ValueError("evaluate needs at least one seed")
    sets = _named(condensed_sets, len(seeds))
    baselines = list(baselines)
    if not set(baselines) <= set(CHOSEN):
        raise ValueError(f"baselines must be among {', '.join(CHOSEN)}; got {baselines}")
    X, X_test = (as_array(a, "X") for a in (X, X_test))
    y, y_test = (to_array(a, "y") for a in (y, y_test))
    if len(X) != len(y) or len(X_test) != len(y_test) or not len(X_test):
        raise ValueError("X and y, and X_test and y_test, must have as many rows as each other, and at least one")
    for name, draws in sets.items():
        if {small.X.shape[1] for small in draws} != {X.shape[1]}:
            raise ValueError(f"{name} has {draws[0].X.shape[1]} features; X has {X.shape[1]}")
    regression = _is_regression(y)
    if not regression and set(np.unique(y_test).tolist()).isdisjoint(np.unique(y).tolist()):
        raise ValueError(f"no label of y_test is one of y: {np.unique(y_test)[:5].tolist()} ({y_test.dtype})")
    models = _models(model, regression)
    firsts = {name: draws[0] for name, draws in sets.items()}
    weighted = any(small.sample_weight is not None for small in firsts.values())
    options: dict[str, Any] = {"class_weights": "prior"} if weighted else {}  # the same class shares for all
    drawn = _baselines(baselines, firsts, regression)
    whole = Condensed(np.asarray(X), y)
    pieces = len(drawn) * len(seeds) + (1 + len(sets) + len(drawn)) * len(models) * len(seeds)
    begun = 0

    def done(n: int) -> None:
        if progress is not None:
            progress(begun + n, pieces)

    wanted = [(X, y, {"method": m, "per_class": size, "random_state": seed, **options}) for m, size in drawn.values()
             for seed in seeds]  # fmt: skip
    made = each(_draw, wanted, workers=workers, executor=executor, done=done)
    begun = len(wanted)
    every = {"full": [whole] * len(seeds)}
    every |= {name: given * len(seeds) if len(given) == 1 else given for name, given in sets.items()}
    every |= {name: made[k * len(seeds) : (k + 1) * len(seeds)] for k, name in enumerate(drawn)}
    learnt = [*every][: 1 + len(sets)]  # by model first, then the baselines: the order of the report
    order = [(n, label) for label in models for n in learnt] + [(n, label) for n in drawn for label in models]
    jobs = [
        (models[label], small, seed, X_test, y_test, regression)
        for name, label in order
        for seed, small in zip(seeds, every[name])
    ]
    found = each(_train, jobs, workers=workers, executor=executor, done=done)
    trials = [
        _trial(name, label, every[name], found[k * len(seeds) : (k + 1) * len(seeds)], every[name][0] is whole)
        for k, (name, label) in enumerate(order)
    ]
    return CondenseReport(tuple(trials), y_test, regression, confidence, firsts, _some_rows(X, y))


def evaluate_walk_forward(
    methods: Mapping[str, Mapping[str, Any]] | Iterable[str],
    X: Any,
    y: Any,
    *,
    folds: int = 4,
    purge: int = 1,
    embargo: int = 0,
    per_class: int = 10,
    model: Any = None,
    seeds: int = 3,
    baselines: Iterable[str] = BASELINES,
    random_state: Any = None,
    workers: int = 1,
    executor: Any = None,
) -> CondenseReport:
    """Condense each training part of a walk forward, test on the rows after it, and report on all folds together.

    Features are standardized with the mean and deviation of each training part. Every method is drawn once a seed.

    Parameters
    ----------
    methods : names of methods, or dict name -> options of `condense`
    X, y : features and labels in time order
    folds, purge, embargo
        See `fastkd.features.walk_forward`. Labels that look h rows ahead need purge >= h.
    per_class, model, seeds, baselines, workers, executor
        See `condense` and `evaluate`.
    """
    from fastkd.features import Standardizer, walk_forward

    X, y = as_array(X, "X"), to_array(y, "y")
    wanted = dict(methods) if isinstance(methods, Mapping) else {name: {} for name in methods}
    rng = as_rng(random_state)
    reports = []
    for train, test in walk_forward(len(X), folds, purge=purge, embargo=embargo):
        scaler = Standardizer().fit(X[train])
        before, after = scaler.transform(X[train]), scaler.transform(X[test])
        draws = [
            (before, y[train],
             {"method": name, "per_class": per_class, "random_state": int(rng.integers(2**31)), **options})
            for name, options in wanted.items()
            for _ in range(seeds)
        ]  # fmt: skip
        made = each(_draw, draws, workers=workers, executor=executor)
        sets = {name: made[k * seeds : (k + 1) * seeds] for k, name in enumerate(wanted)}
        reports.append(
            evaluate(sets, before, y[train], after, y[test], model=model, seeds=seeds, baselines=baselines,
                     workers=workers, executor=executor)
        )  # fmt: skip
    return CondenseReport.joined(reports)


def _baselines(methods: list[str], firsts: Mapping[str, Condensed], regression: bool) -> dict[str, tuple[str, int]]:
    """Name in the report -> method and size, for each size among the sets; not those that are there already."""
    sizes = sorted({_per_class(small, regression) for small in firsts.values()})
    taken = {(small.info.get("method"), _per_class(small, regression)) for small in firsts.values()}
    named: dict[str, tuple[str, int]] = {}
    for method in methods:
        for size in sizes:
            if (method, size) in taken:
                continue
            name = method if len(sizes) == 1 else f"{method} {size}"
            while name in firsts or name in named:
                name += "'"
            named[name] = method, size
    return named


def _draw(job: tuple[Any, Any, dict[str, Any]]) -> Condensed:
    X, y, options = job
    return condense(X, y, **options)


def _train(job: tuple[Any, Condensed, int, np.ndarray, np.ndarray, bool]) -> tuple[np.ndarray, float]:
    """Scores (n_test,) of a model trained on a set, and the seconds of the training."""
    estimator, small, seed, X_test, y_test, regression = job
    model = copy.deepcopy(estimator)
    params = model.get_params() if hasattr(model, "get_params") else {}
    if "random_state" in params:
        model.set_params(random_state=seed)
    if "dtype" in params:
        model.set_params(dtype=np.dtype(small.X.dtype if small.X.dtype == np.float64 else np.float32).name)
    began = time.perf_counter()
    model = small.fit(model)
    seconds = time.perf_counter() - began
    answer = np.asarray(model.predict(X_test))
    if regression:
        error = (answer.reshape(len(y_test), -1) - y_test.reshape(len(y_test), -1)) ** 2
        return -error.sum(axis=1), seconds
    return (answer == y_test).astype(float), seconds


def _trial(name: str, label: str, sets: list[Condensed], found: list[tuple[np.ndarray, float]], full: bool) -> Trial:
    small = sets[0]
    cost = float(np.mean([s.info.get("seconds", 0.0) for s in sets]))
    learnt = not full and small.info.get("method") not in CHOSEN
    return Trial(
        name,
        label,
        len(small.X),
        small.n_bytes,
        np.array([scores for scores, _ in found]),
        float(np.mean([seconds for _, seconds in found])),
        cost,
        full,
        learnt,
        draws=len({id(s) for s in sets}),
    )


def _named(sets: Any, seeds: int) -> dict[str, list[Condensed]]:
    """The draws of each set: one, or one a seed."""
    if isinstance(sets, Condensed):
        sets = [sets]
    wrong = TypeError("condensed_sets must be Condensed objects: one, a list, or a dict of them or of lists")
    if not isinstance(sets, Mapping):
        sets = list(sets)
        if not all(isinstance(small, Condensed) for small in sets):
            raise wrong
        methods = [str(small.info.get("method", "condensed")) for small in sets]
        named: dict[str, Condensed] = {}
        for small, base in zip(sets, methods):
            name = base if methods.count(base) == 1 else f"{base} {small.info.get('per_class', len(small))}"
            while name in named:
                name += "'"
            named[name] = small
        sets = named
    every = {name: [given] if isinstance(given, Condensed) else list(given) for name, given in sets.items()}
    if not every or not all(isinstance(small, Condensed) for draws in every.values() for small in draws):
        raise wrong
    for name, draws in every.items():
        if len(draws) not in (1, seeds):
            raise ValueError(f"{name} must be one set or one a seed; got {len(draws)} for {seeds} seeds")
    return every


def _is_regression(y: np.ndarray) -> bool:
    return y.dtype.kind == "f" and (y.ndim == 2 or bool((y != np.floor(y)).any()))


def _models(model: Any, regression: bool) -> dict[str, Any]:
    if isinstance(model, Mapping):
        return dict(model)
    if model is not None:
        return {type(model).__name__: model}
    kind = MLPRegressor if regression else MLPClassifier
    options: dict[str, Any] = {"epochs": 300, "learning_rate": 0.01, "n_iter_no_change": 20, "l2": 1e-4}
    return {"mlp": kind(hidden=(64,), **options), "linear": kind(hidden=(), **options)}


def _per_class(small: Condensed, regression: bool) -> int:
    return len(small) if regression else int(np.unique(small.y, return_counts=True)[1].max())


def _some_rows(X: np.ndarray, y: np.ndarray, most: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Real rows for the plot."""
    every = max(1, len(X) // most)
    return np.asarray(X[::every]), np.asarray(y[::every])
