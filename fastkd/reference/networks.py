"""Perceptrons in float64 NumPy: forward pass, loss, gradient and one epoch of training.

Parameters are one flat vector; layer after layer, first W (n_in, n_out) in C order, then b (n_out).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fastkd.reference.losses import distillation_rows


def mlp_layers(params, sizes):
    """The flat parameter vector as views [(W, b), ...], one pair a layer."""
    layers, at = [], 0
    for n_in, n_out in pairwise(sizes):
        weights = params[at : at + n_in * n_out].reshape(n_in, n_out)
        bias = params[at + n_in * n_out : at + (n_in + 1) * n_out]
        layers.append((weights, bias))
        at += (n_in + 1) * n_out
    if at != len(params):
        raise ValueError(f"sizes {tuple(sizes)} need {at} parameters; got {len(params)}")
    return layers


def _normal_cdf(a):
    return 0.5 * (1.0 + np.vectorize(math.erf, otypes=[float])(a / math.sqrt(2.0)))


def _activate(name, a):
    """Activation of a hidden layer and its derivative with respect to the pre-activation."""
    if name == "relu":
        return np.maximum(a, 0.0), (a > 0.0).astype(float)
    if name == "tanh":
        h = np.tanh(a)
        return h, 1.0 - h * h
    if name == "gelu":  # a * Phi(a), the exact form (Hendrycks and Gimpel 2016)
        cdf = _normal_cdf(a)
        return a * cdf, cdf + a * np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)
    if name == "identity":
        return a, np.ones_like(a)
    raise ValueError(f"unknown activation {name!r}")


def mlp_forward(params, sizes, activation, X):
    """Outputs of the last, linear layer: (n, n_outputs)."""
    return mlp_forward_pass(np.asarray(params, float), sizes, activation, X)[-1][0]


def mlp_forward_pass(params, sizes, activation, X):
    """[(output, derivative of the activation), ...] of the input and of each layer; the last layer is linear."""
    layers = mlp_layers(params, sizes)
    passed = [(np.asarray(X, float), None)]
    for k, (weights, bias) in enumerate(layers):
        linear = k == len(layers) - 1
        passed.append(_activate("identity" if linear else activation, passed[-1][0] @ weights + bias))
    return passed


def mlp_output_loss(
    Z,
    *,
    labels=None,
    soft=None,
    teacher_logits=None,
    values=None,
    weights=None,
    temperature=1.0,
    kd_weight=0.0,
    label_smoothing=0.0,
    quantile=None,
):
    """Loss of each row (n,) and its derivative with respect to the outputs Z (n, n_outputs).

    Classification: `distillation_rows`. Regression: 0.5 * sum (z - y)^2, or the pinball loss
    sum max(q * (y - z), (q - 1) * (y - z)), whose derivative at y = z is taken as 0.
    """
    n, n_outputs = Z.shape
    if values is None:
        loss, slope = distillation_rows(
            Z,
            teacher_logits,
            labels,
            soft=soft,
            temperature=temperature,
            kd_weight=kd_weight,
            label_smoothing=label_smoothing,
        )
    else:
        error = np.asarray(values, float).reshape(n, n_outputs) - Z
        if quantile is None:
            loss, slope = 0.5 * (error**2).sum(axis=1), -error
        else:
            loss = np.maximum(quantile * error, (quantile - 1.0) * error).sum(axis=1)
            slope = np.where(error == 0, 0.0, (error < 0.0) - float(quantile))
    if weights is not None:
        weights = np.asarray(weights, float)
        loss, slope = weights * loss, weights[:, None] * slope
    return loss, slope


def mlp_loss_gradient(
    params,
    sizes,
    activation,
    X,
    *,
    labels=None,
    soft=None,
    teacher_logits=None,
    values=None,
    weights=None,
    temperature=1.0,
    kd_weight=0.0,
    label_smoothing=0.0,
    quantile=None,
    l2=0.0,
):
    """Loss sum(w_r * loss_r) / n + 0.5 * l2 * sum ||W||^2 and its gradient, by back-propagation."""
    params = np.asarray(params, float)
    passed = mlp_forward_pass(params, sizes, activation, X)
    row_loss, slope = mlp_output_loss(
        passed[-1][0],
        labels=labels,
        soft=soft,
        teacher_logits=teacher_logits,
        values=values,
        weights=weights,
        temperature=temperature,
        kd_weight=kd_weight,
        label_smoothing=label_smoothing,
        quantile=quantile,
    )
    penalty, grad, _ = mlp_backward(params, sizes, passed, slope / len(row_loss), l2)
    return float(row_loss.sum() / len(row_loss) + penalty), grad


def mlp_backward(params, sizes, passed, delta, l2):
    """(0.5 * l2 * sum ||W||^2, flat gradient, gradient at the inputs) from that at the outputs, `delta`."""
    penalty, grad = 0.0, np.zeros_like(params)
    layers, layer_grads = mlp_layers(params, sizes), mlp_layers(grad, sizes)
    for k in range(len(layers) - 1, -1, -1):
        weights_k = layers[k][0]
        grad_weights, grad_bias = layer_grads[k]
        grad_weights[...] = passed[k][0].T @ delta + l2 * weights_k
        grad_bias[...] = delta.sum(axis=0)
        penalty += 0.5 * l2 * (weights_k**2).sum()
        delta = delta @ weights_k.T
        if k > 0:
            delta = delta * passed[k][1]
    return penalty, grad, delta


@dataclass
class OptimizerState:
    """What an optimizer remembers: `m` is sgd's velocity or adam's first moment, `v` adam's second moment."""

    kind: str
    m: np.ndarray
    v: np.ndarray
    step: int = 0
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


def sgd_step(params, grad, state, learning_rate):
    """In place: v = momentum * v + g; p = p - lr * v."""
    state.step += 1
    state.m[...] = state.momentum * state.m + grad
    params -= learning_rate * state.m


def adam_step(params, grad, state, learning_rate):
    """In place: Adam (Kingma and Ba 2015, algorithm 1); epsilon is added after the bias correction."""
    state.step += 1
    state.m[...] = state.beta1 * state.m + (1.0 - state.beta1) * grad
    state.v[...] = state.beta2 * state.v + (1.0 - state.beta2) * grad**2
    m_hat = state.m / (1.0 - state.beta1**state.step)
    v_hat = state.v / (1.0 - state.beta2**state.step)
    params -= learning_rate * m_hat / (np.sqrt(v_hat) + state.epsilon)


def mlp_epoch(params, state, sizes, activation, X, order, batch_size, learning_rate, l2=0.0, **targets):
    """One pass over the rows `order`, in place; the mean data loss, without l2, each batch's before its update."""
    step = {"adam": adam_step, "sgd": sgd_step}[state.kind]
    per_row = ("labels", "soft", "teacher_logits", "values", "weights")
    total = 0.0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = {k: v[rows] if k in per_row and v is not None else v for k, v in targets.items()}
        data_loss, _ = mlp_output_loss(mlp_forward(params, sizes, activation, X[rows]), **batch)
        _, grad = mlp_loss_gradient(params, sizes, activation, X[rows], l2=l2, **batch)
        step(params, grad, state, learning_rate)
        total += data_loss.sum()
    return total / len(order)
