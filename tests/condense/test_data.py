"""Where rows come from, bad input, interrupts, checkpoints, files."""

import numpy as np
import pytest

from fastkd.condense import Condensed, condense, parquet_blocks
from fastkd.condense.rows import BLOCK, Rows, open_rows, read_targets, rows_of_groups


def stream(X, y, size=37):
    return ((X[i : i + size], y[i : i + size]) for i in range(0, len(X), size))


def test_a_stream_is_sampled_evenly():
    X = np.arange(3000.0)[:, None] + [0, 1]
    y = np.arange(3000) % 3
    means = []
    for seed in range(20):
        rows = open_rows(stream(X, y), None, pool=50, rng=np.random.default_rng(seed))
        assert rows.counts.tolist() == [1000, 1000, 1000]
        assert [len(i) for i in rows.index] == [50, 50, 50]
        for g in range(3):
            assert (rows.X[rows.index[g], 0] % 3 == g).all()
        means.append(rows.X[:, 0].mean())
    assert abs(np.mean(means) - 1500) < 4 * 866 / np.sqrt(150 * 20)


def test_a_stream_gives_what_the_array_gives(blobs):
    X, y = blobs
    small = condense(lambda: stream(X, y), method="centroids", per_class=1, random_state=0)
    np.testing.assert_allclose(small.X, condense(X, y, method="centroids", per_class=1).X, rtol=1e-6)
    assert small.info["rows_seen"] == 600
    assert small.info["stream"]


