"""Partitioned data give the condensed rows of the same data in memory."""

import numpy as np
import pytest

from fastkd.condense import condense, frame_blocks, parquet_blocks

RNG = np.random.default_rng(0)
N = 500
Y = RNG.integers(0, 3, N)
X = (RNG.normal(size=(N, 3)) + Y[:, None]).astype(np.float32)
NAMES = ["a", "b", "c"]


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({**{name: X[:, k] for k, name in enumerate(NAMES)}, "extra": "text", "label": Y})


def joined(blocks):
    """All rows of a stream, and the largest block."""
    parts = list(blocks())
    again = list(blocks())  # a stream is read more than once
    assert len(parts) == len(again)
    return *(np.concatenate([part[k] for part in parts]) for k in (0, 1)), max(len(y) for _, y in parts)


def check(blocks, most):
    rows, labels, largest = joined(blocks)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(labels, Y)
    assert largest <= most


def test_slices_of_a_frame_in_memory(frame):
    polars = pytest.importorskip("polars")
    check(frame_blocks(frame, NAMES, "label", size=64), 64)
    check(frame_blocks(polars.from_pandas(frame), NAMES, "label", size=64), 64)


def test_a_lazy_frame_of_polars(frame, monkeypatch):
    polars = pytest.importorskip("polars")
    lazy = polars.from_pandas(frame).lazy()
    check(frame_blocks(lazy, NAMES, "label", size=64), N)
    monkeypatch.delattr(polars.LazyFrame, "collect_batches", raising=False)
    check(frame_blocks(lazy, NAMES, "label", size=64), 64)


def test_partitions_of_dask(frame):
    dataframe = pytest.importorskip("dask.dataframe", reason="needs dask[dataframe]")
    check(frame_blocks(dataframe.from_pandas(frame, npartitions=7), NAMES, "label"), N // 7 + 1)


def test_columns_come_in_the_order_that_was_asked_for(frame):
    blocks = frame_blocks(frame, ["c", "a"], "label", size=100)
    np.testing.assert_array_equal(np.concatenate([block for block, _ in blocks()]), X[:, [2, 0]])


def test_a_pattern_of_parquet_files_in_the_order_of_their_names(frame, tmp_path):
    pytest.importorskip("pyarrow")
    for k, at in enumerate(range(0, N, 130)):
        folder = tmp_path / f"day={k}"
        folder.mkdir()
        frame[at : at + 130].to_parquet(folder / "part.parquet")
    (tmp_path / "notes.txt").write_text("no Parquet")
    check(parquet_blocks(str(tmp_path / "*" / "*.parquet"), NAMES, "label", size=50), 50)
    check(parquet_blocks(tmp_path / "**" / "part.parquet", NAMES, "label"), 130)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        next(parquet_blocks(str(tmp_path / "no*.parquet"), NAMES, "label")())


def test_a_stream_is_condensed_as_the_rows_in_memory_are(frame):
    options = {"method": "linear_sketch"}  # exact on streams
    whole = condense(X, Y.astype(np.float64) + 0.5, **options)
    frame = frame.assign(value=Y + 0.5)
    blocks = condense(frame_blocks(frame, NAMES, "value", size=77), **options)
    np.testing.assert_allclose(blocks.X.T @ blocks.X, whole.X.T @ whole.X, rtol=1e-5)
    drawn = condense(frame_blocks(frame, NAMES, "label", size=77), method="centroids", per_class=1, random_state=0)
    means = np.stack([X[c == Y].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(drawn.X, means, atol=0.5)


def test_what_is_no_frame_is_refused():
    with pytest.raises(TypeError, match="Dask, Polars or pandas"):
        frame_blocks(X, NAMES, "label")
    for function in (frame_blocks, parquet_blocks):
        with pytest.raises(ValueError, match="size"):
            function(X, NAMES, "label", size=0)
