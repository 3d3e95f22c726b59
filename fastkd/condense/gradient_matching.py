"""Dataset condensation by gradient matching (Zhao, Mopuri and Bilen 2021)."""

from __future__ import annotations

import numpy as np

from fastkd._core._native import Optimizer, gradient_match
from fastkd.condense.course import State, Step, descend, prepare
from fastkd.condense.networks import Net
from fastkd.condense.rows import Rows
from fastkd.condense.start import initial_rows, logit_slope, soft_labels, soft_start

LEARNING_RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}  # those of the authors' code


def gradient_matching(
    rows: Rows,
    net: Net,
    per_class: int,
    rng: np.random.Generator,
    *,
    learning_rate: float,
    distance: str = "rowwise",
    outer: int | None = None,
    inner: int | None = None,
    momentum: float = 0.5,
    network_learning_rate: float = 0.01,
    batch_size: int = 256,
    init: str = "real",
    learn_labels: bool = False,
    label_learning_rate: float = 0.1,
    clip: float | None = 2.0,
) -> tuple[State, Step, int]:
    """State, step and iterations. One iteration is one random network: `outer` updates of the rows on it.

    Class by class, the gradient of the class's rows is matched to that of `batch_size` real rows of the class.
    Between updates the network is trained on the condensed set for `inner` epochs.

    Parameters
    ----------
    distance : {"rowwise", "global", "mse"}
        Summed cosine distances of the rows of weights that lead to one unit each, as in the authors' code; one
        cosine distance of all parameters, as in the formula; or the squared distance.
    outer, inner : int
        By default those of the authors for the nearest number of rows.
    learn_labels : bool
        Learn soft labels too.
    clip : float or None
        A row whose slope is longer than this many times the median row's is shortened to it: units with nearly no
        gradient make the cosine steep. None leaves them, as the authors do.
    """
    nearest = LOOPS[min(LOOPS, key=lambda k: abs(k - per_class))]
    outer, inner = outer or nearest[0], nearest[1] if inner is None else inner
    X, y = initial_rows(rows, per_class, init, rng)
    groups = len(rows.index)
    starts = np.arange(groups + 1) * (len(X) // groups)
    state: State = prepare({"X": X, "y": y}, ("X",), "sgd")
    if learn_labels:
        start = y.astype(rows.dtype) if rows.classes is None else soft_start(y, rows.n_outputs)
        state |= prepare({"Y": start.astype(rows.dtype)}, ("Y",), "sgd")
    reals = np.empty((groups, net.kernel.n_parameters), rows.dtype)

    def labels(state: State) -> np.ndarray:
        if not learn_labels:
            return y
        return soft_labels(state["Y"]) if rows.classes is not None else state["Y"]

    fixed = None if learn_labels else net.targets(y)
    order = np.arange(len(X))

    def step(state: State, rng: np.random.Generator) -> float:
        params = net.fresh(rng)
        total = 0.0
        training = Optimizer("sgd", net.kernel.n_parameters, net.dtype, momentum=0.0)
        for t in range(outer):
            for g in range(groups):
                net.kernel.loss_gradient(params, *_targets(net, *rows.draw(g, batch_size, rng)), grad=reals[g])
            target = labels(state)
            targets = fixed or net.targets(target)
            value, dX, dY = gradient_match(
                net.kernel, params, reals, state["X"], targets, starts, distance, want_y=learn_labels
            )
            if clip is not None:
                length = np.sqrt((dX * dX).sum(axis=1, keepdims=True))
                dX *= np.minimum(1, clip * np.median(length) / np.maximum(length, 1e-30))
            descend(state, "X", dX, learning_rate, momentum)
            if learn_labels:
                slope = dY if rows.classes is None else logit_slope(target, dY)
                descend(state, "Y", slope, label_learning_rate, momentum)
            total += value / groups
            if t + 1 < outer:
                targets = fixed or net.targets(labels(state))
                for _ in range(inner):
                    net.kernel.epoch(
                        params, training, state["X"], targets, order, batch_size, network_learning_rate, net.l2
                    )
        return total / outer

    return state, step, max(20, 1000 // outer)


def _targets(net: Net, X: np.ndarray, y: np.ndarray):
    return X, net.targets(y)
