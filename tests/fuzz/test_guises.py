"""Every call of the fuzzer on a few seeds: its definition, the same bits in every guise, masks refused."""

import numpy as np
import pytest
from fuzz_calls import NATIVE, PUBLIC
from fuzz_checks import another, definition, guise, mask, reentrant, two_threads
from fuzz_guises import GUISES


def made(name, seed=0):
    return {**PUBLIC, **NATIVE}[name](np.random.default_rng([seed, sum(map(ord, name))]))


@pytest.mark.parametrize("name", sorted(PUBLIC | NATIVE))
def test_a_call_is_its_definition(name):
    for seed in range(10):
        definition(made(name, seed))


@pytest.mark.parametrize("form", sorted(GUISES))
@pytest.mark.parametrize("name", sorted(PUBLIC | NATIVE))
def test_the_form_of_an_array_changes_no_bit(name, form):
    call = made(name)
    for argument in call.arrays:
        guise(call, name in NATIVE, argument, form)


@pytest.mark.parametrize("name", sorted(PUBLIC | NATIVE))
def test_masked_entries_are_refused(name):
    call = made(name)
    for argument in call.arrays:
        mask(call, argument)


@pytest.mark.parametrize("name", sorted(PUBLIC | NATIVE))
def test_hostile_arrays_do_no_harm(name):
    rng = np.random.default_rng(0)
    for seed in range(3):
        call = made(name, seed)
        for argument in call.arrays:
            another(call, argument, rng)
            reentrant(call, argument, rng)
        two_threads(call, rng)


def test_the_checks_can_fail():
    call = made("softmax")
    run = call.run
    call.run = lambda z: run(np.ascontiguousarray(np.asarray(z).astype(np.float64)))  # forgets dtype and mask
    with pytest.raises(AssertionError, match="mask"):
        mask(call, "z")
    call.want = lambda: 1.001 * run(**call.arrays)
    with pytest.raises(AssertionError, match="off by"):
        definition(call)
    call.run = lambda z: np.array(z).ravel()[:1] if type(z) is np.ndarray else run(z)
    with pytest.raises(AssertionError, match="differs"):
        guise(call, False, "z", "__array__")
