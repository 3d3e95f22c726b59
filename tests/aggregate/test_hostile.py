"""Every rule against its definition and its promise while up to f clients send whatever they like."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd import aggregate, reference
from fastkd.aggregate import distances, threads

RULES = ("mean", "median", "trimmed_mean", "meamed", "krum", "multi_krum", "bulyan", "geometric_median")
WITH_F = {"trimmed_mean", "meamed", "krum", "multi_krum", "bulyan"}
RADIUS = 3.0
KINDS = ("nan", "inf", "-inf", "huge", "-huge", "largest", "far", "denormal", "-0.0", "copy")
quick = settings(max_examples=50, deadline=None)


@st.composite
def rounds(draw):
    """(updates, honest clients, rejected clients, f) with at most f hostile clients, n >= 4f + 3."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    f, d = draw(st.integers(0, 3)), draw(st.integers(1, 9))
    n = draw(st.integers(4 * f + 3, 4 * f + 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = (rng.standard_normal((n, d)) + draw(st.sampled_from([0.0, 0.0, 100.0]))).astype(dtype)
    if draw(st.sampled_from([False, False, False, True])):
        X[:] = X[0]  # all honest clients agree
    hostile = draw(st.lists(st.sampled_from(KINDS), max_size=f))
    at = rng.permutation(n)
    honest = np.sort(at[len(hostile) :])
    limits = np.finfo(dtype)
    huge = min(1e300, float(limits.max) / 4)
    whole = {"huge": huge, "-huge": -huge, "largest": limits.max, "denormal": limits.smallest_subnormal, "-0.0": -0.0}
    rejected = []
    for i, kind in zip(at, hostile):
        if kind in whole:
            X[i] = whole[kind]
        elif kind == "copy":
            X[i] = X[honest[0]]
        elif kind == "far":
            X[i] *= 1e6
        else:
            X[i, rng.integers(d)] = float(kind)
            rejected.append(int(i))
    return X, honest, sorted(rejected), f


def call(rule, X, f, **more):
    options = {"f": f} if rule in WITH_F else {"radius": RADIUS} if rule == "centered_clipping" else {}
    return getattr(aggregate, rule)(X, **options, **more)


def expected(rule, usable, f):
    """The definition in float64, None where it would itself overflow."""
    if rule == "mean":
        return (usable.astype(float) / len(usable)).sum(axis=0)
    if rule == "krum":
        return usable[reference.krum(usable, f)]
    if rule == "multi_krum":
        return reference.multi_krum(usable, f, len(usable) - f - 2)
    if rule == "centered_clipping":  # only the direction of those counts whose squares overflow
        top = np.abs(usable).max(axis=1, keepdims=True).astype(float)
        usable = usable * np.minimum(1e100 / np.maximum(top, 1.0), 1.0)
        return reference.centered_clipping(usable, RADIUS, np.zeros(usable.shape[1]))
    if rule == "meamed":
        return reference.mean_near_median(usable, len(usable) - f)
    return {"median": reference.median, "trimmed_mean": reference.trimmed_mean, "bulyan": reference.bulyan}[rule](
        usable, *([f] if rule in WITH_F else [])
    )


@quick
@given(rounds())
def test_every_rule(drawn):
    X, honest, rejected, f = drawn
    before = X.tobytes()
    usable = np.delete(X, rejected, axis=0)
    left = f - len(rejected)
    for rule in (*RULES, "centered_clipping"):
        result, info = call(rule, X, f, return_info=True)
        assert result.dtype == X.dtype, rule
        assert result.shape == X[0].shape, rule
        assert np.isfinite(result).all(), rule
        assert info.rejected.tolist() == rejected, rule
        assert not set(rejected) & set(info.selected.tolist()), rule
        assert X.tobytes() == before, rule
        assert not np.may_share_memory(result, X), rule
        with mock.patch.object(distances, "THREADS_FROM", 0), mock.patch.object(threads, "FROM", 0):
            assert call(rule, X, f, workers=2).tobytes() == result.tobytes(), rule
        if rule == "geometric_median":
            require_geometric_median(result, usable, X[honest])
            continue
        kept = usable if rule in ("mean", "meamed") else X[honest]
        rounding = 8 * np.finfo(X.dtype).eps * float(np.abs(kept).max() + RADIUS)
        np.testing.assert_allclose(result, expected(rule, usable, left), rtol=1e-6, atol=rounding, err_msg=rule)
        if rule in ("median", "trimmed_mean"):
            low, high = X[honest].min(axis=0), X[honest].max(axis=0)
            slack = len(X) * np.finfo(X.dtype).eps
            assert (result >= low - slack * np.abs(low)).all(), rule
            assert (result <= high + slack * np.abs(high)).all(), rule


def require_geometric_median(y, usable, honest):
    """Nearly the least sum of distances; and while less than half lie, bounded by the honest updates."""
    y, honest = y.astype(float), honest.astype(float)
    spread = np.linalg.norm(honest - honest[0], axis=1).max()
    share = 2 * len(honest) / (2 * len(honest) - len(usable))
    rounding = 1e-6 * (np.abs(honest).max() + spread)
    assert np.linalg.norm(y - honest[0]) <= share * spread + rounding
    if np.abs(usable).max() < 1e3:
        least = min(reference.sum_of_distances(usable, x) for x in (*usable, reference.geometric_median(usable, 200)))
        assert reference.sum_of_distances(usable, y) <= least * (1 + 1e-8) + rounding * len(usable)


@quick
@given(rounds())
def test_nearest_neighbor_mixing(drawn):
    X, honest, rejected, f = drawn
    before = X.tobytes()
    usable = np.delete(X, rejected, axis=0)
    mixed = aggregate.nearest_neighbor_mixing(X, f)
    assert mixed.shape == usable.shape
    assert np.isfinite(mixed).all()
    assert X.tobytes() == before
    with np.errstate(over="ignore"):
        definition = reference.nearest_neighbor_mixing(usable, f - len(rejected))
    places = np.searchsorted(np.setdiff1d(np.arange(len(X)), rejected), honest)
    rounding = 8 * np.finfo(X.dtype).eps * float(np.abs(X[honest]).max())
    np.testing.assert_allclose(mixed[places], definition[places], rtol=1e-6, atol=rounding)


@quick
@given(rounds(), st.data())
def test_a_wrong_shape_is_named(drawn, data):
    X, _, _, f = drawn
    rows = list(X)
    i = data.draw(st.integers(1, len(X) - 1))
    rows[i] = data.draw(st.sampled_from([np.append(rows[i], 1.0), rows[i][None], rows[i][:0], np.float64(1.0)]))
    for rule in (*RULES, "centered_clipping"):
        with pytest.raises(ValueError, match=f"client {i} has shape"):
            call(rule, rows, f)
