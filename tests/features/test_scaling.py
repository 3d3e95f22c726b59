import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastkd.features import MinMaxScaler01, Standardizer

scalers = pytest.mark.parametrize("scaler", [Standardizer(), MinMaxScaler01()], ids=repr)
matrices = arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.floats(-1e6, 1e6))


@given(matrices)
def test_standardized_training_rows_have_mean_0_and_variance_1(X):
    Z = Standardizer().fit_transform(X)
    spread = np.ptp(X, axis=0)
    varied = (spread > 1e-3 * np.abs(X).max(axis=0)) & (spread > 1e-100)  # smaller squares underflow
    np.testing.assert_allclose(Z.mean(axis=0)[varied], 0, atol=1e-9)
    np.testing.assert_allclose(Z.std(axis=0)[varied], 1, rtol=1e-9)
    assert (Z[:, spread == 0] == 0).all()


@given(matrices)
def test_training_rows_fill_0_to_1(X):
    Z = MinMaxScaler01().fit_transform(X)
    varied = np.ptp(X, axis=0) > 1e-200
    assert (Z.min(axis=0) == 0).all()
    assert (Z.max(axis=0)[varied] == 1).all()


@scalers
@given(X=matrices, shift=st.floats(-10, 10))
def test_inverse_undoes_transform_also_outside_the_training_range(scaler, X, shift):
    scaler.fit(X)
    new = X + shift
    tolerance = 1e-12 * (np.abs(X).max() + np.abs(new).max() + 1)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(new)), new, rtol=1e-12, atol=tolerance)


@scalers
def test_float32_stays_float32_and_is_computed_in_float64(scaler):
    rng = np.random.default_rng(0)
    X = (1e4 + rng.random((100, 3))).astype(np.float32)  # a large offset, where float32 means would be poor
    Z = scaler.fit_transform(X)
    assert Z.dtype == np.float32
    assert scaler.inverse_transform(Z).dtype == np.float32
    np.testing.assert_allclose(Z, type(scaler)().fit_transform(X.astype(np.float64)), rtol=1e-6, atol=1e-7)
    assert scaler.fit_transform(np.array([[1, 2], [3, 4]])).dtype == np.float64


@scalers
def test_constant_columns_become_zero_and_later_changes_stay_visible(scaler):
    X = np.full((7, 1), 0.1)
    assert (scaler.fit_transform(X) == 0).all()
    assert scaler.scale_.tolist() == [1.0]
    assert scaler.transform([[1.1]])[0, 0] == pytest.approx(1.0)


@scalers
def test_only_training_rows_count(scaler):
    rng = np.random.default_rng(0)
    train, later = rng.random((50, 2)), rng.random((50, 2)) + 5
    scaler.fit(train)
    offset, scale = scaler.transform([[0.0, 0.0]]), scaler.scale_.copy()
    scaler.transform(later)
    assert (scaler.transform([[0.0, 0.0]]) == offset).all()
    assert (scaler.scale_ == scale).all()
    assert scaler.transform(later).min() > 1


@scalers
def test_sequences_are_scaled_by_feature(scaler):
    X = np.random.default_rng(0).random((5, 4, 3))
    Z = scaler.fit_transform(X)
    np.testing.assert_array_equal(Z, scaler.fit_transform(X.reshape(20, 3)).reshape(5, 4, 3))


@scalers
def test_frames_are_welcome(scaler):
    X = np.random.default_rng(0).random((5, 2))
    expected = scaler.fit_transform(X)
    np.testing.assert_array_equal(scaler.fit_transform(pd.DataFrame(X)), expected)
    np.testing.assert_array_equal(scaler.fit_transform(pl.DataFrame(X)), expected)


@scalers
def test_misuse_is_explained(scaler):
    kind = type(scaler)
    with pytest.raises(ValueError, match=f"this {kind.__name__} is not fitted; call fit"):
        kind().transform([[1.0]])
    with pytest.raises(ValueError, match="row 1, column 0 is nan"):
        kind().fit([[1.0, 2.0], [np.nan, 2.0]])
    with pytest.raises(ValueError, match="row 0, column 1 is inf"):
        kind().fit([[1.0, np.inf]])
    with pytest.raises(ValueError, match=r"empty array; got shape \(0, 2\)"):
        kind().fit(np.empty((0, 2)))
    with pytest.raises(ValueError, match=r"fitted on 2 columns; got shape \(1, 3\)"):
        kind().fit([[1.0, 2.0]]).transform([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="expected shape"):
        kind().fit([1.0, 2.0])
    with pytest.raises(TypeError, match="real numbers"):
        kind().fit([["a"]])


@scalers
def test_unknown_values_stay_unknown(scaler):
    Z = scaler.fit([[0.0, 0.0], [1.0, 1.0]]).transform([[np.nan, 1.0]])
    assert np.isnan(Z).tolist() == [[True, False]]


@scalers
def test_scikit_learn_can_clone_and_chain(scaler):
    base = pytest.importorskip("sklearn.base")
    fresh = base.clone(scaler)
    assert type(fresh) is type(scaler)
    assert not hasattr(fresh, "scale_")
    assert scaler.get_params() == {}
    assert scaler.set_params() is scaler
    with pytest.raises(ValueError, match="no parameters; got clip"):
        scaler.set_params(clip=True)


def test_standardizer_agrees_with_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    X = np.random.default_rng(0).normal(3, 5, (200, 4))
    expected = preprocessing.StandardScaler().fit_transform(X)
    np.testing.assert_allclose(Standardizer().fit_transform(X), expected, rtol=1e-12, atol=1e-13)
