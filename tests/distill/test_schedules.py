"""TemperatureSchedule: its formulas and its domain."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.distill import TemperatureSchedule

temperatures = st.floats(0.05, 50.0)


@given(st.sampled_from(["constant", "linear", "cosine"]), temperatures, temperatures, st.integers(1, 40))
def test_schedules_run_from_start_to_end_and_stay_between(kind, start, end, steps):
    values = [TemperatureSchedule(kind, start=start, end=end, steps=steps)(k) for k in range(steps + 3)]
    low, high = min(start, end), max(start, end)
    assert all(low * (1 - 1e-12) <= value <= high * (1 + 1e-12) for value in values)
    if kind == "constant":
        assert set(values) == {start}
    else:
        assert values[-1] == pytest.approx(end)
        if steps > 1:
            assert values[0] == pytest.approx(start)


@given(temperatures, st.floats(0.01, 1.0), st.floats(0.5, 1.0), st.integers(0, 60))
def test_exponential_decay(start, share, decay, step):
    end = share * start
    schedule = TemperatureSchedule("exponential", start=start, end=end, decay=decay)
    assert schedule(step) == max(end, start * decay**step)


def test_by_hand():
    linear = TemperatureSchedule("linear", start=5.0, end=1.0, steps=5)
    assert [linear(k) for k in range(6)] == [5.0, 4.0, 3.0, 2.0, 1.0, 1.0]
    cosine = TemperatureSchedule("cosine", start=5.0, end=1.0, steps=3)
    assert [round(cosine(k), 12) for k in range(4)] == [5.0, 3.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "step"},
        {"start": 0.0},
        {"start": float("inf")},
        {"end": -1.0},
        {"end": float("nan")},
        {"decay": 0.0},
        {"decay": 1.1},
        {"steps": 0},
        {"kind": "exponential", "start": 1.0, "end": 2.0},
    ],
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError):
        TemperatureSchedule(**arguments)


def test_it_is_frozen_and_counts_from_zero():
    schedule = TemperatureSchedule()
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.start = 3.0
    with pytest.raises(ValueError, match="step"):
        schedule(-1)
