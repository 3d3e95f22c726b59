"""LSTM weights of 16 bits: the definition on every instruction set, in windows, batches and streams."""

import struct

import numpy as np
import pytest

from fastkd import reference
from fastkd._core._native import SequenceKernel, SequencePredictorCore, StreamCore

# steps, widths, head sizes, pooling: rows of a layer (inputs + units) even and odd, units around 4, 8 and 16 lanes
SHAPES = [
    (1, (1, 1), (1, 2), "last"),
    (5, (3, 7), (7, 3), "last"),
    (6, (4, 16, 16), (16, 3), "mean"),
    (4, (17, 5, 33), (33, 9, 4), "max"),
    (9, (6, 40), (40, 3), "last"),
    (3, (2, 15, 17), (17, 3), "last"),
]


def network(shape, seed=0):
    steps, widths, sizes, pooling = shape
    kernel = SequenceKernel("lstm", steps, widths, sizes, "tanh", pooling, 1, np.float32)
    params = np.random.default_rng(seed).normal(size=kernel.n_parameters) / np.sqrt(max(*widths, *sizes))
    params[::7] = 0
    params[1::11] *= -(2.0**-60)  # vanish beside the others, but must be rounded as they are
    return kernel, params.astype(np.float32)


def probabilities(kernel, params, X):
    z = reference.sequence_forward(kernel, params, X)
    return reference.softmax(z)


@pytest.mark.parametrize("shape", SHAPES)
def test_windows_batches_and_streams_are_the_definition(each_isa, shape):
    kernel, params = network(shape)
    rounded = reference.with_bfloat16_weights(kernel, params)
    rng = np.random.default_rng(1)
    shift, factor = (rng.uniform(0.5, 2, kernel.input_shape[1]).astype(np.float32) for _ in range(2))
    narrow = SequencePredictorCore(kernel, params, shift, factor, weights="bfloat16")
    assert narrow.weights == "bfloat16"
    for n in (1, 2, 5, 70):
        X = rng.normal(size=(n, *kernel.input_shape)).astype(np.float32)
        want = probabilities(kernel, rounded, (X.astype(float) - shift) * factor)
        np.testing.assert_allclose(narrow(X), want, rtol=0, atol=2e-6)
    stream = StreamCore(narrow)
    for row in X[0]:
        last = stream.push(row)
    np.testing.assert_allclose(last, want[0], rtol=0, atol=2e-6)


def test_rounding_matters_here(each_isa):
    kernel, params = network(SHAPES[4])
    X = np.random.default_rng(1).normal(size=(8, *kernel.input_shape)).astype(np.float32)
    narrow = SequencePredictorCore(kernel, params, weights="bfloat16")
    assert np.abs(narrow(X) - probabilities(kernel, params, X)).max() > 1e-5


@pytest.mark.parametrize(
    ("x", "want"),
    [
        (0.0, 0.0),
        (1.0, 1.0),
        (1.00390625, 1.0),  # 1 + 2^-8: a tie, to the even 1
        (1.01171875, 1.015625),  # 1 + 3 * 2^-8: a tie, to the even 1 + 2^-6
        (-1.0039063692092896, -1.0078125),  # a float32 above the tie
        (np.float32(3.4028235e38), np.inf),
        (3.3895313892515355e38, 3.3895313892515355e38),  # the largest
        (2.0**-133, 2.0**-133),  # the smallest
        (2.0**-134, 0.0),
        (np.inf, np.inf),
    ],
)
def test_rounding_by_hand(x, want):
    assert reference.bfloat16(x) == want


def test_rounding_of_bits():
    """Upper half of a float32, plus one where the lower half is above a half, or a half after an odd upper half."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 4000, dtype=np.uint64)
    bits[:2000] = bits[:2000] & ~np.uint64(0xFFFF) | np.uint64(0x8000)  # ties
    for b in bits.tolist():
        (x,) = struct.unpack("<f", struct.pack("<I", b))
        upper, lower = b >> 16, b & 0xFFFF
        if x != x or upper & 0x7F80 == 0x7F80:
            continue
        upper += lower > 0x8000 or (lower == 0x8000 and upper & 1)
        assert reference.bfloat16(x) == struct.unpack("<f", struct.pack("<I", upper << 16))[0]


def test_packed_rounding_is_that_of_the_definition(each_isa):
    """One unit, one step: only the gates' weights of one input act, so that each kind of number is seen by itself."""
    kernel = SequenceKernel("lstm", 1, (1, 1), (1, 2), "tanh", "last", 1, np.float32)
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=60).astype(np.float32)
    numbers[:20] = (numbers[:20].view(np.uint32) & np.uint32(0xFFFF0000) | np.uint32(0x8000)).view(np.float32)
    for w in numbers:
        params = np.zeros(kernel.n_parameters, np.float32)
        params[[0, 2, 3]] = w, w, 9.0  # input gate, candidate, output gate, of the input
        params[-4:-2] = 50.0, 0.0  # the head's weights
        X = np.ones((1, 1, 1), np.float32)
        got = SequencePredictorCore(kernel, params, weights="bfloat16")(X)
        want = probabilities(kernel, reference.with_bfloat16_weights(kernel, params), X)
        np.testing.assert_allclose(got, want, rtol=0, atol=5e-6)
