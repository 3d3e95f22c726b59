import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.features import Cusum, PageHinkley


def detectors():
    return [Cusum(8.0, warmup=100), PageHinkley(20.0, tolerance=0.25, warmup=50)]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("shift", [2.0, -2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_shift_is_found_soon_and_not_before(which, shift, seed):
    values = np.random.default_rng(seed).standard_normal(600)
    values[400:] += shift
    index, direction = detectors()[which].detect(values)[0]
    assert 400 <= index < 440
    assert direction == np.sign(shift)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]))
def test_the_opposite_values_give_the_opposite_alarms(seed, which):
    values = np.cumsum(np.random.default_rng(seed).standard_normal(400))
    up, down = detectors()[which].detect(values), detectors()[which].detect(-values)
    assert down == [(index, -way) for index, way in up]


@pytest.mark.parametrize("which", [0, 1])
def test_an_alarm_starts_all_over_and_later_values_cannot_move_it(which):
    values = np.r_[np.zeros(150), np.ones(150) * 50, np.zeros(150)] + np.sin(np.arange(450)) / 10
    alarms = detectors()[which].detect(values)
    assert [way for _, way in alarms[:2]] == [1, -1]
    for n in (100, 160, 310, 449):
        assert detectors()[which].detect(values[:n]) == [alarm for alarm in alarms if alarm[0] < n]
    first = alarms[0][0]
    assert detectors()[which].detect(values[first + 1 :])[0][0] == alarms[1][0] - first - 1


def test_cusum_by_hand():
    detector = Cusum(2.0, drift=0.5, warmup=3)
    assert [detector.update(x) for x in (1.0, 2.0, 3.0)] == [0, 0, 0]  # mean 2, deviation 1
    assert (detector.mean, detector.update(3.0), detector.up, detector.down) == (2.0, 0, 0.5, 0.0)
    assert (detector.update(4.0), detector.up) == (0, 2.0)  # 0.5 + 2 - 0.5, not above the threshold
    assert (detector.update(2.75), detector.count) == (1, 0)


def test_page_hinkley_by_hand():
    detector = PageHinkley(1.0, tolerance=0.25, warmup=2)
    assert (detector.update(2.0), detector.up, detector.down) == (0, 0.0, 0.0)
    assert (detector.update(4.0), detector.mean, detector.up) == (0, 3.0, 0.75)
    assert detector.update(6.0) == 1  # 0.75 + 6 - 4 - 0.25


def test_a_change_of_what_was_constant():
    detector = Cusum(warmup=5)
    assert detector.detect([1.0] * 20) == []
    assert detector.update(1.1) == 1


@pytest.mark.parametrize("detector", detectors(), ids=["cusum", "page-hinkley"])
def test_bad_values_and_options_are_refused(detector):
    with pytest.raises(ValueError, match="finite; got nan"):
        detector.update(np.nan)
    with pytest.raises(ValueError, match="threshold must be a finite number > 0"):
        type(detector)(0.0)
    with pytest.raises(ValueError, match="warmup must be at least"):
        type(detector)(1.0, warmup=0)
    with pytest.raises(ValueError, match="drift must be a finite number >= 0"):
        Cusum(drift=-1.0)
    with pytest.raises(ValueError, match="tolerance must be a finite number >= 0"):
        PageHinkley(1.0, tolerance=np.inf)
