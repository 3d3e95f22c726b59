"""Rules against their definitions, on every instruction set, and the laws they obey."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastkd import aggregate, reference
from fastkd.aggregate import distances, finish, threads

SIZES = (1, 2, 3, 5, 16, 17, 33, 64, 65, 200)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# rules with options for n = 17 updates
NAMED = {
    "mean": {},
    "median": {},
    "trimmed_mean": {"f": 3},
    "meamed": {"f": 3},
    "krum": {"f": 3},
    "multi_krum": {"f": 3},
    "bulyan": {"f": 3},
    "geometric_median": {},
    "centered_clipping": {"radius": 2.0},
}


def draw(n, d, dtype=np.float64, seed=0):
    return np.random.default_rng([seed, n, d]).standard_normal((n, d)).astype(dtype)


def close(a, b, dtype, scale=1.0):
    np.testing.assert_allclose(a, b, rtol=2e-7 if dtype == np.float32 else 1e-13, atol=1e-14 * scale)


def columns(dtype, min_n=1, max_n=20):
    width = 32 if dtype == np.float32 else 64
    entries = st.one_of(
        st.floats(-3, 3, width=width),
        st.floats(allow_nan=False, allow_infinity=False, width=width),
        st.sampled_from([0.0, -0.0, 1.0, 2.0]),
    )
    shape = st.tuples(st.integers(min_n, max_n), st.integers(1, 9))
    return shape.flatmap(lambda s: arrays(dtype, s, elements=entries))


def always_threads(monkeypatch):
    monkeypatch.setattr(distances, "THREADS_FROM", 0)
    monkeypatch.setattr(threads, "FROM", 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [*SIZES, 1000])
def test_rules_by_coordinate_equal_their_definitions(each_isa, n, dtype):
    X = draw(n, 70 if n < 1000 else 9, dtype)
    f = (n - 1) // 2
    close(aggregate.median(X), reference.median(X), dtype)
    close(aggregate.mean(X), X.mean(axis=0, dtype=float), dtype)
    for g in {0, f // 2, f}:
        close(aggregate.trimmed_mean(X, g), reference.trimmed_mean(X, g), dtype)
        close(aggregate.meamed(X, g), reference.mean_near_median(X, n - g), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [n for n in SIZES if n >= 3])
def test_rules_by_distance_equal_their_definitions(each_isa, n, dtype):
    X = draw(n, 41, dtype)
    np.testing.assert_allclose(aggregate.pairwise_sq_distances(X), reference.sq_distances(X), rtol=1e-13)
    for f in {0, (n - 3) // 2}:
        np.testing.assert_allclose(aggregate.krum_scores(X, f), reference.krum_scores(X, f), rtol=1e-13)
        np.testing.assert_array_equal(aggregate.krum(X, f), X[reference.krum(X, f)])
        close(aggregate.multi_krum(X, f), reference.multi_krum(X, f, n - f - 2), dtype)
        close(aggregate.nearest_neighbor_mixing(X, f), reference.nearest_neighbor_mixing(X, f), dtype)
    if n <= 65:
        f = (n - 3) // 4
        close(aggregate.bulyan(X, f), reference.bulyan(X, f), dtype)


@pytest.mark.parametrize("d", [1, 3, 4, 7, 8, 9, 31, 63, 64, 65, 1023, 1024, 1025, 3000])
def test_every_length_of_update(each_isa, d):
    for dtype in (np.float32, np.float64):
        X = draw(6, d, dtype)
        np.testing.assert_allclose(aggregate.pairwise_sq_distances(X), reference.sq_distances(X), rtol=1e-13)
        close(aggregate.median(X), reference.median(X), dtype)
        close(aggregate.mean(X), X.mean(axis=0, dtype=float), dtype)


@quick
@given(st.data())
def test_order_statistics_of_edge_values(each_isa, data):
    X = data.draw(columns(data.draw(st.sampled_from([np.float32, np.float64]))))
    f = data.draw(st.integers(0, (len(X) - 1) // 2))
    with np.errstate(all="ignore"):
        scale = np.abs(X).max(axis=0).astype(float)
        exact = np.sort(X.astype(np.longdouble), axis=0)[f : len(X) - f].mean(axis=0)
        close(aggregate.median(X), reference.median(X).astype(X.dtype), X.dtype)
        error = np.abs(aggregate.trimmed_mean(X, f) - exact)
        low, high = np.sort(X, axis=0)[[f, len(X) - 1 - f]]
        rounding = np.finfo(X.dtype).eps * np.abs(exact) + np.finfo(X.dtype).smallest_subnormal
        assert (error <= 1e-15 * len(X) * scale + rounding).all()
        result = aggregate.trimmed_mean(X, f)
        assert np.isfinite(result).all()
        slack = np.finfo(X.dtype).eps * 4 * np.maximum(np.abs(low), np.abs(high))
        assert (result >= low - slack).all()
        assert (result <= high + slack).all()


@quick
@given(
    X=arrays(np.float64, st.tuples(st.integers(1, 13), st.just(5)), elements=st.integers(-4, 4).map(float)),
    share=st.floats(0, 1),
)
def test_values_equally_near_the_median_go_to_the_lower(each_isa, X, share):
    f = int(share * ((len(X) - 1) // 2))
    expected = reference.mean_near_median(X, len(X) - f)
    np.testing.assert_allclose(aggregate.meamed(X, f), expected, rtol=1e-14, atol=1e-15)


def test_ties_of_krum_go_to_the_lower_index(each_isa):
    X = np.zeros((7, 3))
    _, info = aggregate.krum(X, 2, return_info=True)
    assert info.selected.tolist() == [0]
    X = np.array([[5.0], [1.0], [0.0], [-1.0], [-5.0]])
    assert aggregate.multi_krum(X, 0, 1, return_info=True)[1].selected.tolist() == [1]


ROUGH = ("geometric_median", np.float32)  # its weights come from distances in float32


@pytest.mark.parametrize(
    ("rule", "dtype"), [(r, t) for r in NAMED for t in (np.float32, np.float64) if (r, t) != ROUGH]
)
def test_same_bits_on_every_instruction_set_and_with_any_workers(on_all_isas, rule, dtype, monkeypatch):
    always_threads(monkeypatch)
    X = draw(17, 40000, dtype) + np.float32(3)
    call = aggregate.get(rule, **NAMED[rule])
    results = on_all_isas(lambda: call(X)) + on_all_isas(lambda: call(X, workers=3)) + [call(X, workers=-1)]
    for result in results[1:]:
        assert result.tobytes() == results[0].tobytes()


def test_geometric_median_of_float32_updates(on_all_isas, monkeypatch):
    always_threads(monkeypatch)
    X = draw(17, 40000, np.float32) + np.float32(3)
    exact = aggregate.geometric_median(X.astype(np.float64))
    least = reference.sum_of_distances(X, exact)
    for y in on_all_isas(lambda: aggregate.geometric_median(X)):
        np.testing.assert_allclose(y, exact, rtol=1e-6)
        assert reference.sum_of_distances(X, y) <= least * (1 + 1e-9)
    assert aggregate.geometric_median(X, workers=3).tobytes() == aggregate.geometric_median(X).tobytes()
    far = X.copy()
    far[:5] *= 1e4  # whose angles float32 would lose
    exact = aggregate.geometric_median(far.astype(np.float64))
    for y in on_all_isas(lambda: aggregate.geometric_median(far)):
        np.testing.assert_allclose(y, exact, rtol=1e-6)


def test_distances_have_the_same_bits_everywhere(on_all_isas, monkeypatch):
    always_threads(monkeypatch)
    X = draw(18, 5000, np.float32)
    results = on_all_isas(lambda: aggregate.pairwise_sq_distances(X))
    results += on_all_isas(lambda: aggregate.pairwise_sq_distances(X, workers=4))
    assert len({D.tobytes() for D in results}) == 1


@pytest.mark.parametrize("rule", NAMED)
def test_order_of_clients_does_not_matter(rule):
    X = draw(17, 50)
    call = aggregate.get(rule, **NAMED[rule])
    permuted = X[np.random.default_rng(1).permutation(17)]
    np.testing.assert_allclose(call(permuted), call(X), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rule", [r for r in NAMED if r != "centered_clipping"])
def test_rules_move_and_scale_with_their_updates(rule):
    X = draw(17, 50)
    call, shift = aggregate.get(rule, **NAMED[rule]), np.arange(50.0)
    np.testing.assert_allclose(call(X + shift), call(X) + shift, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(call(X * 1024), call(X) * 1024, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("rule", NAMED)
def test_updates_that_agree_are_returned(rule):
    X = np.tile(np.array([1.5, -2.0, 0.25]), (17, 1))
    parameters = {**NAMED[rule], **({"radius": 10.0} if rule == "centered_clipping" else {})}
    np.testing.assert_allclose(aggregate.get(rule, **parameters)(X), X[0], rtol=1e-15)


def test_krum_picks_as_float64_does_under_a_common_offset(each_isa):
    """Updates near 30 that differ by 1e-3: norms and products in float32 would choose at random."""
    wrong = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        X = 30 + 1e-3 * rng.standard_normal((20, 100))
        X[14:] += 2e-3 * rng.standard_normal((6, 100))
        X = X.astype(np.float32)
        info = aggregate.krum(X, 6, return_info=True)[1]
        wrong += int(info.selected[0]) != reference.krum(X, 6) or info.selected[0] >= 14
    assert wrong == 0


@pytest.mark.parametrize(("n", "d"), [(2, 3), (3, 2), (5, 1), (8, 3), (17, 50), (40, 5)])
def test_geometric_median_is_the_minimum(each_isa, n, d):
    for seed in range(5):
        X = draw(n, d, seed=seed)
        y = aggregate.geometric_median(X)
        best = min(
            reference.sum_of_distances(X, reference.geometric_median(X, 2000)),
            *(reference.sum_of_distances(X, x) for x in X),
        )
        assert reference.sum_of_distances(X, y) <= best * (1 + 1e-10)


def test_geometric_median_at_an_update_is_that_update():
    X = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [5.0, 1.0], [-3.0, 9.0]])
    np.testing.assert_array_equal(aggregate.geometric_median(X), X[0])


@pytest.mark.parametrize(("each", "spread"), [(5, 1e-6), (5, 1e-3), (100, 1e-3)])
def test_geometric_median_between_two_equal_crowds(each, spread):
    """Weiszfeld's own steps are a millionth of the way there. By symmetry the median is the center."""
    crowd = spread * draw(each, 20)
    X = np.vstack([crowd, 5 - crowd])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = aggregate.geometric_median(X, max_iterations=200)
    assert reference.sum_of_distances(X, y) <= reference.sum_of_distances(X, np.full(20, 2.5)) * (1 + 1e-10)