@pytest.mark.parametrize("method", ["gradient_matching", "random"])
def test_a_memory_map_gives_what_the_array_gives(blobs, tmp_path, method):
    X, y = blobs
    X = X.astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    options = {"iterations": 5, "learning_rate": 0.01} if method == "gradient_matching" else {}
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    a, b = (condense(data, y, method=method, per_class=2, random_state=0, **options) for data in (X, mapped))
    np.testing.assert_array_equal(a.X, b.X)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("random", {}),
        ("centroids", {"pool": 1000}),
        ("gradient_matching", {"iterations": 3, "learning_rate": 0.01}),
        ("distribution_matching", {"iterations": 3, "learning_rate": 0.01, "init": "noise"}),
        ("linear_sketch", {}),
    ],
)
def test_a_large_memory_map_is_never_read_whole(tmp_path, method, options):
    import tracemalloc

    n = 500_000
    X = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(n, 6))
    X[:: n // 1000] = np.random.default_rng(0).normal(size=(1000, 6))
    y = (np.arange(n) % 3).astype(np.int8)
    tracemalloc.start()
    condense(X, y, method=method, per_class=5, random_state=0, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = 0 if method == "linear_sketch" else 5 * n  # a code and a row number a row
    assert peak < kept + 4_000_000


@pytest.mark.parametrize("n_groups", [2, 300])
def test_rows_of_groups_are_those_of_a_search(n_groups):
    codes = np.random.default_rng(0).integers(0, n_groups - 1, 2 * BLOCK + 5).astype(np.uint16)  # the last is empty
    index = rows_of_groups(codes, n_groups)
    for g in (0, 1, n_groups - 2, n_groups - 1):
        assert index[g].tolist() == np.flatnonzero(codes == g).tolist()


def test_labels_of_late_blocks_count():
    n = BLOCK + 10
    labels = np.array(["up"] * n)
    labels[-3:] = "no"
    codes, classes = read_targets(labels, n)
    assert classes.tolist() == ["no", "up"]
    assert codes[:-3].min() == 1
    assert codes[-3:].tolist() == [0, 0, 0]
    values = np.zeros(n)
    values[-1] = 0.5
    assert read_targets(values, n)[1] is None
    values[-1] = np.nan
    with pytest.raises(ValueError, match="y must be finite"):
        read_targets(values, n)
    with pytest.raises(ValueError, match="more than 1000 different labels"):
        read_targets(np.arange(n), n)


def test_parquet(blobs, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    X, y = blobs
    pq.write_table(pa.table({**{f"f{i}": X[:, i] for i in range(4)}, "label": y}), tmp_path / "rows.parquet")
    blocks = parquet_blocks(tmp_path / "rows.parquet", [f"f{i}" for i in range(4)], "label", size=100)
    small = condense(blocks, method="centroids", per_class=1)
    np.testing.assert_allclose(small.X, [X[y == c].mean(axis=0) for c in range(3)], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per_class": 0}, "per_class must be"),
        ({"per_class": 2.0}, "per_class must be"),
        ({"per_class": 300}, "has 200 rows, fewer than per_class=300"),
        ({"method": "magic"}, "method must be one of"),
        ({"steps": 3}, "gradient_matching has no option 'steps'; it has outer|has no option"),
        ({"method": "random", "steps": 3}, "random has no option 'steps'"),
        ({"distance": "cosine"}, "distance must be one of"),
        ({"init": "zeros"}, "init must be"),
        ({"model": "forest"}, "model must be one of"),
        ({"learning_rate": -1.0}, "learning_rate must be"),
        ({"class_weights": "balanced"}, "class_weights must be"),
    ],
)
def test_bad_options(blobs, change, message):
    options = {"iterations": 2, "learning_rate": 0.1, "per_class": 2} | change
    if options.get("method") == "random":
        del options["iterations"], options["learning_rate"]
    with pytest.raises(ValueError, match=message):
        condense(*blobs, **options)


def test_bad_data(blobs):
    X, y = blobs
    bad = X.copy()
    bad[7, 2] = np.nan
    with pytest.raises(ValueError, match="row 7 holds NaN"):
        condense(bad, y, method="random")
    with pytest.raises(ValueError, match="hold NaN"):
        condense(bad, y, method="linear_sketch")
    with pytest.raises(ValueError, match="the class 1 only"):
        condense(X, np.ones(600, int), method="random")
    with pytest.raises(ValueError, match="every feature of X is constant"):
        condense(np.ones((600, 4)), y, method="random")
    with pytest.raises(ValueError, match="y must have 600 entries"):
        condense(X, y[:-1], method="random")
    with pytest.raises(ValueError, match="needs y"):
        condense(X, method="random")
    with pytest.raises(ValueError, match="brings its labels along"):
        condense(stream(X, y), y, method="random")
    with pytest.raises(ValueError, match="block 1: X row 3 holds NaN"):
        condense(stream(np.where(np.arange(600)[:, None] == 40, np.nan, X), y), method="random")
    with pytest.raises(ValueError, match="not a pair"):
        condense(iter([X[:10]]), method="random")


class StopAt:
    def __init__(self, at):
        self.at = at

    def __call__(self, done, total, loss):
        if done == self.at:
            raise KeyboardInterrupt


def test_an_interrupt_keeps_the_best_so_far(blobs):
    X, y = blobs
    small = condense(X, y, per_class=2, iterations=30, learning_rate=0.01, progress=StopAt(12), random_state=0)
    assert small.info["interrupted"]
    assert len(small.history["loss"]) == 12
    assert np.isfinite(small.X).all()


@pytest.mark.parametrize("method", ["gradient_matching", "unrolled", "kip", "trajectory_matching"])
def test_a_checkpoint_goes_on_to_the_same_end(blobs, tmp_path, method):
    X, y = blobs
    options = {"method": method, "per_class": 2, "iterations": 120, "learning_rate": 0.01, "random_state": 3}
    options |= {"kip": {"batch_size": 100}, "trajectory_matching": {"experts": 2, "epochs": 3}}.get(method, {})
    whole = condense(X, y, **options)
    path = tmp_path / "checkpoint.npz"
    condense(X, y, checkpoint=path, progress=StopAt(111), **options)
    seen = []
    rest = condense(X, y, checkpoint=path, progress=lambda done, *_: seen.append(done), **options)
    assert seen[0] == 112  # the interrupt saved the last whole step
    np.testing.assert_array_equal(rest.X, whole.X)
    assert rest.history["loss"] == whole.history["loss"]
    with pytest.raises(ValueError, match="another condensation"):
        condense(X, y, checkpoint=path, **(options | {"random_state": 4}))


def test_a_learning_rate_too_high_leaves_the_best(blobs):
    with np.errstate(all="ignore"):
        small = condense(
            *blobs, method="distribution_matching", per_class=2, iterations=200, learning_rate=1e6, random_state=0
        )
    assert np.isfinite(small.X).all()


def test_convergence_ends_it(blobs):
    small = condense(*blobs, method="kip", per_class=2, iterations=2000, batch_size=60, tol=0.5, random_state=0)
    assert small.info["converged"]
    assert len(small.history["loss"]) < 2000


def test_workers_do_not_change_the_result(blobs):
    one, two = (condense(*blobs, per_class=1, iterations=20, random_state=0, workers=w) for w in (1, 2))
    np.testing.assert_array_equal(one.X, two.X)
    assert one.history == two.history
    assert one.history["learning_rate"] == float(max(one.history["search"], key=one.history["search"].get))


def test_files(blobs, tmp_path):
    small = condense(*blobs, method="centroids", per_class=2, class_weights="prior", random_state=0)
    small.save(tmp_path / "small.npz")
    back = Condensed.load(tmp_path / "small.npz")
    for name in ("X", "y", "sample_weight"):
        np.testing.assert_array_equal(getattr(back, name), getattr(small, name))
    assert back.info == small.info
    (tmp_path / "junk.npz").write_bytes(b"junk")
    with pytest.raises(ValueError, match="plain arrays"):
        Condensed.load(tmp_path / "junk.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="no condensed data set"):
        Condensed.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", X=np.array([object()], dtype=object), y=np.zeros(1), about=np.array("{}"))
    with pytest.raises(ValueError, match="plain arrays"):
        Condensed.load(tmp_path / "pickle.npz")


def test_twenty_rows_are_under_a_kilobyte():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 6)).astype(np.float32), rng.integers(0, 2, 2000)
    small = condense(X, y, method="centroids", per_class=10, random_state=0)
    assert small.n_bytes == 20 * 6 * 4 + 20


def test_labels_of_objects_and_unknown_labels():
    X = np.random.default_rng(0).normal(size=(90, 2))
    y = np.arange(90) % 3
    names = np.array(["a", "b", "c"], object)[y]
    assert condense(X, names, method="random", per_class=1).y.tolist() == ["a", "b", "c"]
    for data, labels in ((X, y - 1), (stream(X, y - 1), None)):
        with pytest.raises(ValueError, match="marks unknown rows"):
            condense(data, labels, method="random", per_class=1)
    assert condense(X, y - 1.0, method="random", per_class=1).y.tolist() == [-1, 0, 1]


def test_streams_are_checked_as_arrays_are():
    X, y = np.random.default_rng(0).normal(size=(90, 2)), np.arange(90) % 2
    for bad, labels, message in [
        (np.ones((90, 2)), y, "constant"),
        (X[:, :0], y, "expected"),
        (X[:, 0], y, "expected"),
        (X, np.where(y, np.nan, 0.0), "finite"),
        (X * 1e200, y, "standardize first"),
    ]:
        with pytest.raises(ValueError, match=message):
            condense(stream(bad, labels), method="random", per_class=1)
    with pytest.raises(ValueError, match="standardize first"):
        condense(X * 1e200, y, method="random", per_class=1)


def test_a_column_slice_of_a_memory_map_is_not_read_whole(tmp_path):
    import tracemalloc

    X = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (200_000, 8))
    X[:] = np.random.default_rng(0).normal(size=8)
    rows = Rows(X[:, ::2], np.arange(200_000) % 2, np.arange(2))
    tracemalloc.start()
    got = rows.take(np.arange(0, 200_000, 1000))[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    np.testing.assert_array_equal(got, X[::1000, ::2])
