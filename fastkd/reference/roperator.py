"""Gradients of gradients of a perceptron: Pearlmutter's R operator (1994), and gradient matching on it."""

from itertools import pairwise

import numpy as np

from fastkd.reference.losses import log_softmax, softmax
from fastkd.reference.networks import _activate, mlp_layers


def _second_derivative(name, z):
    if name == "tanh":
        h = np.tanh(z)
        return -2 * h * (1 - h * h)
    if name == "gelu":
        return (2 - z * z) * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return np.zeros_like(z)


def r_operator(params, sizes, activation, X, V, *, soft=None, values=None, weights=None):
    """(L, grad, hv, dX, dY) of the mean loss L: grad by the parameters, and the derivatives of <V, grad>.

    Row loss: -sum_c y_c log p_c with `soft` labels y (any numbers), or 0.5 |f - y|^2 with `values`. R{x} is the
    derivative of x when the parameters move along V: hv = R{grad}, dX = R{dL/dX} = d<V, grad>/dX, and dY = d<V,
    grad>/dY.
    """
    layers, moves = mlp_layers(np.asarray(params, float), sizes), mlp_layers(np.asarray(V, float), sizes)
    a, ra = [np.asarray(X, float)], [np.zeros(np.shape(X))]
    slopes, curves = [], []
    for k, ((W, b), (VW, Vb)) in enumerate(zip(layers, moves)):
        z, rz = a[k] @ W + b, a[k] @ VW + Vb + ra[k] @ W
        name = activation if k + 1 < len(layers) else "identity"
        h, slope = _activate(name, z)
        a.append(h)
        ra.append(slope * rz)
        slopes.append(slope)
        curves.append(_second_derivative(name, z) * rz)
    f, rf, n = a[-1], ra[-1], len(a[0])
    w = (np.ones(n) if weights is None else np.asarray(weights, float))[:, None] / n
    if values is None:
        y = np.asarray(soft, float)
        p, mass = softmax(f), y.sum(1, keepdims=True)
        mean = (p * rf).sum(1, keepdims=True)
        loss = -(w * y * log_softmax(f)).sum()
        d, rd, dY = w * (mass * p - y), w * mass * p * (rf - mean), -w * (rf - mean)
    else:
        y = np.asarray(values, float).reshape(f.shape)
        loss, d, rd, dY = (w * 0.5 * (f - y) ** 2).sum(), w * (f - y), w * rf, -w * rf
    grad, hv = np.zeros(len(params)), np.zeros(len(params))
    grads, hvs = mlp_layers(grad, sizes), mlp_layers(hv, sizes)
    for k in reversed(range(len(layers))):
        grads[k][0][...], grads[k][1][...] = a[k].T @ d, d.sum(0)
        hvs[k][0][...], hvs[k][1][...] = ra[k].T @ d + a[k].T @ rd, rd.sum(0)
        e, re = d @ layers[k][0].T, rd @ layers[k][0].T + d @ moves[k][0].T
        if k:
            d, rd = slopes[k - 1] * e, slopes[k - 1] * re + curves[k - 1] * e
    return loss, grad, hv, re, dY


def gradient_distance(synthetic, real, sizes, distance, epsilon=1e-6):
    """Distance of two flat gradients and its derivative with respect to the first.

    "rowwise": the sum over the output units o of all layers of 1 - <r_o, s_o> / (|r_o| |s_o| + epsilon), without
    biases, as in the code of Zhao, Mopuri and Bilen (2021); "global": the same of the whole vectors; "mse": |r -
    s|^2.
    """
    s, r = np.asarray(synthetic, float), np.asarray(real, float)
    if distance == "mse":
        return ((s - r) ** 2).sum(), 2 * (s - r)
    V = np.zeros_like(s)
    if distance == "global":
        parts = [(s[:, None], r[:, None], V[:, None])]
    else:
        parts = [(a[0], b[0], c[0]) for a, b, c in zip(*(mlp_layers(x, sizes) for x in (s, r, V)))]
    total = 0.0
    for s_l, r_l, V_l in parts:  # the columns are the units
        ns, nr, dot = np.linalg.norm(s_l, axis=0), np.linalg.norm(r_l, axis=0), (s_l * r_l).sum(0)
        q = 1 / (ns * nr + epsilon)
        total += (1 - dot * q).sum()
        V_l[...] = np.where(ns > 0, dot * nr * q**2 / np.where(ns > 0, ns, 1), 0) * s_l - q * r_l
    return total, V


def gradient_match(params, sizes, activation, X, reals, starts, distance, *, soft=None, values=None, weights=None):
    """(sum over groups of rows of the distance of their gradient from reals[g], its derivatives dX and dY)."""
    total, dX, dY = 0.0, np.zeros(np.shape(X)), np.zeros((len(X), sizes[-1]))
    for g, (low, high) in enumerate(pairwise(starts)):
        rows = slice(low, high)
        target = {"soft": soft, "values": values, "weights": weights}
        target = {k: None if v is None else np.asarray(v)[rows] for k, v in target.items()}
        _, grad, *_ = r_operator(params, sizes, activation, X[rows], np.zeros(len(params)), **target)
        value, V = gradient_distance(grad, reals[g], sizes, distance)
        total += value
        dX[rows], dY[rows] = r_operator(params, sizes, activation, X[rows], V, **target)[3:]
    return total, dX, dY
