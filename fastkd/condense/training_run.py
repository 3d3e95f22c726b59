"""A training run on condensed rows and its derivative by them: the core of unrolling and of trajectories."""

from __future__ import annotations

import numpy as np

from fastkd._core._native import Targets, r_operator
from fastkd.condense.networks import Net


def descend_on(net: Net, params: np.ndarray, X: np.ndarray, targets: Targets, rate: float, steps: int):
    """(weights before each step and after the last, gradients) of plain gradient descent on all condensed rows."""
    weights, gradients = [params], []
    for _ in range(steps):
        gradients.append(net.kernel.loss_gradient(weights[-1], X, targets)[1])
        weights.append(weights[-1] - params.dtype.type(rate) * gradients[-1])
    return weights, gradients


def run_slopes(net: Net, weights, gradients, X: np.ndarray, targets: Targets, rate: float, slope: np.ndarray):
    """(dX, dY, d rate) of a loss whose derivative by the last weights is `slope`.

    Backwards over the steps w' = w - rate g(w): d rate -= <l, g>, dX -= rate d<l, g>/dX, l -= rate H l.
    """
    dX, dY, d_rate = np.zeros_like(X), None, 0.0
    h = X.dtype.type(rate)
    for w, g in zip(reversed(weights[:-1]), reversed(gradients)):
        d_rate -= float(slope @ g)
        _, _, hv, dx, dy = r_operator(net.kernel, w, slope, X, targets, want_grad=False, want_y=True)
        dX -= h * dx
        dY = -h * dy if dY is None else dY - h * dy
        slope = slope - h * hv
    return dX, dY, d_rate