def test_geometric_median_says_when_it_did_not_arrive():
    X = draw(17, 50)
    with pytest.warns(RuntimeWarning, match="max_iterations=3") as told:
        y = aggregate.geometric_median(X, max_iterations=3)
    assert len(told) == 1
    assert told[0].filename == __file__
    np.testing.assert_allclose(y, aggregate.geometric_median(X), atol=0.1)


@pytest.mark.parametrize("far", [1e3, 1e5, 1e8])
def test_geometric_median_feels_the_direction_not_the_distance(far):
    """For a client far away only its direction matters, and near ones keep their digits."""
    X = draw(9, 4)
    X[8] = [far, 0, 0, 0]
    near = X.copy()
    near[8] = [1e6, 0, 0, 0]
    np.testing.assert_allclose(aggregate.geometric_median(X), aggregate.geometric_median(near), atol=5e-3)


@pytest.mark.parametrize("far", [1e12, 1e100, 1e150])
def test_geometric_median_stays_near_the_many(far):
    """The direction of a client too far for its angles to be known counts as orthogonal to the others'."""
    X = draw(9, 4)
    X[8] = [far, 0, 0, 0]
    y = aggregate.geometric_median(X)
    assert np.linalg.norm(y - aggregate.geometric_median(X[:8])) < 0.5


