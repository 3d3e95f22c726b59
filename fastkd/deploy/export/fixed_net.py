"""A student in integers: int8 or int16 weights, int16 activations, int32 sums; its definition, which C and RTL follow.

features   q = round((x - mean) 2^f / scale), saturated, half away from zero
layer      y = (B + sum W q) M >> down, saturated to int16; M of 16 significant bits carries the scale of an output's
           weights, B the half that rounds; no sum overflows 32 bits, for any q
curves     tanh, sigmoid and GELU from tables of 257 entries, 32 a unit, with linear interpolation
softmax    2^-d from a table of 33 entries, one division a class; 32768 is 1
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastkd.deploy.export.student import Student

INT16 = 32767
GATE_BITS = 11  # sigmoid and tanh read their argument in units of 2^-11, up to 16
KNOTS = np.arange(257) / 32.0
TANH = np.minimum(np.rint(np.tanh(KNOTS) * 32768), INT16).astype(np.int64)
SIGMOID = np.minimum(np.rint(32768 / (1 + np.exp(-KNOTS))), INT16).astype(np.int64)
POW2 = np.rint(2.0 ** (15 - np.arange(33) / 32)).astype(np.int64)  # 2^-k/32
LOG2E = 47274  # log2(e) in 1/32768
FEATURE_LIMIT = 2.0**60  # larger features are refused
MAX_STEPS = 32767  # of a mean: its sum must fit 32 bits


@dataclass(frozen=True, eq=False)
class FixedLayer:
    """y = activation((x W + B) M >> down); `bits` says what 1.0 is in y: 2^bits."""

    W: np.ndarray  # (inputs, outputs)
    B: np.ndarray
    M: np.ndarray
    down: int
    weight_bits: int
    activation: str  # of the network, or "linear" where only saturation follows
    bits: int
    scale: np.ndarray  # integer units per unit weight, of each output
    curve: np.ndarray | None = None  # table of GELU

    def sums(self, x: np.ndarray) -> np.ndarray:
        return x @ self.W + self.B

    def linear(self, x: np.ndarray) -> np.ndarray:
        """The scaled sums, not saturated."""
        return (self.sums(x) * self.M) >> self.down

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = np.clip(self.linear(x), 0 if self.activation == "relu" else -32768, INT16)
        if self.activation == "tanh":
            return odd(TANH, y, GATE_BITS)
        if self.activation == "gelu":
            assert self.curve is not None
            return np.maximum(y, 0) - lookup(self.curve, np.abs(y), self.bits)
        return y


def lookup(table: np.ndarray, a: np.ndarray, bits: int) -> np.ndarray:
    """The table at a 2^-bits, a >= 0, with linear interpolation; its last entry beyond."""
    shift = bits - 5
    k = np.minimum(a >> shift, 255)
    r = a & ((1 << shift) - 1)
    inside = table[k] + (((table[k + 1] - table[k]) * r + (1 << (shift - 1))) >> shift)
    return np.where(a >> shift > 255, table[256], inside)


def odd(table: np.ndarray, v: np.ndarray, bits: int) -> np.ndarray:
    """An odd function from its table."""
    return np.where(v < 0, -1, 1) * lookup(table, np.abs(v), bits)


def sigmoid(v: np.ndarray) -> np.ndarray:
    y = lookup(SIGMOID, np.abs(v), GATE_BITS)
    return np.where(v < 0, 32768 - y, y)


@dataclass(frozen=True, eq=False)
class FixedNet:
    """The integer network; `x_bits` is f of the features and of an LSTM's output, `cells` that of each cell."""

    student: Student
    weight_bits: int
    x_bits: int
    body: tuple[FixedLayer, ...]
    layers: tuple[FixedLayer, ...]
    cells: tuple[int, ...]

    @property
    def mean(self) -> np.ndarray:
        return self.student.mean.astype(np.float32)

    @property
    def factor(self) -> np.ndarray:
        """Twice the units of a feature, for rounding half away from zero by a truncation."""
        return (2.0 ** (self.x_bits + 1) / self.student.scale).astype(np.float32)

    @property
    def out_bits(self) -> int:
        return self.layers[-1].bits

    def quantize(self, X: np.ndarray) -> np.ndarray:
        """Rows of finite float32 features as integers."""
        v = np.clip((X - self.mean) * self.factor, np.float32(-2 * INT16), np.float32(2 * INT16))
        twice = np.trunc(v).astype(np.int64)
        return np.trunc((twice + np.where(twice < 0, -1, 1)) / 2).astype(np.int64)

    def logits(self, Q: np.ndarray) -> np.ndarray:
        """Last layer's int16 outputs, (n, n_outputs), in units of 2^-out_bits."""
        x = np.asarray(Q, np.int64)
        for k, layer in enumerate(self.body):
            x = self._lstm(layer, x, self.cells[k]) if self.student.kind == "lstm" else self._conv(layer, x)
        if self.body:
            x = self._pool(x)
        for layer in self.layers:
            x = layer(x)
        return x

    def _conv(self, layer: FixedLayer, x: np.ndarray) -> np.ndarray:
        K, T = self.student.kernel_size, x.shape[1]
        left = (K - 1) // 2
        wide = np.pad(x, ((0, 0), (left, K - 1 - left), (0, 0)))
        return layer(np.concatenate([wide[:, j : j + T] for j in range(K)], axis=2))

    def _lstm(self, layer: FixedLayer, x: np.ndarray, bits: int) -> np.ndarray:
        u = len(layer.B) // 4
        h, c = np.zeros((len(x), u), np.int64), np.zeros((len(x), u), np.int64)
        outputs = []
        for t in range(x.shape[1]):
            i, f, g, o = np.split(layer(np.concatenate([x[:, t], h], axis=1)), 4, axis=1)
            grown = (sigmoid(i) * odd(TANH, g, GATE_BITS)) >> (15 - bits)
            c = np.clip((sigmoid(f) * c + grown + 16384) >> 15, -32768, INT16)
            down = 30 - self.x_bits
            h = (sigmoid(o) * odd(TANH, c, bits) + (1 << (down - 1))) >> down
            outputs.append(h)
        return np.stack(outputs, axis=1)

    def _pool(self, x: np.ndarray) -> np.ndarray:
        if self.student.pooling == "mean":
            n = x.shape[1]
            return (x.sum(axis=1) + 32768 * n + n // 2) // n - 32768
        return x[:, -1] if self.student.pooling == "last" else x.max(axis=1)

    def proba(self, Q: np.ndarray) -> np.ndarray:
        """Probabilities as uint16; 32768 is 1."""
        z = self.logits(Q)
        t = ((z.max(axis=1, keepdims=True) - z) * LOG2E) >> 5  # units of 2^-(out_bits + 10)
        n, fraction = t >> (self.out_bits + 10), (t >> self.out_bits) & 1023
        k, r = fraction >> 5, fraction & 31
        e = (POW2[k] * (32 - r) + POW2[k + 1] * r) >> 5
        e = np.where(n > 15, 0, e >> np.minimum(n, 15))
        total = e.sum(axis=1, keepdims=True)
        return ((e * 32768 + (total >> 1)) // total).astype(np.uint16)
