"""Dataset distillation by unrolling the training (Wang, Zhu, Torralba and Efros 2018)."""

from __future__ import annotations

import numpy as np

from fastkd._check import as_positive
from fastkd.condense.course import State, Step, adam, prepare
from fastkd.condense.networks import Net
from fastkd.condense.rows import Rows
from fastkd.condense.start import as_whole, initial_rows, logit_slope, soft_labels, soft_start
from fastkd.condense.training_run import descend_on, run_slopes

LEARNING_RATES = (0.01, 0.03, 0.1)


def unrolled(
    rows: Rows,
    net: Net,
    per_class: int,
    rng: np.random.Generator,
    *,
    learning_rate: float,
    steps: int = 20,
    step_size: float = 0.1,
    batch_size: int = 256,
    init: str = "real",
    learn_labels: bool = False,
) -> tuple[State, Step, int]:
    """State, step and iterations. A fresh network takes `steps` of gradient descent on the condensed rows; its loss on
    real rows is differentiated through the whole run, by rows, labels and step size (all learnt with Adam).
    """
    steps, batch_size = as_whole(steps, "steps"), as_whole(batch_size, "batch_size")
    step_size = as_positive(step_size, "step_size")
    X, y = initial_rows(rows, per_class, init, rng)
    state: State = prepare({"X": X, "y": y, "rate": np.log([step_size])}, ("X", "rate"), "adam")
    if learn_labels:
        start = y.astype(rows.dtype) if rows.classes is None else soft_start(y, rows.n_outputs)
        state |= prepare({"Y": start.astype(rows.dtype)}, ("Y",), "adam")

    def step(state: State, rng: np.random.Generator) -> float:
        target = y
        if learn_labels:
            target = state["Y"] if rows.classes is None else soft_labels(state["Y"])
        targets, rate = net.targets(target), float(np.exp(state["rate"][0]))
        weights, gradients = descend_on(net, net.fresh(rng), state["X"], targets, rate, steps)
        drawn = [rows.draw(g, batch_size, rng) for g in range(len(rows.index))]
        loss, slope = net.gradient(
            weights[-1], np.concatenate([x for x, _ in drawn]), np.concatenate([t for _, t in drawn])
        )
        dX, dY, d_rate = run_slopes(net, weights, gradients, state["X"], targets, rate, slope)
        adam(state, "X", dX, learning_rate)
        adam(state, "rate", np.array([rate * d_rate]), learning_rate)
        if learn_labels:
            adam(state, "Y", dY if rows.classes is None else logit_slope(target, dY), learning_rate)
        return loss

    return state, step, 300