@pytest.mark.parametrize("radius", [0.1, 3.0, 1e6])
def test_centered_clipping_equals_its_definition(each_isa, radius):
    X = draw(9, 30)
    for center in (np.zeros(30), X[0]):
        expected = reference.centered_clipping(X, radius, center)
        np.testing.assert_allclose(aggregate.centered_clipping(X, radius, center), expected, rtol=1e-12, atol=1e-13)
    twice = reference.centered_clipping(X, radius, reference.centered_clipping(X, radius, np.zeros(30)))
    np.testing.assert_allclose(aggregate.centered_clipping(X, radius, iterations=2), twice, rtol=1e-12, atol=1e-13)


def test_mean_and_bucketing_by_hand():
    X = np.array([[1.0, 2.0], [3.0, 6.0], [5.0, 1.0]])
    np.testing.assert_array_equal(aggregate.mean(X, weights=[1, 1, 0]), [2, 4])
    np.testing.assert_array_equal(aggregate.bucketing(X, 2), [[2, 4], [5, 1]])
    shuffled = aggregate.bucketing(X, 1, random_state=4)
    assert sorted(map(tuple, shuffled)) == sorted(map(tuple, X))


def test_the_gap_of_the_mean_takes_no_pass(monkeypatch):
    monkeypatch.setattr(finish, "_gap", None)
    for X in (draw(11, 20), draw(11, 20, np.float32), list(draw(11, 20))):
        assert aggregate.mean(X, return_info=True)[1].gap_to_mean == 0


