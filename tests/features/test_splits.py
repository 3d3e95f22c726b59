import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastkd.features import WalkForward, direction_labels, time_split, walk_forward


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


@given(
    n=st.integers(150, 300),
    folds=st.integers(1, 7),
    purge=st.integers(0, 5),
    embargo=st.integers(0, 5),
    train_size=st.none() | st.integers(1, 50),
    rolling=st.booleans(),
)
def test_folds_are_in_order_and_apart(n, folds, purge, embargo, train_size, rolling):
    options = {"purge": purge, "embargo": embargo, "train_size": train_size, "rolling": rolling}
    parts = list(walk_forward(n, folds, **options))
    assert len(parts) == folds
    for train, test in parts:
        assert train.dtype == test.dtype == np.int64
        assert test[0] - train[-1] == purge + embargo + 1
        assert (np.diff(train) == 1).all()
        assert len(train) >= (train_size or 1)
        assert len(train) == len(parts[0][0]) if rolling else train[0] == 0
    tests = np.concatenate([test for _, test in parts])
    assert (tests == np.arange(tests[0], n)).all()
    assert len({len(test) for _, test in parts}) == 1


def test_a_rolling_window_keeps_the_length_that_was_asked_for():
    parts = list(walk_forward(100, 4, purge=2, train_size=18, rolling=True))
    assert [(train[0], train[-1], test[0], test[-1]) for train, test in parts] == [
        (0, 17, 20, 39),
        (20, 37, 40, 59),
        (40, 57, 60, 79),
        (60, 77, 80, 99),
    ]


@given(st.integers(1, 5))
def test_no_training_label_of_any_fold_depends_on_its_test_rows(horizon):
    close = 1.0 + np.random.default_rng(0).random(60)
    before = direction_labels(close, horizon=horizon)
    for train, test in walk_forward(60, 3, purge=horizon):
        changed = close.copy()
        changed[test[0] :] = 9.0
        assert (direction_labels(changed, horizon=horizon)[train] == before[train]).all()


def test_scikit_learn_takes_it_as_cv():
    selection = pytest.importorskip("sklearn.model_selection")
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((120, 3)), np.arange(120) % 2
    cv = WalkForward(4, purge=2)
    assert selection.check_cv(cv) is cv
    assert cv.get_n_splits(X, y) == 4
    assert selection.cross_val_score(linear.LogisticRegression(), X, y, cv=cv).shape == (4,)
    grid = selection.GridSearchCV(linear.LogisticRegression(), {"C": [0.1, 1.0]}, cv=walk_forward(120, 4, purge=2))
    assert grid.fit(X, y).n_splits_ == 4
    assert repr(cv) == "WalkForward(4, purge=2, embargo=0, train_size=None, rolling=False)"
    assert all((a == b).all() for a, b in zip(next(cv.split(X)), next(cv.split(range(120)))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 10, "folds": 0}, "folds must be at least 1"),
        ({"n": 10, "purge": -1}, "purge must not be negative"),
        ({"n": 10, "embargo": -1}, "embargo must not be negative"),
        ({"n": 10, "train_size": 0}, "train_size must be at least 1"),
        ({"n": 5, "folds": 5}, "5 rows are too few for 5 folds"),
        ({"n": 10, "folds": 2, "purge": 4}, "too few"),
        ({"n": 10, "folds": 2, "train_size": 9}, "too few"),
        ({"n": 0}, "0 rows are too few"),
    ],
)
def test_bad_folds_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        walk_forward(**arguments)
