"""Dataset condensation by gradient matching (Zhao, Mopuri and Bilen 2021)."""

from __future__ import annotations

import numpy as np

from fastkd._check import as_positive
from fastkd._core._native import MLPKernel, Optimizer, Targets, gradient_match, shorten
from fastkd.condense.course import State, Step, descend, prepare
from fastkd.condense.networks import Net
from fastkd.condense.rows import Rows
from fastkd.condense.start import as_momentum, as_whole, initial_rows, logit_slope, soft_labels, soft_start

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
    if distance not in ("rowwise", "global", "mse"):
        raise ValueError(f"distance must be one of 'rowwise', 'global' and 'mse'; got {distance!r}")
    outer = None if outer is None else as_whole(outer, "outer")
    inner = None if inner is None else as_whole(inner, "inner", 0)
    batch_size, momentum = as_whole(batch_size, "batch_size"), as_momentum(momentum)
    as_positive(network_learning_rate, "network_learning_rate")
    as_positive(label_learning_rate, "label_learning_rate")
    if clip is not None:
        as_positive(clip, "clip")
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
    of_class = None  # what the real rows of each class learn from is known before they are drawn
    if rows.classes is not None:
        sizes = [min(batch_size, len(index)) for index in rows.index]
        of_class = [net.targets(np.full(n, g, np.int32)) for g, n in enumerate(sizes)]
    order = np.arange(len(X))

    def step(state: State, rng: np.random.Generator) -> float:
        params = net.fresh(rng)
        total = 0.0
        training = Optimizer("sgd", net.kernel.n_parameters, net.dtype, momentum=0.0)
        for t in range(outer):
            drawn, values, real_starts = rows.draw_all(batch_size, rng)
            real_gradients(net.kernel, params, drawn, real_starts, of_class or [net.targets(values)], reals)
            target = labels(state)
            targets = fixed or net.targets(target)
            value, _, dY = match_rows(
                net.kernel, params, reals, state, targets, starts, learning_rate, momentum, distance, clip, learn_labels
            )
            if dY is not None:
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


def real_gradients(
    kernel: MLPKernel, params: np.ndarray, X: np.ndarray, starts: np.ndarray, targets: list[Targets], out: np.ndarray
) -> None:
    """Gradients of groups of rows, a row of `out` each."""
    for g, target in enumerate(targets):
        kernel.loss_gradient(params, X[starts[g] : starts[g + 1]], target, grad=out[g])


def match_rows(
    kernel: MLPKernel,
    params: np.ndarray,
    reals: np.ndarray,
    state: State,
    targets: Targets,
    starts: np.ndarray,
    learning_rate: float,
    momentum: float = 0.5,
    distance: str = "rowwise",
    clip: float | None = None,
    want_y: bool = False,
) -> tuple[float, np.ndarray, np.ndarray | None]:
    """One update of the rows towards given gradients: distance before it, slopes by rows and labels."""
    value, dX, dY = gradient_match(kernel, params, reals, state["X"], targets, starts, distance, want_y=want_y)
    if clip is not None:
        shorten(dX, clip)
    descend(state, "X", dX, learning_rate, momentum)
    return value, dX, dY
