"""Condensation by matching mean features of random networks: at the last hidden layer, or at all of them."""

from __future__ import annotations

import numpy as np

from fastkd._core._native import MLPKernel, feature_match
from fastkd.condense.course import State, Step, descend, prepare
from fastkd.condense.networks import Net
from fastkd.condense.rows import Rows
from fastkd.condense.start import as_momentum, as_whole, initial_rows

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
    batch_size, momentum = as_whole(batch_size, "batch_size"), as_momentum(momentum)
    if rows.classes is None:
        raise ValueError(
            "features are matched class by class; y holds real values: use gradient_matching, kip or unrolled"
        )
    X, _ = initial_rows(rows, per_class, init, rng)
    groups = len(rows.index)
    starts = np.arange(groups + 1) * (len(X) // groups)

    def step(state: State, rng: np.random.Generator) -> float:
        params = net.fresh(rng)
        real, _, real_starts = rows.draw_all(batch_size, rng)
        loss, _ = match_features(
            net.kernel, params, real, real_starts, state, starts, learning_rate, momentum, all_layers
        )
        return loss / groups

    return prepare({"X": X}, ("X",), "sgd"), step, 1000


def match_features(
    kernel: MLPKernel,
    params: np.ndarray,
    real: np.ndarray,
    real_starts: np.ndarray,
    state: State,
    starts: np.ndarray,
    learning_rate: float,
    momentum: float = 0.5,
    all_layers: bool = False,
) -> tuple[float, np.ndarray]:
    """One update of the rows towards the mean features of groups of real rows: distance before it, slope."""
    value, slope = feature_match(kernel, params, real, real_starts, state["X"], starts, all_layers)
    descend(state, "X", slope, learning_rate, momentum)
    return value, slope


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
