"""Every instruction set of this machine, in one process; and input that trips up losses."""

import numpy as np
import pytest

from fastkd._core import _native


@pytest.fixture(params=_native.available_isas())
def each_isa(request):
    """Run the test with each set of kernels in turn."""
    before = _native.isa()
    _native._use_isa(request.param)
    yield request.param
    _native._use_isa(before)


@pytest.fixture
def on_all_isas():
    """A function that calls f() once for each instruction set and returns {name: result}."""
    before = _native.isa()

    def run(f):
        results = {}
        for name in _native.available_isas():
            _native._use_isa(name)
            results[name] = f()
        return results

    yield run
    _native._use_isa(before)


class Hostile:
    """Logits and soft labels that trip up losses: ties, gaps of every size, classes excluded, students that agree."""

    def __init__(self, seed, n_classes, dtype):
        self.rng, self.n_classes, self.dtype = np.random.default_rng(seed), n_classes, dtype

    def _row(self):
        rng, c = self.rng, self.n_classes
        kind = rng.integers(6)
        if kind == 0:  # ties
            return rng.integers(-1, 2, c).astype(float)
        if kind == 1:  # gaps beyond what exp can hold
            return rng.normal(0, 10.0 ** rng.integers(1, 5), c)
        if kind == 2:  # sure of one class
            return rng.normal(0, 1, c) + rng.uniform(5, 300) * (np.arange(c) == rng.integers(c))
        if kind == 3:  # large common offset
            return rng.normal(0, 2, c) + rng.choice([-1e4, 1e4])
        return rng.normal(0, 3, c)

    def logits(self, n):
        return np.array([self._row() for _ in range(n)]).astype(self.dtype)

    def teacher(self, student):
        """Logits: now and then those of the student, or nearly, some excluded."""
        rng = self.rng
        rows = []
        for own, row in zip(student, self.logits(len(student))):
            kind = rng.integers(5)
            if kind == 0:
                row = own.copy()
            elif kind == 1:
                row = (own + 10.0 ** rng.uniform(-6, -1) * rng.normal(size=len(own))).astype(self.dtype)
            elif kind == 2 and len(own) > 1:
                row[rng.permutation(len(own))[: rng.integers(1, len(own))]] = -np.inf
            rows.append(row)
        return np.array(rows)

    def labels(self, n):
        """Soft labels: one-hot, shares of a tree, underflow, and plain ones."""
        rng, c = self.rng, self.n_classes
        rows = []
        for _ in range(n):
            kind = rng.integers(5)
            if kind == 0:
                row = np.eye(c)[rng.integers(c)]
            elif kind == 1:
                row = rng.multinomial(100, rng.dirichlet(np.full(c, 0.3))) / 100
            elif kind == 2:
                row = np.exp(-rng.uniform(0, 120, c) * (np.arange(c) != rng.integers(c)))
            else:
                row = rng.dirichlet(np.full(c, rng.choice([0.1, 1.0, 10.0])))
            rows.append(row / row.sum())
        return np.array(rows).astype(self.dtype)


@pytest.fixture
def hostile():
    """Draws of `Hostile`: hostile(seed, n_classes, dtype)."""
    return Hostile
