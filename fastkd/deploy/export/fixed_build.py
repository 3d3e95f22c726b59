"""From a float student and calibration rows to integers whose sums are proven not to overflow."""

from __future__ import annotations

import math

import numpy as np

from fastkd.deploy.export.fixed_net import FEATURE_LIMIT, GATE_BITS, INT16, KNOTS, MAX_STEPS, FixedLayer, FixedNet
from fastkd.deploy.export.student import ExportError, Student

HEADROOM = 1.25  # over the largest activation of the calibration rows
LARGEST_SUM = 2**31 - 1


def bits_for(largest: float, most: int = 15, least: int = -30) -> int:
    """The largest f with `largest` 2^f within int16, headroom included."""
    if not largest > 0:
        return most
    return max(least, min(most, math.floor(math.log2(INT16 / (HEADROOM * largest)))))


def fixed_layer(
    W: np.ndarray, b: np.ndarray, in_bits: int, out_bits: int, weight_bits: int, activation: str, adapt: bool = True
) -> FixedLayer:
    """Integers of one layer; `adapt` lets it have fewer bits in its outputs than asked for.

    Raises
    ------
    ExportError
        If weights and scales are too far from each other for 16-bit multipliers.
    """
    unit, out = 2.0**in_bits, 2.0**out_bits
    largest = np.abs(W).max(axis=0)
    top = 127 if weight_bits == 8 else INT16
    # no sum may overflow: (sum |W| 32768 + |b| unit + the rounding half) times the scale, and roundings of the weights
    reach = np.abs(W).sum(axis=0) * 32768 + np.abs(b) * unit + 0.5 * unit / out
    with np.errstate(divide="ignore"):
        scale = np.minimum(top / largest, (LARGEST_SUM - 16384.0 * len(W) - 2) / reach)
    if not (scale > 0).all():
        raise ExportError(f"{len(W)} inputs are too many for 32-bit sums")
    scale = np.minimum(scale, scale.min() * 1024)  # else the multipliers of the others lose their digits
    if adapt:
        out_bits = min(out_bits, math.floor(math.log2(unit * scale.min() / 2.05)))
        out = 2.0**out_bits
    scale = np.maximum(scale, 2.05 * out / unit)  # a multiplier stays below 1/2: its shift is 17 or more
    ratio = out / (unit * scale)
    down = min(32, math.floor(16 - math.log2(ratio.max() * (1 + 2.0**-15))))
    M = np.rint(ratio * 2.0**down).astype(np.int64)
    Wq = np.rint(W * scale).astype(np.int64)
    B = np.rint(b * scale * unit).astype(np.int64) + np.rint(0.5 / ratio).astype(np.int64)
    worst = np.abs(Wq).sum(axis=0) * 32768 + np.abs(B)
    if worst.max() > LARGEST_SUM or np.abs(Wq).max(initial=0) > top or down < 17 or not ((M > 0) & (M < 2**16)).all():
        raise ExportError(
            f"a layer of {W.shape[0]} inputs and {W.shape[1]} outputs does not fit {weight_bits}-bit weights, 32-bit "
            "sums and 16-bit multipliers: its weights are too far from its outputs in size; train with l2 > 0"
        )
    curve = None
    if activation == "gelu":
        normal = np.array([0.5 * math.erfc(a / math.sqrt(2)) for a in KNOTS])
        curve = np.rint(KNOTS * normal * out).astype(np.int64)
    return FixedLayer(Wq, B, M, down, weight_bits, activation, out_bits, scale, curve)


def build(student: Student, Z: np.ndarray, weight_bits: int) -> FixedNet:
    """The integer network of a student, its scales from the standardized rows Z in float64."""
    from fastkd.reference.networks import _activate
    from fastkd.reference.sequences import _patches, _pool, lstm_forward

    if student.heads:
        raise ExportError("a network with exits has no fixed-point form; take one of its exits_")
    if student.pooling == "mean" and student.steps > MAX_STEPS:
        raise ExportError(f"a mean over {student.steps} steps does not fit 32 bits; {MAX_STEPS} do")
    x_bits = bits_for(float(np.abs(Z).max()), 15 if student.kind == "mlp" else 14)
    if student.kind == "lstm":
        x_bits = max(x_bits, 9)  # its outputs, within 1, are in the same units
    if (2.0 ** (x_bits + 1) / student.scale).max() > FEATURE_LIMIT:
        raise ExportError("a scale of the scaler is too small for fixed point")
    body, cells, A, bits = [], [], Z, x_bits
    for W, b in student.body:
        if student.kind == "lstm":
            A, steps = lstm_forward(W, b, A)
            cells.append(min(12, bits_for(max(float(np.abs(step[-1]).max()) for step in steps), 12, 6)))
            body.append(fixed_layer(W, b, bits, GATE_BITS, weight_bits, "linear", adapt=False))
        else:
            A = np.maximum(_patches(A, student.kernel_size) @ W + b, 0.0)
            out = bits_for(float(A.max()))
            body.append(fixed_layer(W, b, bits, out, weight_bits, "relu"))
            bits = body[-1].bits
    if student.body:
        A = _pool(student.pooling, A)
    layers = []
    for k, (W, b) in enumerate(student.layers):
        last = k + 1 == len(student.layers)
        S = A @ W + b
        A = _activate("identity" if last else student.activation, S)[0]
        out = bits_for(float(np.abs(S).max()), 45 if last and student.classes is None else 15)
        kind = "linear" if last or student.activation == "identity" else student.activation
        if kind == "tanh":
            out = GATE_BITS
        elif kind == "relu":
            out = bits_for(float(A.max()))
        elif kind == "gelu":
            out = max(6, min(out, 14))
        layers.append(fixed_layer(W, b, bits, out, weight_bits, kind, adapt=kind != "tanh"))
        bits = 15 if kind == "tanh" else layers[-1].bits
    coarse = any(layer.curve is not None and layer.bits < 6 for layer in layers)
    if coarse or (student.classes is not None and layers[-1].bits < 0):
        raise ExportError("activations or logits are too large for 16 bits; train with l2 > 0")
    return FixedNet(student, weight_bits, x_bits, tuple(body), tuple(layers), tuple(cells))
