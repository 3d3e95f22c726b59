"""Every instruction set of this machine, in one process."""

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
    """A function that calls f() once for each instruction set and returns the results."""
    before = _native.isa()

    def run(f):
        results = []
        for name in _native.available_isas():
            _native._use_isa(name)
            results.append(f())
        return results

    yield run
    _native._use_isa(before)
