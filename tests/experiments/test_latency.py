"""The clock times what it says, in turn; the NumPy network is the network."""

import gc

import numpy as np
import pytest

from fastkd.experiments.latency import measure_pair, numpy_forward


def test_both_are_called_in_turn_on_the_same_rows():
    order = []

    def ours(x, out=None):
        order.append(("ours", id(x), gc.isenabled()))
        return np.zeros(3)

    def theirs(x):
        order.append(("theirs", id(x), gc.isenabled()))

    rows = np.zeros(4)
    first, second = measure_pair(ours, theirs, rows, calls=5)
    assert [name for name, _, _ in order[-10:]] == ["ours", "theirs"] * 5
    assert {address for _, address, _ in order} == {id(rows)}
    assert not any(collecting for _, _, collecting in order[-10:])
    assert gc.isenabled()
    assert (first.what, first.rows, first.calls) == ("fastkd", 1, 5)
    assert 0 <= second.p50 <= second.p99 <= second.p999


def test_garbage_collection_comes_back_after_an_error():
    calls = []

    def fails_later(x, out=None):
        calls.append(1)
        if len(calls) > 4:
            raise RuntimeError
        return x

    with pytest.raises(RuntimeError):
        measure_pair(fails_later, lambda x: x, np.zeros((2, 1)), calls=3)
    assert gc.isenabled()


def test_numpy_network_by_hand():
    # 2 -> 1 -> 2: hidden relu(1*x0 - 2*x1 + 1); logits (h, 0)
    forward = numpy_forward((2, 1, 2), np.array([1.0, -2.0, 1.0, 1.0, 0.0, 0.0, 0.0]))
    assert forward(np.array([1.0, 1.0])) == pytest.approx([0.5, 0.5])
    e = np.exp(2.0)
    expected = np.array([[e / (e + 1), 1 / (e + 1)], [0.5, 0.5]])
    assert forward(np.array([[1.0, 0.0], [0.0, 9.0]])) == pytest.approx(expected)


def test_numpy_network_counts_its_parameters():
    with pytest.raises(ValueError, match="has 7 parameters; got 8"):
        numpy_forward((2, 1, 2), np.zeros(8))
