import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastkd.features import direction_labels, time_split


@given(st.integers(2, 500), st.floats(0.01, 0.99), st.integers(0, 20))
def test_parts_are_in_order_apart_by_the_purge_and_cover_the_rest(n, test_fraction, purge):
    n_test = round(n * test_fraction)
    assume(n_test >= 1 and n - n_test - purge >= 1)
    train, test = time_split(n, test_fraction=test_fraction, purge=purge)
    assert train.dtype == test.dtype == np.int64
    assert train.tolist() == list(range(n - n_test - purge))
    assert test.tolist() == list(range(n - n_test, n))
    assert test[0] - train[-1] == purge + 1


@given(st.integers(1, 5))
def test_with_a_purge_of_the_horizon_no_training_label_depends_on_test_rows(horizon):
    close = 1.0 + np.random.default_rng(0).random(40)
    train, test = time_split(40, purge=horizon)
    changed = close.copy()
    changed[test] = 9.0
    before, after = (direction_labels(c, horizon=horizon)[train] for c in (close, changed))
    assert (before == after).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 10, "test_fraction": 0.0}, "between 0 and 1"),
        ({"n": 10, "test_fraction": 1.0}, "between 0 and 1"),
        ({"n": 10, "test_fraction": float("nan")}, "between 0 and 1"),
        ({"n": 10, "purge": -1}, "purge must not be negative"),
        ({"n": 10, "purge": 7}, "leave 0 training and 3 test rows"),
        ({"n": 1}, "leave 1 training and 0 test rows"),
        ({"n": 0}, "leave 0 training and 0 test rows"),
        ({"n": -5}, "both need at least 1"),
    ],
)
def test_empty_parts_and_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        time_split(**arguments)
