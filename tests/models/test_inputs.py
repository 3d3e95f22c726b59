"""What the estimators take and what they refuse."""

import numpy as np
import pytest

from fastkd.models import MLPClassifier, NotFittedError

X = np.random.default_rng(0).normal(size=(12, 3))
y = np.arange(12) % 3
LOGITS = np.zeros((12, 3))
SOFT = np.full((12, 3), 1 / 3)


def model():
    return MLPClassifier(hidden=(4,), epochs=1, random_state=0)


def spoiled(array, value, at=(4, 1)):
    array = np.array(array, dtype=float)
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (spoiled(X, np.nan), r"X\[4, 1\] = nan"),
        (spoiled(X, np.inf), r"inf"),
        (spoiled(X, 1e300), "too large for float32"),
        (X[:, 0], "Reshape"),
        (X[None], "Reshape"),
        (X[:0], "0 sample"),
        (X[:, :0], "0 feature"),
        (X[:5], "12|5"),
    ],
)
def test_bad_rows(bad, message):
    with pytest.raises(ValueError, match=message):
        model().fit(bad, y)


@pytest.mark.parametrize("bad", [X.astype(complex), X.astype(str), np.full((12, 3), "2020", "M8[s]"), [[{}] * 3] * 12])
def test_rows_that_are_no_numbers(bad):
    with pytest.raises(TypeError):
        model().fit(bad, y)


@pytest.mark.parametrize("bad", [spoiled(X, np.nan), X[:, :2], X[0]])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_logits"])
def test_bad_rows_to_predict(bad, method):
    fitted = model().fit(X, y)
    with pytest.raises(ValueError):
        getattr(fitted, method)(bad)


@pytest.mark.parametrize(
    "bad",
    [y[:5], y + 0.5, spoiled(y, np.nan, 3), np.zeros((12, 2)), ["a", None] * 6, y + 1j, [1, "a"] * 5, X],
)
def test_bad_labels(bad):
    with pytest.raises((ValueError, TypeError)):
        model().fit(X, bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "target y is None"),
        ({"teacher_logits": LOGITS, "soft_labels": SOFT}, "not both"),
        ({"teacher_logits": LOGITS[:5]}, r"\(12, n_classes\)"),
        ({"teacher_logits": LOGITS[:, 0]}, r"\(12, n_classes\)"),
        ({"teacher_logits": spoiled(LOGITS, np.nan)}, "row 4"),
        ({"teacher_logits": spoiled(LOGITS, np.inf)}, "row 4"),
        ({"teacher_logits": spoiled(LOGITS, -np.inf, (4, slice(None)))}, "row 4"),
        ({"soft_labels": 2 * SOFT}, "sums to 2"),
        ({"soft_labels": spoiled(SOFT, -0.1)}, "not negative"),
        ({"soft_labels": spoiled(SOFT, np.nan)}, "finite"),
        ({"y": y, "teacher_logits": np.zeros((12, 2))}, "the teacher has 2"),
        ({"y": y, "sample_weight": np.ones(5)}, "sample_weight"),
        ({"y": y, "sample_weight": -np.ones(12)}, "not negative"),
        ({"y": y, "sample_weight": np.zeros(12)}, "not all zero"),
        ({"y": y, "sample_weight": np.full(12, np.nan)}, "finite"),
        ({"y": y, "classes": [0, 1]}, "not among the classes"),
        ({"teacher_logits": LOGITS, "classes": [2, 1, 0]}, "ascending"),
    ],
)
def test_bad_signals(arguments, message):
    with pytest.raises(ValueError, match=message):
        model().fit(X, **arguments)


def test_a_fit_that_fails_leaves_the_old_one():
    fitted = model().fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(ValueError):
        fitted.fit(X[:, :2], y[:5])
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


def test_before_fit():
    fresh = model()
    for use in (
        lambda: fresh.predict(X),
        lambda: fresh.parameters,
        lambda: fresh.gradient(X, y),
        lambda: fresh.predictor(),
        lambda: fresh.n_parameters,
        lambda: fresh.save("unused"),
    ):
        with pytest.raises(NotFittedError, match="no weights yet"):
            use()


@pytest.mark.parametrize(
    "same",
    [X.tolist(), np.asfortranarray(X), X[::-1][::-1], X.astype(object), np.concatenate([X, X], axis=1)[:, :3]],
    ids=["list", "fortran", "strided", "object", "view"],
)
def test_any_layout_gives_the_same_model(same):
    np.testing.assert_array_equal(model().fit(same, y).parameters, model().fit(X, y).parameters)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({name: X[:, k] for k, name in enumerate(["open", "high", "low"])})
    fitted = model().fit(frame, frames.Series(y))
    assert fitted.feature_names_in_.tolist() == ["open", "high", "low"]
    np.testing.assert_array_equal(fitted.predict_proba(frame), model().fit(X, y).predict_proba(X))
    with pytest.raises(ValueError, match="another order"):
        fitted.predict(frame[["high", "open", "low"]])
    with pytest.raises(ValueError, match="unseen"):
        fitted.predict(frames.DataFrame({"a": [0.0], "high": [0.0], "low": [0.0]}))
    assert not hasattr(fitted.fit(X, y), "feature_names_in_")


def test_labels_of_any_kind():
    for labels in (y.astype(str), y.astype(float), y.astype(object), y.astype(np.uint8), y > 0):
        fitted = model().fit(X, labels)
        assert np.isin(fitted.predict(X), labels).all()
