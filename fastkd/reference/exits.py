"""A perceptron with a classifier at every hidden layer, in float64 NumPy.

Parameters: the perceptron's (its last layer is the deepest exit), then for each shallow exit its W, b and, with hints,
the W, b of the adapter to the deepest hidden layer.
"""

from itertools import pairwise

import numpy as np

from fastkd.reference.losses import softmax
from fastkd.reference.networks import mlp_forward_pass, mlp_layers, mlp_output_loss


def exits_heads(params, sizes, hints):
    """(parameters of the perceptron, heads [(W, b), ...], adapters [(W, b), ...]) as views."""
    at = sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))
    trunk = params[:at]
    heads: list[tuple] = []
    adapters: list[tuple] = []
    for n in sizes[1:-2]:
        for found, width in ((heads, sizes[-1]), (adapters, sizes[-2]))[: 1 + hints]:
            found += mlp_layers(params[at : at + (n + 1) * width], (n, width))
            at += (n + 1) * width
    return trunk, heads, adapters


def exits_teacher(outputs, temperature, shallow_teaches):
    """What the pupils learn from: the deepest exit's logits, or the mean of the shallow exits' softened outputs."""
    if shallow_teaches:
        return {"soft": np.mean([softmax(z, temperature) for z in outputs[:-1]], axis=0)}
    return {"teacher_logits": outputs[-1].copy()}


def exits_loss_gradient(
    params,
    sizes,
    activation,
    X,
    *,
    labels,
    exit_weights,
    feature_weight=0.0,
    shallow_teaches=False,
    teacher=None,
    hint=None,
    weights=None,
    temperature=1.0,
    kd_weight=0.0,
    label_smoothing=0.0,
    l2=0.0,
):
    """Loss of all exits and its gradient, in which `teacher` and `hint` (deepest activations) count as constants.

    By default they are those of `params`; given as arguments they stay fixed, as a numerical derivative needs it.
    """
    params = np.asarray(params, float)
    grad = np.zeros_like(params)
    hints = feature_weight > 0
    trunk, heads, adapters = exits_heads(params, sizes, hints)
    trunk_grad, head_grads, adapter_grads = exits_heads(grad, sizes, hints)
    passed = mlp_forward_pass(trunk, sizes, activation, X)
    hidden = [h for h, _ in passed[1:-1]]
    outputs = [h @ W + b for h, (W, b) in zip(hidden, heads, strict=False)] + [passed[-1][0]]
    teacher = exits_teacher(outputs, temperature, shallow_teaches) if teacher is None else teacher
    hint = hidden[-1] if hint is None else hint
    n, deep = len(X), len(outputs) - 1
    row_weights = np.ones(n) if weights is None else np.asarray(weights, float)
    loss, slopes = 0.0, []
    for e, Z in enumerate(outputs):
        how = {"kd_weight": kd_weight, **teacher} if (e == deep) == shallow_teaches else {}
        rows, slope = mlp_output_loss(
            Z, labels=labels, temperature=temperature, label_smoothing=label_smoothing, weights=weights, **how
        )
        loss += exit_weights[e] * rows.sum() / n
        slopes.append(exit_weights[e] * slope / n)
    come_down = [np.zeros_like(h) for h in hidden]
    for e in range(deep):
        parts = [(heads[e], head_grads[e], slopes[e])]
        if hints:
            gap = hidden[e] @ adapters[e][0] + adapters[e][1] - hint
            loss += feature_weight * 0.5 * (row_weights[:, None] * gap**2).sum() / n
            parts.append((adapters[e], adapter_grads[e], feature_weight * row_weights[:, None] * gap / n))
        for (W, _), (grad_W, grad_b), delta in parts:
            grad_W[...] = hidden[e].T @ delta + l2 * W
            grad_b[...] = delta.sum(axis=0)
            loss += 0.5 * l2 * (W**2).sum()
            come_down[e] += delta @ W.T
    delta = slopes[-1]
    layers, layer_grads = mlp_layers(trunk, sizes), mlp_layers(trunk_grad, sizes)
    for k in range(len(layers) - 1, -1, -1):
        W, (grad_W, grad_b) = layers[k][0], layer_grads[k]
        grad_W[...] = passed[k][0].T @ delta + l2 * W
        grad_b[...] = delta.sum(axis=0)
        loss += 0.5 * l2 * (W**2).sum()
        if k > 0:
            delta = (delta @ W.T + come_down[k - 1]) * passed[k][1]
    return float(loss), grad
