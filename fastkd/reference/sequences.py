"""Definitions of the networks over windows of time: LSTM, 1-D convolutions, pooling over the steps.

`net` is anything with kind ("lstm", "cnn"), widths (features, then of each layer), sizes and activation (of the head),
pooling and kernel_size, such as `fastkd._core._native.SequenceKernel`.
"""

from itertools import pairwise

import numpy as np

from fastkd.reference.networks import mlp_backward, mlp_forward_pass, mlp_output_loss


def sequence_layers(net, params):
    """Views [(W, b), ...] of the body's layers, and the flat parameters of the head."""
    layers, at = [], 0
    for n_in, n_out in pairwise(net.widths):
        rows, columns = (n_in + n_out, 4 * n_out) if net.kind == "lstm" else (net.kernel_size * n_in, n_out)
        weights = params[at : at + rows * columns].reshape(rows, columns)
        layers.append((weights, params[at + rows * columns : at + (rows + 1) * columns]))
        at += (rows + 1) * columns
    return layers, params[at:]


def bfloat16(x):
    """x rounded to bfloat16: 8 significant bits and the exponents of float32, to nearest, ties to even; as float64."""
    x = np.asarray(x, np.float64)
    exponent = np.maximum(np.frexp(x)[1] - 8, -133)  # of the last bit that is kept; below 2^-126 the step stays 2^-133
    with np.errstate(invalid="ignore", over="ignore"):
        rounded = np.where(np.isfinite(x), np.ldexp(np.rint(np.ldexp(x, -exponent)), exponent), x)  # rint: ties to even
    return np.where(np.isfinite(x) & (np.abs(rounded) >= 2.0**128), np.copysign(np.inf, x), rounded)


def with_bfloat16_weights(net, params):
    """Flat parameters of an LSTM as a predictor with weights="bfloat16" uses them: the layers' matrices are rounded."""
    params = np.array(params, np.float64)
    for weights, _ in sequence_layers(net, params)[0]:
        weights[...] = bfloat16(weights)
    return params


def _sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def lstm_forward(weights, bias, X):
    """Outputs h (n, steps, units) of one layer, and what its derivative needs of each step."""
    n, units = len(X), len(bias) // 4
    h, c = np.zeros((n, units)), np.zeros((n, units))
    outputs, steps = [], []
    for t in range(X.shape[1]):
        inputs = np.concatenate([X[:, t], h], axis=1)
        i, f, g, o = np.split(inputs @ weights + bias, 4, axis=1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        before, c = c, f * c + i * g
        h = o * np.tanh(c)
        outputs.append(h)
        steps.append((inputs, i, f, g, o, before, c))
    return np.stack(outputs, axis=1), steps


def lstm_backward(weights, steps, dH):
    """(gradient of W, of b, of the inputs) from the gradient dH (n, steps, units) of the outputs."""
    n, units = dH.shape[0], dH.shape[2]
    n_in = len(weights) - units
    grad_weights, grad_bias = np.zeros_like(weights), np.zeros(4 * units)
    dX = np.zeros((n, len(steps), n_in))
    dh, dc = np.zeros((n, units)), np.zeros((n, units))
    for t in range(len(steps) - 1, -1, -1):
        inputs, i, f, g, o, before, c = steps[t]
        dh = dh + dH[:, t]
        dc = dc + dh * o * (1.0 - np.tanh(c) ** 2)
        d = [dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * np.tanh(c) * o * (1 - o)]
        delta = np.concatenate(d, axis=1)
        grad_weights += inputs.T @ delta
        grad_bias += delta.sum(axis=0)
        dX[:, t], dh = np.split(delta @ weights.T, [n_in], axis=1)
        dc = dc * f
    return grad_weights, grad_bias, dX


def _patches(X, kernel_size):
    """(n, steps, kernel_size * channels): what the convolution sees around each step, zeros outside of the window."""
    left = (kernel_size - 1) // 2
    padded = np.pad(X, ((0, 0), (left, kernel_size - 1 - left), (0, 0)))
    return np.concatenate([padded[:, j : j + X.shape[1]] for j in range(kernel_size)], axis=2)


def cnn_backward(weights, X, H, kernel_size, dH):
    """(gradient of W, of b, of the inputs) from the gradient dH (n, steps, channels) of the outputs H."""
    delta = dH * (H > 0.0)
    patches = _patches(X, kernel_size)
    steps, n_in, left = X.shape[1], X.shape[2], (kernel_size - 1) // 2
    d_patches = delta @ weights.T
    padded = np.zeros((len(X), steps + kernel_size - 1, n_in))
    for j in range(kernel_size):
        padded[:, j : j + steps] += d_patches[:, :, j * n_in : (j + 1) * n_in]
    return np.einsum("nti,ntj->ij", patches, delta), delta.sum(axis=(0, 1)), padded[:, left : left + steps]


def _pool(pooling, H):
    return {"last": H[:, -1], "mean": H.mean(axis=1), "max": H.max(axis=1)}[pooling]


def _unpool(pooling, H, d):
    """The gradient at H of the gradient d at the pooled; a maximum passes it to the first step that has it."""
    dH = np.zeros_like(H)
    if pooling == "last":
        dH[:, -1] = d
    elif pooling == "mean":
        dH[...] = d[:, None] / H.shape[1]
    else:
        np.put_along_axis(dH, H.argmax(axis=1)[:, None], d[:, None], axis=1)
    return dH


def _forward_pass(net, params, X):
    """Outputs of each body layer (the input first), what an LSTM's derivative needs, and the head's pass."""
    layers, head = sequence_layers(net, np.asarray(params, float))
    outputs, kept = [np.asarray(X, float)], []
    for weights, bias in layers:
        if net.kind == "lstm":
            H, steps = lstm_forward(weights, bias, outputs[-1])
            kept.append(steps)
        else:
            H = np.maximum(0.0, _patches(outputs[-1], net.kernel_size) @ weights + bias)
        outputs.append(H)
    return outputs, kept, mlp_forward_pass(head, net.sizes, net.activation, _pool(net.pooling, outputs[-1]))


def sequence_forward(net, params, X):
    """Outputs of the last layer for windows X (n, steps, features): (n, n_outputs)."""
    return _forward_pass(net, params, X)[2][-1][0]


def sequence_loss_gradient(net, params, X, *, l2=0.0, **signal):
    """As `mlp_loss_gradient`, for windows X (n, steps, features)."""
    params = np.asarray(params, float)
    layers, head = sequence_layers(net, params)
    outputs, kept, passed = _forward_pass(net, params, X)
    row_loss, slope = mlp_output_loss(passed[-1][0], **signal)
    penalty, head_grad, delta = mlp_backward(head, net.sizes, passed, slope / len(row_loss), l2)
    d = _unpool(net.pooling, outputs[-1], delta)
    grads: list[np.ndarray] = []
    for k in range(len(layers) - 1, -1, -1):
        weights = layers[k][0]
        if net.kind == "lstm":
            grad_weights, grad_bias, d = lstm_backward(weights, kept[k], d)
        else:
            grad_weights, grad_bias, d = cnn_backward(weights, outputs[k], outputs[k + 1], net.kernel_size, d)
        penalty += 0.5 * l2 * (weights**2).sum()
        grads = [(grad_weights + l2 * weights).ravel(), grad_bias, *grads]
    return float(row_loss.mean() + penalty), np.concatenate([*grads, head_grad])
