"""Condensation regime by regime, so that rare ones are not lost."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastkd._check import as_array, as_rng
from fastkd.condense.condensed import Condensed
from fastkd.condense.condensing import condense
from fastkd.condense.rows import as_block, as_classes, as_targets


def condense_regimes(
    X: Any, y: Any, regimes: Any, *, per_class: int = 2, random_state: Any = None, **options: Any
) -> Condensed:
    """Condense each regime separately, to the same number of rows of each class, and put the rows together.

    Balancing regimes and classes changes their shares: a crash becomes as frequent as a quiet day. The result's
    `sample_weight` undoes that: the rows of class c and regime r weigh together what they weigh in the data, so a
    model that is to meet the market as it is needs it; without it, a model learns a world of equally frequent
    regimes.

    Parameters
    ----------
    X : (n, n_features)
    y : (n,) labels
    regimes : (n,) ints or strings
        Regime of each row; -1 and NaN are left out. Known at the time of the row (see `fastkd.features.regime_labels`).
    per_class : int
        Rows of each class in each regime. A class with fewer rows in a regime gives as many centroids as it has rows.
    random_state, options
        As for `condense`; a `checkpoint` is one file for each regime, the path with the regime's number.

    Returns
    -------
    Condensed
        info["regimes"] has the regime of each row. After Ctrl-C the regimes so far, with info["interrupted"] = True.

    Raises
    ------
    ValueError
        For method="linear_sketch", a regression, or learn_labels where a regime lacks rows of a class.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, regime = rng.integers(0, 2, 500), (rng.random(500) < 0.05).astype(int)
    >>> X = rng.normal(size=(500, 2)) + 3 * y[:, None] - 5 * regime[:, None]
    >>> small = condense_regimes(X, y, regime, method="centroids", per_class=1, random_state=0)
    >>> len(small), small.info["regimes"], bool(np.isclose(small.sample_weight.sum(), 4))
    (4, [0, 0, 1, 1], True)
    """
    X, y, regimes = as_array(X, "X"), as_targets(y), as_targets(regimes)
    if not len(X) == len(y) == len(regimes):
        raise ValueError(
            f"X, y and regimes must have as many rows as each other; got {len(X)}, {len(y)}, {len(regimes)}"
        )
    if options.get("method") == "linear_sketch":
        raise ValueError("regimes are condensed class by class, which method='linear_sketch' knows nothing of")
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError("regimes are condensed class by class: y must be labels, not real values or NaN")
    X, y = as_block(X, y, "the data")
    if regimes.ndim != 1 or regimes.dtype.kind not in "iufbUS":
        raise ValueError(f"regimes must be numbers or text (n,); got {regimes.dtype} of shape {regimes.shape}")
    all_classes = as_classes(y)
    teacher, checkpoint = options.pop("teacher", None), options.pop("checkpoint", None)
    rng = as_rng(random_state)
    known = (regimes != -1) & (regimes == regimes) if regimes.dtype.kind in "iuf" else np.ones(len(regimes), bool)
    parts: list[Condensed] = []
    names: list[Any] = []
    weights: list[float] = []
    found = np.unique(regimes[known])
    if options.get("learn_labels"):
        _every_class(y, regimes, found, all_classes, per_class)
    seen, interrupted = 0, False
    for number, regime in enumerate(found):
        here = known & (regimes == regime)
        classes, counts = np.unique(y[here], return_counts=True)
        enough = classes[counts >= per_class]
        rare = [(c, int(k)) for c, k in zip(classes, counts) if k < per_class]
        if len(enough) >= 2:
            mine = here & np.isin(y, enough)
            path = None if checkpoint is None else f"{os.fspath(checkpoint)}.{number}"
            small = condense(X[mine], y[mine], per_class=per_class, random_state=rng, checkpoint=path, **options)
            parts.append(small)
            interrupted = bool(small.info.get("interrupted"))
        else:  # a single class has no boundary to learn: its centroids
            rare = [(c, min(int(k), per_class)) for c, k in zip(classes, counts)]
        for c, k in rare:
            parts.append(_one_class(X[here & (y == c)], c, k, rng))
        for c in [*(enough if len(enough) >= 2 else []), *(c for c, _ in rare)]:
            size = per_class if c in enough and len(enough) >= 2 else dict(rare)[c]
            names += [regime.item()] * size
            weights += [float((here & (y == c)).sum()) / size] * size
        seen += int(here.sum())
        if interrupted:
            break
    if not parts:
        raise ValueError("no row has a known regime")
    weight = np.array(weights)
    info = {
        "method": parts[0].info["method"],
        "per_class": per_class,
        "regimes": names,
        "rows_seen": seen,
        "interrupted": interrupted,
        "seconds": float(sum(p.info.get("seconds", 0.0) for p in parts)),
    }
    rows = np.concatenate([p.X for p in parts])
    soft = [p.soft_labels for p in parts]
    together = np.concatenate(soft) if all(s is not None and s.shape[1] == len(all_classes) for s in soft) else None  # type: ignore
    whole = Condensed(
        rows,
        np.concatenate([p.y for p in parts]),
        {"loss": [], "parts": [p.history.get("loss", []) for p in parts]},
        together,
        (weight * len(weight) / weight.sum()).astype(rows.dtype),
        info,
    )
    return whole if teacher is None else whole.with_teacher(teacher)


def _every_class(y: np.ndarray, regimes: np.ndarray, found: np.ndarray, classes: np.ndarray, per_class: int) -> None:
    """Learnt soft labels of all regimes must have the same columns."""
    for regime in found:
        for c in classes:
            n = int(((regimes == regime) & (y == c)).sum())
            if n < per_class:
                raise ValueError(
                    f"learn_labels needs per_class={per_class} rows of each class in each regime; class {c} has {n} "
                    f"in regime {regime}: leave that regime out (-1), or give a teacher"
                )


def _one_class(X: np.ndarray, label: Any, k: int, rng: np.random.Generator) -> Condensed:
    from fastkd.condense.centroids import k_means

    X = np.require(X, np.float64 if X.dtype == np.float64 else np.float32)
    return Condensed(k_means(X, k, rng), np.full(k, label), {"loss": []}, info={"method": "centroids"})
