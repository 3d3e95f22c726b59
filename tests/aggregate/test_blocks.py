"""Updates that come as blocks of columns give the bits of one call, and choices from distances alone are Krum's."""

import numpy as np
import pytest

from fastkd import aggregate, reference

RULES = {
    "mean": {},
    "median": {},
    "trimmed_mean": {"f": 3},
    "meamed": {"f": 3},
    "krum": {"f": 3},
    "multi_krum": {"f": 3, "m": 5},
    "bulyan": {"f": 3},
    "geometric_median": {},
    "centered_clipping": {"radius": 30.0, "center": np.full(2500, 0.1), "iterations": 2},
    "pairwise_sq_distances": {},
    "krum_scores": {"f": 3},
}


def draw(dtype=np.float32, n=15, d=2500):
    return np.random.default_rng(1).standard_normal((n, d)).astype(dtype)


def in_blocks(X, width, walks=None):
    def blocks():
        if walks is not None:
            walks.append(1)
        return (X[:, c : c + width] for c in range(0, X.shape[1], width))

    return blocks


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [False, True])
def test_blocks_of_any_width_give_the_bits_of_the_whole(name, dtype, bad):
    X = draw(dtype)
    if bad:
        X[4, 2200] = np.nan  # in the last block only
    whole = getattr(aggregate, name)(X, **RULES[name])
    for width in (7, 1000, 1024, 2048, 9999):
        walks = []
        got = aggregate.by_blocks(name, in_blocks(X, width, walks), **RULES[name])
        assert got.tobytes() == whole.tobytes(), width
        assert got.dtype == whole.dtype
        if not bad:
            once = name in ("mean", "median", "trimmed_mean", "meamed", "pairwise_sq_distances", "krum_scores")
            assert len(walks) == (1 if once else 4 if name == "centered_clipping" else 2)


def test_blocks_tell_what_a_call_tells(tmp_path):
    X = draw()
    X[2, 1] = np.inf
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    out = np.zeros(2500, np.float32)
    options = {"f": 3, "m": 4, "return_info": True}
    _, info = aggregate.multi_krum(X, **options)
    got, told = aggregate.by_blocks("multi_krum", in_blocks(mapped, 900), out=out, workers=2, **options)
    assert got is out
    assert told.selected.tolist() == info.selected.tolist()
    assert told.rejected.tolist() == [2]
    assert told.gap_to_mean == info.gap_to_mean
    np.testing.assert_array_equal(told.scores, info.scores)


def test_what_is_wrong_with_blocks_is_said():
    X = draw()
    with pytest.raises(ValueError, match="not by_blocks"):
        aggregate.by_blocks("bucketing", in_blocks(X, 100), size=2)
    with pytest.raises(ValueError, match="unknown rule"):
        aggregate.by_blocks("medain", in_blocks(X, 100))
    with pytest.raises(TypeError, match="median takes no f"):
        aggregate.by_blocks("median", in_blocks(X, 100), f=1)
    with pytest.raises(TypeError, match="must be a function"):
        aggregate.by_blocks("median", iter([X]))
    with pytest.raises(ValueError, match="no block"):
        aggregate.by_blocks("median", list)
    with pytest.raises(ValueError, match="block 1 has 14 clients of float32; block 0 15 of float32"):
        aggregate.by_blocks("median", lambda: [X, X[:14]])
    with pytest.raises(ValueError, match="block 1 has 15 clients of float64"):
        aggregate.by_blocks("median", lambda: [X, X.astype(float)])
    with pytest.raises(TypeError, match="block 1: "):
        aggregate.by_blocks("median", lambda: [X, X.astype(complex)])
    with pytest.raises(ValueError, match="must be an array"):
        aggregate.by_blocks("median", lambda: [[[x[:2], x[2:]] for x in X]])
    fewer = iter([2500, 2000])

    def shrinking():
        return [X[:, : next(fewer)]]

    with pytest.raises(ValueError, match="2500 columns at first and 2000 later"):
        aggregate.by_blocks("krum", shrinking, f=3)
    for center in (np.zeros(2499), np.zeros(2501)):
        with pytest.raises(ValueError, match="center must have the shape"):
            aggregate.by_blocks("centered_clipping", in_blocks(X, 1000), radius=1.0, center=center)


@pytest.mark.parametrize("n", [5, 24, 70])
def test_distances_alone_are_enough_to_choose(n):
    X = draw(float, n, 30)
    f = (n - 3) // 2
    D = aggregate.pairwise_sq_distances(X[:, :11]) + aggregate.pairwise_sq_distances(X[:, 11:])
    scores = reference.krum_scores(X, f)
    assert aggregate.krum_choice(D, f).tolist() == [int(np.argmin(scores))]
    assert aggregate.krum_choice(D, f, 3).tolist() == np.sort(np.argsort(scores)[:3]).tolist()
    X[1, 2] = np.nan
    left = np.delete(np.arange(n), 1)
    expected = left[reference.krum(X[left], f - 1)]
    assert aggregate.krum_choice(aggregate.pairwise_sq_distances(X), f).tolist() == [expected]
    before = D.copy()
    aggregate.krum_choice(D, f)
    np.testing.assert_array_equal(D, before)


def test_what_is_no_matrix_of_distances():
    D = reference.sq_distances(draw(float, 7, 5))
    bad = D.copy()
    bad[1, 2] = 3.0
    for wrong in (D[:6], -D, bad, np.where(np.eye(7, k=1), np.nan, D)):
        with pytest.raises(ValueError, match="D must be"):
            aggregate.krum_choice(wrong, 2)
    with pytest.raises(ValueError, match="n >= 2f \\+ 3"):
        aggregate.krum_choice(D, 3)
    with pytest.raises(ValueError, match="m must be at most"):
        aggregate.krum_choice(D, 2, 6)


def test_the_number_of_neighbors_is_the_users():
    X = draw(float, 11, 6)
    D = reference.sq_distances(X)
    for neighbors in (1, 4, 8, 10):
        scores = np.sort(D, axis=1)[:, : neighbors + 1].sum(axis=1)
        np.testing.assert_allclose(aggregate.krum_scores(X, 3, neighbors=neighbors), scores, rtol=1e-13)
        best = int(np.argmin(scores))
        assert aggregate.krum(X, 3, neighbors=neighbors, return_info=True)[1].selected.tolist() == [best]
        assert aggregate.krum_choice(D, 3, neighbors=neighbors).tolist() == [best]
        few = aggregate.multi_krum(X, 3, 4, neighbors=neighbors, return_info=True)[1].selected
        assert few.tolist() == np.sort(np.argsort(scores)[:4]).tolist()
    for wrong in (0, 11):
        with pytest.raises(ValueError, match="neighbors"):
            aggregate.krum(X, 3, neighbors=wrong)


def test_a_default_of_multi_krum_is_said_aloud():
    X = draw(float, 9, 4)
    with pytest.warns(UserWarning, match="give m") as told:
        result = aggregate.multi_krum(X, 2)
    assert told[0].filename == __file__
    np.testing.assert_array_equal(result, aggregate.multi_krum(X, 2, 5))
