"""Condensation by matching mean features of random networks: at the last hidden layer, or at all of them."""

from __future__ import annotations

import numpy as np

from fastkd._core._native import MLPKernel
from fastkd.condense.course import State, Step, descend, prepare
from fastkd.condense.embeddings import features, group_means, last_features, pull_back
from fastkd.condense.networks import Net
from fastkd.condense.rows import Rows
from fastkd.condense.start import initial_rows

LEARNING_RATES = (0.03, 0.1, 0.3, 1.0)


def distribution_matching(
    rows: Rows,
    net: Net,
    per_class: int,
    rng: np.random.Generator,
    *,
    learning_rate: float,
    momentum: float = 0.5,
    batch_size: int = 256,
    init: str = "real",
    all_layers: bool = False,
) -> tuple[State, Step, int]:
    """State, step and iterations of distribution matching (Zhao and Bilen 2023).

    One iteration is one random network, never trained: over classes, the sum of |mean features of real rows - mean
    features of condensed rows|^2 at the last hidden layer. Means of features of single rows know nothing of the
    order of rows, so nothing of volatility clusters.
    """
    if rows.classes is None:
        raise ValueError(
            "features are matched class by class; y holds real values: use gradient_matching, kip or unrolled"
        )
    X, _ = initial_rows(rows, per_class, init, rng)
    groups = len(rows.index)
    each = len(X) // groups
    sizes, activation = net.kernel.sizes, net.kernel.activation
    lower = MLPKernel(sizes[:-1], activation, net.dtype) if len(sizes) > 2 and not all_layers else None

    def step(state: State, rng: np.random.Generator) -> float:
        params = net.fresh(rng)
        drawn = [rows.draw(g, batch_size, rng)[0] for g in range(groups)]
        counts = [len(x) for x in drawn]
        if lower is not None:
            real = [last_features(lower, params, np.concatenate(drawn))]
        else:
            real = [h for h, _ in features(params, sizes, activation, np.concatenate(drawn))]
        passed = features(params, sizes, activation, state["X"])
        loss = 0.0
        slopes: list[np.ndarray | None] = []
        slopes += [None] * (len(passed) - len(real))
        for (h, _), target in zip(passed[-len(real) :], real):
            gap = group_means(h, [each] * groups) - group_means(target, counts)
            loss += float((gap * gap).sum())
            slopes.append(np.repeat((2 / each) * gap, each, axis=0).astype(h.dtype))
        descend(state, "X", pull_back(params, sizes, passed, slopes), learning_rate, momentum)
        return loss / groups

    return prepare({"X": X}, ("X",), "sgd"), step, 1000


def feature_alignment(
    rows: Rows,
    net: Net,
    per_class: int,
    rng: np.random.Generator,
    *,
    learning_rate: float,
    momentum: float = 0.5,
    batch_size: int = 256,
    init: str = "real",
) -> tuple[State, Step, int]:
    """State, step and iterations of feature alignment, after CAFE (Wang et al. 2022).

    Distribution matching at every hidden layer, the losses added. CAFE's classification of real features by
    condensed ones and its bi-level stopping rule are not built.
    """
    return distribution_matching(
        rows,
        net,
        per_class,
        rng,
        learning_rate=learning_rate,
        momentum=momentum,
        batch_size=batch_size,
        init=init,
        all_layers=True,
    )
