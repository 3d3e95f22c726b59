"""Updates from clients that nobody vouches for: what is rejected, what is legal, and what the error says."""

import numpy as np
import pytest

from fastkd import aggregate

WITH_F = {"trimmed_mean": {}, "meamed": {}, "krum": {}, "multi_krum": {}, "bulyan": {}}
WITHOUT_F = {"mean": {}, "median": {}, "geometric_median": {}, "centered_clipping": {"radius": 5.0}}
ROBUST = [r for r in {**WITH_F, **WITHOUT_F} if r != "mean"]


def call(rule, X, f=2, **more):
    options = {"f": f} if rule in WITH_F else WITHOUT_F[rule]
    return getattr(aggregate, rule)(X, **{**options, **more})


def honest(n=11, d=37, dtype=np.float64):
    return np.random.default_rng(3).standard_normal((n, d)).astype(dtype)


@pytest.mark.parametrize("rule", [*WITH_F, *WITHOUT_F])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 20, 36])
def test_updates_that_are_not_finite_are_left_out(each_isa, rule, bad, place):
    X = honest()
    X[4, place] = bad
    result, info = call(rule, X, return_info=True)
    others = np.delete(X, 4, axis=0)
    np.testing.assert_array_equal(result, call(rule, others, f=1))
    assert info.rejected.tolist() == [4]
    assert 4 not in info.selected
    if info.scores is not None:
        assert np.isnan(info.scores[4])
        assert len(info.scores) == 11


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 300])
def test_a_nan_is_seen_at_every_place(each_isa, length):
    for dtype in (np.float32, np.float64):
        for place in {0, length // 2, length - 1}:
            X = np.ones((3, length), dtype)
            X[1, place] = np.nan
            assert aggregate.median(X, return_info=True)[1].rejected.tolist() == [1]


def test_too_many_rejected_are_named():
    X = honest()
    X[[1, 5, 8], 0] = np.nan
    for rule in WITH_F:
        with pytest.raises(ValueError, match=r"3 of 11 updates .*clients 1, 5, 8.*f=2 allows 2"):
            call(rule, X)
    X[[0, 2, 3], 3] = np.inf
    for rule in WITHOUT_F:
        with pytest.raises(ValueError, match=r"6 of 11 updates.*half or more"):
            call(rule, X)
    X[:] = np.nan
    for rule in (*WITH_F, *WITHOUT_F):
        with pytest.raises(ValueError, match="all 11 updates"):
            call(rule, X, f=2)
    with pytest.raises(ValueError, match="half or more"):
        aggregate.median([[1.0], [np.nan]])


def test_rejected_clients_in_scores_and_distances():
    X = honest(7)
    X[2, 1] = np.nan
    D, scores = aggregate.pairwise_sq_distances(X), aggregate.krum_scores(X, 1)
    assert np.isnan(D[2]).all()
    assert np.isnan(D[:, 2]).all()
    assert np.isnan(scores).tolist() == [False, False, True, False, False, False, False]
    assert aggregate.nearest_neighbor_mixing(X, 1).shape == (6, 37)
    assert aggregate.bucketing(X, 2).shape == (3, 37)
    weights = np.arange(1.0, 8)
    kept = np.delete(np.arange(7), 2)
    np.testing.assert_allclose(aggregate.mean(X, weights=weights), np.average(X[kept], axis=0, weights=weights[kept]))


@pytest.mark.parametrize("rule", ROBUST)
@pytest.mark.parametrize("huge", [1e150, 1e160, 1e300, 1.7e308])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_values_neither_win_nor_make_a_nan(each_isa, rule, huge, dtype):
    X = honest(dtype=dtype)
    huge = min(huge, float(np.finfo(dtype).max))
    X[3], X[7] = huge, -huge
    result, info = call(rule, X, return_info=True)
    assert np.isfinite(result).all()
    assert (np.abs(result) < 10).all()
    assert info.rejected.size == 0
    assert not np.isnan(info.gap_to_mean)
    if rule in ("krum", "multi_krum", "bulyan"):
        assert not {3, 7} & set(info.selected.tolist())
    assert np.isfinite(aggregate.nearest_neighbor_mixing(X, 2)).all()


def test_the_largest_numbers_have_a_mean(each_isa):
    for dtype in (np.float32, np.float64):
        top = np.finfo(dtype).max
        for n in (1, 2, 3, 7, 11):
            X = np.full((n, 70), top)
            for rule, f in (("mean", ()), ("median", ()), ("trimmed_mean", (0,)), ("meamed", (0,))):
                result = getattr(aggregate, rule)(X, *f)
                np.testing.assert_allclose(result, top, rtol=1e-6)


@pytest.mark.parametrize("unit", [2.0**530, 2.0**-560])
@pytest.mark.parametrize("far", [2.0**20, 2.0**300])
def test_all_updates_far_from_zero(each_isa, unit, far):
    """Rules find the same where squares of honest updates, too, overflow or underflow: attackers do not win then."""
    X = honest()
    X[0] *= far
    X[1] *= 2.0**15
    for rule in ROBUST:
        options = {"radius": 8.0 * unit} if rule == "centered_clipping" else {}
        expected, near = call(rule, X, return_info=True, **({"radius": 8.0} if options else {}))
        result, info = call(rule, X * unit, return_info=True, **options)
        np.testing.assert_allclose(result / unit, expected, rtol=1e-9, atol=1e-12, err_msg=rule)
        assert (np.abs(expected) < 10).all()
        assert info.selected.tolist() == near.selected.tolist()
        if rule in ("geometric_median", "centered_clipping"):
            np.testing.assert_allclose(info.scores / unit, near.scores, rtol=1e-9)
    mixed = aggregate.nearest_neighbor_mixing(X * unit, 2)
    np.testing.assert_allclose(mixed / unit, aggregate.nearest_neighbor_mixing(X, 2), rtol=1e-12)


def test_one_column_far_from_zero():
    """What overflows in another unit is no distance of 0."""
    X = honest() * 1e-170
    X[:, 0] = 1e200
    X[5] *= -1
    assert 5 not in aggregate.multi_krum(X, 2, 8, return_info=True)[1].selected


@pytest.mark.parametrize("rule", [*WITH_F, *WITHOUT_F])
def test_denormals_and_zeros(each_isa, rule):
    for dtype in (np.float32, np.float64):
        tiny = np.finfo(dtype).smallest_subnormal
        for X in (np.full((11, 9), tiny), np.full((11, 9), -0.0, dtype), np.zeros((11, 9), dtype)):
            result = call(rule, X)
            assert result.dtype == dtype
            assert (np.abs(result) <= tiny).all()


def test_a_median_keeps_denormals(each_isa):
    for dtype in (np.float32, np.float64):
        tiny = np.finfo(dtype).smallest_subnormal
        X = np.array([[1], [2], [6]], dtype) * tiny
        assert aggregate.median(X) == 2 * tiny
        assert aggregate.trimmed_mean(X, 0) == 3 * tiny


@pytest.mark.parametrize("rule", [*WITH_F, *WITHOUT_F])
def test_layouts_and_containers_give_the_same(rule, tmp_path):
    X = honest(dtype=np.float32)
    expected = call(rule, X)
    wide = np.zeros((22, 50), np.float32)
    wide[::2, 5:42] = X
    np.save(tmp_path / "x.npy", X)
    frozen = X.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape)
    alike = {
        "row stride": wide[::2, 5:42],
        "backwards": X[::-1].copy()[::-1],
        "columns backwards": X[:, ::-1].copy()[:, ::-1],
        "Fortran": np.asfortranarray(X),
        "memory map": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "read-only": frozen,
        "unaligned": unaligned,
        "arrays": list(X),
        "tuple": tuple(X),
    }
    for name, given in alike.items():
        result = call(rule, given)
        assert result.tobytes() == expected.tobytes(), name
        assert result.dtype == np.float32, name
        assert type(result) is np.ndarray, name
        assert result.flags.writeable, name
    np.testing.assert_allclose(call(rule, X.tolist()), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(call(rule, X.reshape(11, 37, 1)), expected.reshape(37, 1))
    layers = [[x[:12].reshape(3, 4), x[12:12], x[12:]] for x in X]
    result = call(rule, layers)
    assert [a.shape for a in result] == [(3, 4), (0,), (25,)]
    np.testing.assert_allclose(np.concatenate([a.ravel() for a in result]), expected, rtol=1e-5, atol=1e-6)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    X = honest(dtype=np.float32)
    t = torch.from_numpy(X.copy()).requires_grad_()
    np.testing.assert_array_equal(aggregate.median(t), aggregate.median(X))
    np.testing.assert_array_equal(aggregate.median(list(t)), aggregate.median(X))
    result = aggregate.krum([[row[:7], row[7:]] for row in t], 2)
    np.testing.assert_array_equal(np.concatenate(result), aggregate.krum(X, 2))


def test_half_precision_tensors():
    torch = pytest.importorskip("torch")
    X = honest(dtype=np.float32)
    for dtype, result in ((torch.bfloat16, np.float32), (torch.float16, np.float64)):
        t = torch.from_numpy(X).to(dtype)
        expected = aggregate.median(t.float().numpy().astype(result))
        for given in (t, list(t)):
            np.testing.assert_array_equal(aggregate.median(given), expected)
            assert aggregate.median(given).dtype == result


def test_masked_entries_are_no_numbers():
    X = honest()
    hidden = np.ma.masked_array(X, mask=X > 2)
    with pytest.raises(ValueError, match="updates has masked entries"):
        aggregate.median(hidden)
    with pytest.raises(ValueError, match="client 4 has masked entries"):
        aggregate.median([*X[:4], np.ma.masked_array(X[4], mask=np.arange(37) == 3), *X[5:]])
    np.testing.assert_array_equal(aggregate.median(np.ma.masked_array(X)), aggregate.median(X))


def test_updates_that_can_be_walked_only_once():
    X = honest()
    for given in (iter(X), (x for x in X), dict(enumerate(X)).values(), map(np.asarray, X)):
        np.testing.assert_array_equal(aggregate.krum(given, 2), aggregate.krum(X, 2))


def test_weights_of_rejected_clients_do_not_matter():
    X = honest(4)
    X[2, 5] = np.nan
    weights = np.array([1.0, 2.0, np.nan, 3.0])
    kept = [0, 1, 3]
    np.testing.assert_allclose(aggregate.mean(X, weights=weights), np.average(X[kept], axis=0, weights=weights[kept]))
    for bad in (np.nan, np.inf, -1.0):
        weights[3] = bad
        with pytest.raises(ValueError, match=f"got {bad} for client 3"):
            aggregate.mean(X, weights=weights)
    with pytest.raises(ValueError, match="weights must be 4 numbers"):
        aggregate.mean(X, weights=[1.0, 2.0, 3.0])


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_the_type_of_the_updates():
    X = honest(dtype=np.float32)
    centers = [np.full(37, 1e300), np.full((2, 37), 1e300)[:, ::-1][0], np.full(37, np.nan)]
    if np.finfo(np.longdouble).max > np.finfo(float).max:
        centers.append(np.full(37, np.longdouble("1e400")))
        beyond = honest().astype(np.longdouble)
        beyond[3] = np.longdouble("1e400")
        assert aggregate.median(beyond, return_info=True)[1].rejected.tolist() == [3]
        with pytest.raises(ValueError, match="weights must be finite"):
            aggregate.mean(X, weights=np.full(11, np.longdouble("1e400")))
    for center in centers:
        out = np.zeros(37, np.float32)
        with pytest.raises(ValueError, match="center must be finite, and numbers of float32"):
            aggregate.centered_clipping(X, 1.0, center, out=out)
        assert not out.any()


def test_dtypes():
    X = np.arange(12).reshape(4, 3)
    for dtype in (np.int8, np.int64, np.uint16, np.float16, bool, ">f8"):
        assert aggregate.median(X.astype(dtype)).dtype == np.float64
    assert aggregate.median([np.ones(2, np.float32), np.ones(2, np.float64)]).dtype == np.float64
    for bad in (X.astype(complex), X.astype(object), X.astype(str)):
        with pytest.raises(TypeError, match="updates"):
            aggregate.median(bad)
        with pytest.raises(TypeError, match="client 1"):
            aggregate.median([X[0], bad[1], X[2]])
        with pytest.raises(TypeError, match="client 1, layer 0"):
            aggregate.median([[X[0]], [bad[1]]])
    with pytest.raises(TypeError, match="sequence of arrays"):
        aggregate.median({"a": X})
    with pytest.raises(TypeError, match="sequence of arrays"):
        aggregate.median("text")


def test_shapes_name_the_client():
    good = np.ones(3)
    with pytest.raises(ValueError, match=r"client 2 has shape \(4,\); client 0 has \(3,\)"):
        aggregate.median([good, good, np.ones(4)])
    with pytest.raises(ValueError, match=r"client 1, layer 1, has shape \(1, 3\)"):
        aggregate.median([[good, good], [good, good[None]]])
    with pytest.raises(ValueError, match="client 1 sent 1 layers"):
        aggregate.median([[good, good], [good]])
    with pytest.raises(ValueError, match="client 1 sent one array"):
        aggregate.median([[good], good])
    with pytest.raises(ValueError, match="client 1"):
        aggregate.median([[1.0, 2.0], [[1.0], [2.0, 3.0]]])
    for empty in ([], np.ones((0, 3)), np.ones((3, 0)), [np.ones(0)], [[np.ones(0)]]):
        with pytest.raises(ValueError, match=r"hold no client|empty"):
            aggregate.median(empty)
    with pytest.raises(ValueError, match="n clients, d parameters"):
        aggregate.median(np.ones(3))


@pytest.mark.parametrize("rule", [*WITH_F, *WITHOUT_F])
def test_results_share_no_memory_with_updates_and_leave_them_alone(rule):
    X = honest()
    before = X.copy()
    for n in (1, 11):
        if n == 1 and rule in ("krum", "multi_krum", "bulyan"):
            continue
        result = call(rule, X[:n], f=0)
        assert not np.may_share_memory(result, X)
    mixed = aggregate.nearest_neighbor_mixing(X, 0)
    assert not np.may_share_memory(mixed, X)
    assert not np.may_share_memory(aggregate.bucketing(X, 1), X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("rule", [*WITH_F, *WITHOUT_F])
def test_out(rule):
    X = honest()
    expected = call(rule, X)
    out = np.empty(37)
    assert call(rule, X, out=out) is out
    np.testing.assert_array_equal(out, expected)
    row = X[6]
    assert call(rule, X, out=row) is row  # over one of the updates
    np.testing.assert_array_equal(X[6], expected)
    for bad in (np.empty(36), np.empty(37, np.float32), [0.0] * 37, np.empty(74)[::2]):
        with pytest.raises(ValueError, match="out"):
            call(rule, X, out=bad)
    X = honest()
    out = [np.empty((2, 3)), np.empty(31)]
    assert call(rule, [[x[:6].reshape(2, 3), x[6:]] for x in X], out=out) is out
    # distances summed layer by layer differ in their last bits, and where the search for the median ends with them
    rtol, atol = (1e-9, 1e-10) if rule == "geometric_median" else (1e-12, 1e-13)
    np.testing.assert_allclose(np.concatenate([out[0].ravel(), out[1]]), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("rule", [*WITH_F, *WITHOUT_F])
def test_workers_must_be_a_count(rule):
    for bad, error in ((0, ValueError), (-2, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="workers"):
            call(rule, honest(), workers=bad)
