"""Matching of mean features of a perceptron, and kernel ridge regression seen from its support."""

from itertools import pairwise

import numpy as np

from fastkd.reference.networks import mlp_forward_pass, mlp_layers


def feature_match(params, sizes, activation, reals, real_starts, X, starts, all_layers=False):
    """(sum over groups of |mean features of X's rows - mean features of the real rows|^2, its derivative dX).

    Features are the activations of the last hidden layer, of all of them, or the outputs where none is hidden.
    """
    params = np.asarray(params, float)
    layers, deep = mlp_layers(params, sizes), max(1, len(sizes) - 2)
    low = 1 if all_layers else deep
    distance, dX = 0.0, np.zeros(np.shape(X))
    for rows, real_rows in zip(pairwise(starts), pairwise(real_starts)):
        passed = mlp_forward_pass(params, sizes, activation, X[slice(*rows)])
        wanted = mlp_forward_pass(params, sizes, activation, reals[slice(*real_rows)])
        n = rows[1] - rows[0]
        d = np.zeros(sizes[deep])
        for k in range(deep, 0, -1):
            if k >= low:
                gap = passed[k][0].mean(0) - wanted[k][0].mean(0)
                distance += (gap * gap).sum()
                d = d + 2 / n * gap
            d = (d * passed[k][1]) @ layers[k - 1][0].T
        dX[slice(*rows)] = d
    return distance, dX


def kernel(X, Y, depth, gamma, weight_variance, bias_variance):
    """exp(-gamma |x - y|^2) for depth 0, else the neural tangent kernel of `depth` hidden layers of ReLUs; (n, m).

    Jacot et al. (2018); Cho and Saul (2009). Works for complex numbers too: their small imaginary part carries a
    derivative.
    """
    if depth == 0:
        return np.exp(-gamma * ((X[:, None] - Y) ** 2).sum(2))
    w, b = weight_variance, bias_variance
    s = theta = w * (X @ Y.T) / X.shape[1] + b
    q_x, q_y = (w * (A * A).mean(1) + b for A in (X, Y))
    for _ in range(depth):
        root = np.sqrt(q_x[:, None] * q_y)
        c = s / root
        k0 = (np.pi - np.arccos(c)) / (2 * np.pi)
        s = w * root * (np.sqrt(1 - c * c) / (2 * np.pi) + k0 * c) + b
        theta = s + w * k0 * theta
        q_x, q_y = w * q_x / 2 + b, w * q_y / 2 + b
    return theta


def ridge_slopes(S, a, X, target, **kernel_options):
    """(0.5 mean (K(X, S) a - target)^2, its derivative by a, and that by S with a held fixed)."""
    S, a, X, target = (np.asarray(x, float) for x in (S, a, X, target))
    K = kernel(X, S, **kernel_options)
    gap = K @ a - target
    dK, dS = gap @ a.T / gap.size, np.zeros(S.shape)
    for c in range(S.shape[1]):  # the derivative by a column, exact: that of an imaginary step
        step = np.zeros(S.shape, complex)
        step[:, c] = 1e-30j
        dS[:, c] = (dK * kernel(X, S + step, **kernel_options).imag).sum(0) / 1e-30
    return 0.5 * (gap * gap).mean(), K.T @ gap / gap.size, dS
