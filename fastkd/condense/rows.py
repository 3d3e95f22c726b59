"""The rows to condense: an array, a memory map or a stream of blocks, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastkd._check import as_array, plain, to_array

BLOCK = 65536  # labels checked at once, and rows read from a file
NUMBERS = 1 << 16  # features read at once: half a megabyte in float64


class Rows:
    """Rows in groups: the classes, or one group of all rows in a regression.

    X stays where it is (it may be a memory map): `draw` and `blocks` copy and convert what they give. What is kept in
    memory is one code and one row number a row, 5 bytes: no work on all labels at once, which would take 25 and more.
    """

    def __init__(self, X: Any, y: np.ndarray, classes: np.ndarray | None, counts: np.ndarray | None = None):
        self.X, self.y, self.classes = X, y, classes
        self.dtype = np.dtype(np.float64 if X.dtype == np.float64 else np.float32)
        self.n_features = int(X.shape[1])
        if classes is None:
            self.index = [np.arange(len(y), dtype=_index_type(len(y)))]
        else:
            self.index = rows_of_groups(y, len(classes))
        self.counts = np.array([len(i) for i in self.index]) if counts is None else counts

    def __len__(self) -> int:
        return len(self.y)

    @property
    def n_outputs(self) -> int:
        return self.y.shape[1] if self.classes is None else len(self.classes)

    def take(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (contiguous, in `dtype`) and labels (codes) or values of some rows."""
        X = np.asarray(self.X)  # `take` would first copy all of an array that is not contiguous
        X = X.take(index, axis=0) if X.flags.c_contiguous else X[index]
        X = plain(X, self.dtype)
        return X, self._targets(self.y.take(index, axis=0))

    def pick(self, group: int, n: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of n different rows of a group, of all of them if there are no more."""
        index = self.index[group]
        if n >= len(index):
            return index
        return index[rng.choice(len(index), n, replace=False, shuffle=False)]

    def draw(self, group: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.take(self.pick(group, n, rng))

    def draw_all(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of every group, n or all it has, and where each group starts among them, as well as the end."""
        index = [self.pick(g, n, rng) for g in range(len(self.index))]
        return *self.take(np.concatenate(index)), np.cumsum([0, *map(len, index)])

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """About n rows, groups in proportion to their size in all that was seen."""
        share = n * self.counts / self.counts.sum()
        sizes = np.maximum(1, np.round(share)).astype(int)
        return self.take(np.sort(np.concatenate([self.pick(g, k, rng) for g, k in enumerate(sizes)])))

    def group(self, group: int, most: int, rng: np.random.Generator) -> np.ndarray:
        """Features of a group, at most `most` rows of it."""
        return self.take(np.sort(self.pick(group, most, rng)))[0]

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        size = max(1, NUMBERS // self.n_features)
        for at in range(0, len(self.y), size):
            y = self._targets(self.y[at : at + size])
            yield plain(self.X[at : at + size], self.dtype), y

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return y.astype(np.float64 if self.classes is None else np.int32, copy=False)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the features, in one pass over the blocks."""
        n, mean, square = 0, np.zeros(self.n_features), np.zeros(self.n_features)
        for X, _ in self.blocks():
            m = X.mean(axis=0, dtype=np.float64)
            d = m - mean
            square += ((X - m) ** 2).sum(axis=0, dtype=np.float64) + d**2 * n * len(X) / (n + len(X))
            mean += d * len(X) / (n + len(X))
            n += len(X)
        return mean, np.sqrt(square / n)


def is_stream(X: Any) -> bool:
    return callable(X) or (isinstance(X, Iterator) and not hasattr(X, "shape"))


def open_rows(X: Any, y: Any, *, pool: int, rng: np.random.Generator) -> Rows:
    """Rows of arrays or of a stream of (X, y) blocks, checked; of a stream, at most `pool` random rows a class stay."""
    if is_stream(X):
        if y is not None:
            raise ValueError("a stream of blocks brings its labels along, as (X, y) pairs; leave y=None")
        return _from_stream(X() if callable(X) else X, pool, rng)
    X = as_array(X, "X")
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X must be two-dimensional (rows, features) and not empty; got shape {X.shape}")
    if y is None:
        raise ValueError("condensation needs y: labels, or real values for a regression")
    target, classes = read_targets(y, len(X))
    rows = Rows(X, target, classes)
    spans = Spans()
    for block, _ in rows.blocks():
        spans.add(block, "X")
    spans.check()
    return rows


class Spans:
    """Least and greatest value of each feature, of blocks that are checked on the way."""

    def __init__(self) -> None:
        self.low: Any = np.inf
        self.high: Any = -np.inf
        self.seen = 0

    def add(self, X: np.ndarray, name: str) -> None:
        if not len(X):
            return
        finite = np.isfinite(X).all(axis=1)
        if not finite.all():
            row = self.seen + int(np.argmin(finite))
            raise ValueError(f"{name} row {row} holds NaN or infinity; drop or repair such rows first")
        low, high = X.min(axis=0), X.max(axis=0)
        limit = np.sqrt(np.finfo(np.float64 if X.dtype == np.float64 else np.float32).max) / X.shape[1]
        if max(float(high.max()), -float(low.min())) > limit:  # squares summed over the features would overflow
            raise ValueError(f"{name} holds values beyond {limit:.3g}: standardize first")
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.seen += len(X)

    def check(self) -> None:
        if self.seen and (self.low == self.high).all():
            raise ValueError("every feature of X is constant: there is nothing to learn from")


def as_block(X: Any, y: Any, name: str, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, width) and labels (n,) of a block, finite and of the right shapes."""
    X, y = as_array(X, f"X of {name}"), as_targets(y)
    if X.ndim != 2 or not X.shape[1] or (width is not None and X.shape[1] != width) or y.shape != (len(X),):
        raise ValueError(f"{name} has shapes {X.shape} and {y.shape}; expected (n, {width or 'd'}) and (n,)")
    try:
        Spans().add(X, "X")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if y.dtype.kind not in "fiubUS" or (y.dtype.kind == "f" and not np.isfinite(y).all()):
        raise ValueError(f"{name}: labels must be finite numbers or text; got dtype {y.dtype}")
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError(
            f"{name}: labels must be whole numbers or text; a regression of a stream is method='linear_sketch'"
        )
    return X, y


def as_targets(y: Any) -> np.ndarray:
    """An array of labels or values; text in an array of objects, as pandas has it, becomes an array of text."""
    a = to_array(y, "y")
    if a.dtype == object and a.size and all(isinstance(label, str) for label in a.flat):
        a = a.astype(str)
    return a


def as_classes(labels: np.ndarray) -> np.ndarray:
    """The classes among the labels, ascending; -1 next to 0, 1, 2 ... marks rows whose label is unknown."""
    classes = np.unique(labels)
    if classes.dtype.kind == "i" and len(classes) > 2 and (classes == np.arange(-1, len(classes) - 1)).all():
        raise ValueError(
            "the label -1 marks unknown rows: drop them, as with X[y >= 0] and y[y >= 0]; if it is a class, "
            "give the labels as text or floats"
        )
    return classes


def read_targets(y: Any, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(codes, classes) of labels, or (values (n, k), None) if y holds floats that are not whole."""
    a = as_targets(y)
    if a.ndim not in (1, 2) or len(a) != n:
        raise ValueError(f"y must have {n} entries, as X has rows; got shape {a.shape}")
    if a.dtype.kind == "f":
        whole = a.ndim == 1
        for block in _blocks(a):
            if not np.isfinite(block).all():
                raise ValueError("y must be finite")
            whole = whole and not (block != np.floor(block)).any()
        if not whole:
            return a.reshape(n, -1), None
    if a.ndim == 2 or a.dtype.kind not in "fiubUS":
        raise ValueError(f"y must be labels (n,) or real values; got {a.dtype} of shape {a.shape}")
    classes = a[:0]
    for block in _blocks(a):
        classes = np.union1d(classes, block)
        if len(classes) > 1000:
            raise ValueError("y has more than 1000 different labels; for a regression give real values (not all whole)")
    classes = as_classes(classes)
    if len(classes) < 2:
        raise ValueError(f"y holds the class {classes[0]} only; condensation needs two classes or real values")
    codes = np.empty(n, np.min_scalar_type(len(classes) - 1))
    for block, place in zip(_blocks(a), _blocks(codes)):
        place[:] = np.searchsorted(classes, block)
    return codes, classes


def rows_of_groups(codes: np.ndarray, n_groups: int) -> list[np.ndarray]:
    """Numbers of the rows of each group, ascending: counting sort, a block at a time."""
    sizes = sum((np.bincount(block, minlength=n_groups) for block in _blocks(codes)), np.zeros(n_groups, np.int64))
    index = [np.empty(size, _index_type(len(codes))) for size in sizes]
    filled = np.zeros(n_groups, np.int64)
    for number, block in enumerate(_blocks(codes)):
        order = np.argsort(block, kind="stable") + number * BLOCK
        counts = np.bincount(block, minlength=n_groups)
        ends = np.cumsum(counts)
        for g in np.flatnonzero(counts):
            index[g][filled[g] : filled[g] + counts[g]] = order[ends[g] - counts[g] : ends[g]]
        filled += counts
    return index


def _blocks(a: np.ndarray) -> Iterator[np.ndarray]:
    return (a[at : at + BLOCK] for at in range(0, len(a), BLOCK))


def _index_type(n: int) -> type[np.signedinteger]:
    return np.int32 if n < 2**31 else np.int64


def _from_stream(blocks: Iterable[Any], pool: int, rng: np.random.Generator) -> Rows:
    """A uniform sample of `pool` rows a class: every row gets a random key, the smallest keys stay."""
    kept: dict[Any, list[np.ndarray]] = {}
    counts: dict[Any, int] = {}
    width = None
    spans = Spans()
    for number, block in enumerate(blocks):
        if not isinstance(block, tuple | list) or len(block) != 2:
            raise ValueError(f"block {number} is not a pair (X, y)")
        X, y = as_block(block[0], block[1], f"block {number}", width)
        spans.add(X, f"block {number}")
        width = X.shape[1]
        for label in np.unique(y):
            mine = X[y == label]
            key = rng.random(len(mine))
            if label in kept:
                mine, key = np.concatenate([kept[label][0], mine]), np.concatenate([kept[label][1], key])
            if len(key) > pool:
                best = np.sort(np.argpartition(key, pool)[:pool])
                mine, key = mine[best], key[best]
            kept[label] = [mine, key]
            counts[label] = counts.get(label, 0) + int((y == label).sum())
    if len(kept) < 2:
        raise ValueError(f"the stream holds {len(kept)} class(es); condensation needs two")
    spans.check()
    classes = as_classes(np.array(sorted(kept)))
    codes = np.repeat(np.arange(len(classes), dtype=np.int32), [len(kept[c][0]) for c in classes])
    X = np.concatenate([kept[c][0] for c in classes])
    return Rows(X, codes, classes, np.array([counts[c] for c in classes]))
