"""Streams against the rules that see all updates at once."""

import tracemalloc

import numpy as np
import pytest

from fastkd import aggregate, reference


def draw(n=20, d=40, dtype=np.float64):
    return np.random.default_rng(2).standard_normal((n, d)).astype(dtype)


def fill(stream, X):
    for x in X:
        stream.add(x)
    return stream


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_one_by_one(dtype):
    X = draw(dtype=dtype)
    whole = aggregate.mean(X)
    result = fill(aggregate.stream("mean"), X).result()
    assert result.dtype == dtype
    rtol = 1e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(result, X.mean(axis=0, dtype=float), rtol=rtol, atol=1e-15)
    for cut in (1, 7, 19):
        parts = fill(aggregate.stream("mean"), X[:cut]).merge(fill(aggregate.stream("mean"), X[cut:]))
        np.testing.assert_allclose(parts.result(), whole, rtol=1e-6, atol=1e-7)
        assert parts.n == 20


@pytest.mark.parametrize("center", [None, np.full(40, 0.25)])
@pytest.mark.parametrize("radius", [0.5, 6.0, 1e9])
def test_clipping_one_by_one(center, radius):
    X = draw()
    X[3] *= 1e200  # whose square overflows
    start = np.zeros(40) if center is None else center
    expected = aggregate.centered_clipping(X, radius, center) if radius > 10 else None
    if expected is None:
        few = X.copy()
        few[3] /= 1e190
        expected = reference.centered_clipping(few, radius, start)
    one = fill(aggregate.stream("centered_clipping", radius=radius, center=center), X[:9])
    other = fill(aggregate.stream("centered_clipping", radius=radius, center=center), X[9:])
    np.testing.assert_allclose(one.merge(other).result(), expected, rtol=1e-9, atol=1e-9)


def test_rules_of_bucket_means():
    X = draw(60)
    X[:2] = 1e6
    stream = fill(aggregate.stream("median", buckets=12, random_state=5), X)
    rng = np.random.default_rng(5)
    places = [int(rng.integers(12)) for _ in X]
    means = [X[[i for i in range(60) if places[i] == k]].mean(axis=0) for k in range(12) if k in places]
    np.testing.assert_allclose(stream.result(), np.median(means, axis=0), rtol=1e-12)
    assert np.abs(stream.result()).max() < 3
    again = fill(aggregate.stream("krum", f=2, buckets=12, random_state=5), X)
    np.testing.assert_allclose(again.result(), np.array(means)[reference.krum(means, 2)], rtol=1e-12)


def test_what_is_not_finite_is_left_out_and_counts():
    X = draw(7)
    X[1, 3], X[4, 0] = np.nan, np.inf
    kept = np.delete(X, [1, 4], axis=0)
    stream = fill(aggregate.stream("mean"), X)
    assert (stream.n, stream.rejected) == (5, 2)
    np.testing.assert_allclose(stream.result(), kept.mean(axis=0), rtol=1e-12)
    with pytest.raises(ValueError, match="3 of 5"):
        fill(aggregate.stream("mean"), [X[0], X[1], X[1], X[1], X[2]]).result()
    with pytest.raises(ValueError, match="f=1 allows fewer"):
        fill(aggregate.stream("trimmed_mean", f=1, buckets=5, random_state=0), X).result()
    with pytest.raises(ValueError, match="too few"):
        aggregate.stream("mean").result()


def test_streams_that_cannot_be():
    for name in ("median", "krum"):
        with pytest.raises(ValueError, match="give buckets"):
            aggregate.stream(name, **({"f": 1} if name == "krum" else {}))
    with pytest.raises(ValueError, match="takes no buckets"):
        aggregate.stream("mean", buckets=3)
    with pytest.raises(ValueError, match="unknown rule"):
        aggregate.stream("medain")
    with pytest.raises(ValueError, match="takes no iterations"):
        aggregate.stream("centered_clipping", radius=1.0, iterations=3)
    with pytest.raises(TypeError, match="radius"):
        aggregate.stream("centered_clipping")
    with pytest.raises(TypeError, match="takes no out"):
        aggregate.stream("mean", out=np.ones(3))
    with pytest.raises(ValueError, match="update 1 has shape"):
        aggregate.stream("mean").add(np.ones(3)).add(np.ones(4))
    with pytest.raises(TypeError, match="one array a client"):
        aggregate.stream("mean").add([np.ones(3), np.ones(2)])
    with pytest.raises(ValueError, match="same rule"):
        aggregate.stream("mean").merge(aggregate.stream("median", buckets=2))
    with pytest.raises(ValueError, match="same parameters"):
        aggregate.stream("centered_clipping", radius=1.0).merge(aggregate.stream("centered_clipping", radius=2.0))


def test_memory_does_not_grow_with_updates():
    d = 50_000
    tracemalloc.start()
    try:
        stream, x = aggregate.stream("mean"), np.ones(d)
        stream.add(x)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            stream.add(x)
        assert tracemalloc.get_traced_memory()[1] - before < 3 * x.nbytes
    finally:
        tracemalloc.stop()
