"""Streams of a sequence predictor: copies and pickles go on from where they were taken, each by itself."""

import copy
import pickle

import numpy as np
import pytest

from fastkd.models import LSTMClassifier

WAYS = [copy.copy, copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))]


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("taken", WAYS, ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_a_stream_goes_on_by_itself(taken, pooling):
    model = LSTMClassifier(5, layers=2, pooling=pooling, random_state=0).initialize((6, 2), 3)
    rows = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    stream = model.predictor(on_nan="raise").stream()
    for row in rows[:3]:
        stream.push(row)
    other = taken(stream)
    before = stream.state
    said = [other.push(row) for row in rows[3:]]
    assert (stream.n_seen, other.n_seen) == (3, 6)
    np.testing.assert_array_equal(stream.state, before)
    np.testing.assert_array_equal([stream.push(row) for row in rows[3:]], said)
    with pytest.raises(ValueError, match="NaN"):
        other.push(np.full(2, np.nan, np.float32))
    stream.reset()
    assert other.n_seen == 6


def test_copies_share_the_weights():
    stream = LSTMClassifier(4, random_state=0).initialize((5, 2), 2).predictor().stream()
    assert copy.deepcopy(stream).predictor is copy.copy(stream).predictor is stream.predictor
