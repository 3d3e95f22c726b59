"""What every kernel computes, in plain float64 NumPy: the definition that tests and benches compare against.

Simple on purpose: no blocking, no tricks, one function a formula.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# ---------------------------------------------------------------------------------------------------------------------
# Losses. The last axis holds the classes; logits of -inf are classes with probability 0.
# ---------------------------------------------------------------------------------------------------------------------


def softmax(logits, temperature=1.0):
    """q_c = exp(z_c / T) / sum_k exp(z_k / T)."""
    z = np.asarray(logits, float)
    e = np.exp((z - z.max(-1, keepdims=True)) / temperature)
    return e / e.sum(-1, keepdims=True)


def log_softmax(logits, temperature=1.0):
    """z_c / T - log sum_k exp(z_k / T)."""
    z = np.asarray(logits, float)
    u = (z - z.max(-1, keepdims=True)) / temperature
    return u - np.log(np.exp(u).sum(-1, keepdims=True))


def kl_divergence(p, q, eps=1e-10):
    """sum over p_c > eps of p_c ln(p_c / max(q_c, eps)), row by row, in nats."""
    p, q = np.asarray(p, float), np.maximum(np.asarray(q, float), eps)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > eps, p * np.log(p / q), 0.0).sum(-1)


def distillation_rows(
    student, teacher=None, labels=None, *, soft=None, temperature=1.0, kd_weight=0.0, label_smoothing=0.0
):
    """Loss of each row (n,) and its gradient with respect to the student's logits (n, C).

    kd_weight T^2 KL(q_t || q_s) + (1 - kd_weight) CE, gradient kd_weight T (q_s - q_t) + (1 - kd_weight) (p - target).
    The teacher is given by logits or by probabilities `soft` at T; a label of -1 has no cross-entropy.
    """
    z = np.asarray(student, float)
    n, n_classes = z.shape
    loss, grad = np.zeros(n), np.zeros_like(z)
    if teacher is not None or soft is not None:
        q_t = softmax(teacher, temperature) if soft is None else np.asarray(soft, float)
        log_t = log_softmax(teacher, temperature) if soft is None else np.log(np.where(q_t > 0, q_t, 1.0))
        with np.errstate(invalid="ignore"):
            gap = np.where(q_t > 0, q_t * (log_t - log_softmax(z, temperature)), 0.0)
        loss += kd_weight * temperature**2 * gap.sum(1)
        grad += kd_weight * temperature * (softmax(z, temperature) - q_t)
    if labels is not None:
        labels = np.asarray(labels)
        target = (1 - label_smoothing) * np.eye(n_classes)[np.maximum(labels, 0)] + label_smoothing / n_classes
        hard = (1 - kd_weight) * (labels >= 0)
        with np.errstate(invalid="ignore"):
            loss += hard * np.where(target > 0, -target * log_softmax(z), 0.0).sum(1)
        grad += hard[:, None] * (softmax(z) - target)
    return loss, grad


# ---------------------------------------------------------------------------------------------------------------------
# MLP: forward pass, loss, gradient and one epoch of training. Shapes: X (n, n_features), outputs Z (n, n_outputs).
# Parameters are one flat vector; layer after layer, first W (n_in, n_out) in C order, then b (n_out).
# ---------------------------------------------------------------------------------------------------------------------


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
    return _mlp_forward_pass(np.asarray(params, float), sizes, activation, X)[-1][0]


def _mlp_forward_pass(params, sizes, activation, X):
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
    passed = _mlp_forward_pass(params, sizes, activation, X)
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


# ---------------------------------------------------------------------------------------------------------------------
# Robust aggregation. X holds the updates of n clients, (n, d), finite; f clients may lie.
# ---------------------------------------------------------------------------------------------------------------------


def sq_distances(X):
    """|x_i - x_j|^2."""
    X = np.asarray(X, float)
    with np.errstate(over="ignore"):
        return np.array([((X - x) ** 2).sum(1) for x in X])


def median(X):
    """Per coordinate the middle value, or the mean of the two middle ones."""
    s = np.sort(np.asarray(X, float), axis=0)
    n = len(s)
    return s[(n - 1) // 2] / 2 + s[n // 2] / 2


def trimmed_mean(X, f):
    """Per coordinate the mean without the f smallest and the f largest values."""
    return np.sort(np.asarray(X, float), axis=0)[f : len(X) - f].mean(axis=0)


def mean_near_median(X, keep):
    """Per coordinate the mean of the `keep` values nearest to the median, of equally near ones the lower first."""
    X = np.sort(np.asarray(X, float), axis=0)
    nearest = np.argsort(np.abs(X - median(X)), axis=0, kind="stable")[:keep]
    return np.take_along_axis(X, np.sort(nearest, axis=0), axis=0).mean(axis=0)


def krum_scores(X, f):
    """The sum of the n - f - 2 smallest squared distances to others."""
    return _krum_scores(sq_distances(X), len(X) - f - 2)


def _krum_scores(D, neighbors):
    with np.errstate(over="ignore"):
        return np.array([np.sort(np.delete(row, i))[:neighbors].sum() for i, row in enumerate(D)])


def krum(X, f):
    """Index of the smallest score, the lower of equals."""
    return int(np.argmin(krum_scores(X, f)))


def multi_krum(X, f, m):
    """Mean of the m updates with the smallest scores."""
    return np.asarray(X, float)[np.argsort(krum_scores(X, f), kind="stable")[:m]].mean(axis=0)


def bulyan(X, f):
    """Krum takes n - 2f updates one by one; then the mean of the n - 4f of them nearest to the median."""
    X = np.asarray(X, float)
    left = list(range(len(X)))
    chosen: list[int] = []
    while len(chosen) < len(X) - 2 * f:
        scores = _krum_scores(sq_distances(X[left]), max(len(left) - f - 2, 1))
        chosen.append(left.pop(int(np.argmin(scores))))
    return mean_near_median(X[chosen], len(X) - 4 * f)


def sum_of_distances(X, y):
    """What the geometric median minimizes."""
    return np.linalg.norm(np.asarray(X, float) - y, axis=1).sum()


def geometric_median(X, steps=20000):
    """Weiszfeld's iteration, distances kept above a small number."""
    X = np.asarray(X, float)
    y = X.mean(axis=0)
    for _ in range(steps):
        w = 1 / np.maximum(np.linalg.norm(X - y, axis=1), 1e-12)
        y = (w / w.sum()) @ X
    return y


def centered_clipping(X, radius, center):
    """c + mean_i (x_i - c) min(1, radius / |x_i - c|)."""
    X, c = np.asarray(X, float), np.asarray(center, float)
    norms = np.linalg.norm(X - c, axis=1)
    return c + ((X - c) * np.minimum(1, radius / np.maximum(norms, 1e-300))[:, None]).mean(axis=0)


def nearest_neighbor_mixing(X, f):
    """Each update becomes the mean of the n - f nearest to it, itself included."""
    X = np.asarray(X, float)
    return np.array([X[np.argsort(row, kind="stable")[: len(X) - f]].mean(axis=0) for row in sq_distances(X)])


# It builds on the definitions above.
from fastkd.reference.sequences import sequence_forward as sequence_forward  # noqa: E402
from fastkd.reference.sequences import sequence_loss_gradient as sequence_loss_gradient  # noqa: E402
