"""Condensation regime by regime, so that rare ones are not lost."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd._check import as_array, as_rng
from fastkd.condense.condensed import Condensed
from fastkd.condense.condensing import condense


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
        Regime of each row; -1 is left out. Known at the time of the row (see `fastkd.features.regime_labels`).
    per_class : int
        Rows of each class in each regime. A class with fewer rows in a regime gives as many centroids as it has rows.
    random_state, options
        As for `condense`.

    Returns
    -------
    Condensed
        info["regimes"] has the regime of each row.

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
    X, y, regimes = as_array(X, "X"), np.asarray(y), np.asarray(regimes)
    if not len(X) == len(y) == len(regimes):
        raise ValueError(
            f"X, y and regimes must have as many rows as each other; got {len(X)}, {len(y)}, {len(regimes)}"
        )
    rng = as_rng(random_state)
    known = regimes != -1 if regimes.dtype.kind in "iuf" else np.ones(len(regimes), bool)
    parts: list[Condensed] = []
    names: list[Any] = []
    weights: list[float] = []
    for regime in np.unique(regimes[known]):
        here = known & (regimes == regime)
        classes, counts = np.unique(y[here], return_counts=True)
        enough = classes[counts >= per_class]
        rare = [(c, int(k)) for c, k in zip(classes, counts) if k < per_class]
        if len(enough) >= 2:
            mine = here & np.isin(y, enough)
            parts.append(condense(X[mine], y[mine], per_class=per_class, random_state=rng, **options))
        else:  # a single class has no boundary to learn: its centroids
            rare = [(c, min(int(k), per_class)) for c, k in zip(classes, counts)]
        for c, k in rare:
            parts.append(_one_class(X[here & (y == c)], c, k, rng))
        for c in [*(enough if len(enough) >= 2 else []), *(c for c, _ in rare)]:
            size = per_class if c in enough and len(enough) >= 2 else dict(rare)[c]
            names += [regime.item()] * size
            weights += [float((here & (y == c)).sum()) / size] * size
    if not parts:
        raise ValueError("no row has a known regime")
    weight = np.array(weights)
    info = {
        "method": parts[0].info["method"],
        "per_class": per_class,
        "regimes": names,
        "rows_seen": int(known.sum()),
        "seconds": float(sum(p.info.get("seconds", 0.0) for p in parts)),
    }
    rows = np.concatenate([p.X for p in parts])
    soft = [p.soft_labels for p in parts]
    together = np.concatenate(soft) if all(s is not None and s.shape[1] == len(np.unique(y)) for s in soft) else None  # type: ignore
    return Condensed(
        rows,
        np.concatenate([p.y for p in parts]),
        {"loss": [], "parts": [p.history.get("loss", []) for p in parts]},
        together,
        (weight * len(weight) / weight.sum()).astype(rows.dtype),
        info,
    )


def _one_class(X: np.ndarray, label: Any, k: int, rng: np.random.Generator) -> Condensed:
    from fastkd.condense.centroids import k_means

    X = np.require(X, np.float64 if X.dtype == np.float64 else np.float32)
    return Condensed(k_means(X, k, rng), np.full(k, label), {"loss": []}, info={"method": "centroids"})