def test_what_is_told_beside_the_result():
    X = draw(11, 20)
    X[3] += 100
    result, info = aggregate.multi_krum(X, 2, return_info=True)
    assert 3 not in info.selected
    assert len(info.selected) == 7
    assert info.rejected.size == 0
    np.testing.assert_allclose(info.scores, reference.krum_scores(X, 2))
    np.testing.assert_allclose(info.gap_to_mean, np.linalg.norm(result - X.mean(axis=0)))
    result, info = aggregate.mean(X, weights=[2, *[1] * 10], return_info=True)
    np.testing.assert_allclose(info.gap_to_mean, np.linalg.norm(result - X.mean(axis=0)))
    start = np.full(20, 0.5)
    scores = aggregate.centered_clipping(X, 1.0, start, return_info=True)[1].scores
    np.testing.assert_allclose(scores, np.linalg.norm(X - start, axis=1))
    assert aggregate.median(X, return_info=True)[1].scores is None
    same = np.vstack([np.zeros((6, 20)), X[6:]])  # whose geometric median is one update: no choice among clients
    assert aggregate.geometric_median(same, return_info=True)[1].selected.tolist() == list(range(11))


@pytest.mark.parametrize(
    ("rule", "n", "f", "paper"),
    [
        ("krum", 6, 2, "Blanchard"),
        ("multi_krum", 6, 2, "Blanchard"),
        ("bulyan", 10, 2, "El Mhamdi"),
        ("trimmed_mean", 4, 2, "Yin"),
    ],
)
def test_bounds_on_f_name_the_paper(rule, n, f, paper):
    call = getattr(aggregate, rule)
    with pytest.raises(ValueError, match=paper):
        call(draw(n, 3), f)
    call(draw(n + 1, 3), f)
    with pytest.raises(ValueError, match="f must be >= 0"):
        call(draw(n, 3), -1)
    with pytest.raises(TypeError, match="integer"):
        call(draw(n, 3), 1.5)


def test_names_of_the_chapter_and_get():
    X = draw(7, 4)
    np.testing.assert_array_equal(aggregate.krum_aggregate(X, 2), aggregate.krum(X, 2))
    np.testing.assert_array_equal(aggregate.trimmed_mean_aggregate(X, 2), aggregate.trimmed_mean(X, 2))
    np.testing.assert_array_equal(aggregate.median_aggregate(X), aggregate.median(X))
    np.testing.assert_array_equal(aggregate.get("multi_krum", f=2, m=2)(X), aggregate.multi_krum(X, 2, 2))
    with pytest.raises(ValueError, match="unknown rule"):
        aggregate.get("medain")
    with pytest.raises(TypeError, match="takes no g"):
        aggregate.get("krum", g=2)
