import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.market import interval_to_ms, normalize_interval
from fastkd.market.times import interval_name, time_to_ms, utc_text


@given(st.integers(1, 10**12))
def test_a_name_reads_back_as_the_length_it_names(milliseconds):
    assert interval_to_ms(interval_name(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("spellings", "minutes", "name"),
    [
        (["1m", "1", 1, "1min"], 1, "1m"),
        (["5m", "5", 5, "5min", " 5m "], 5, "5m"),
        (["1h", "60", 60, "60m", "1H"], 60, "1h"),
        (["4h", "240"], 240, "4h"),
        (["1d", "D", "1D", "24h", 1440], 1440, "1d"),
        (["1w", "W", "7d"], 7 * 1440, "1w"),
    ],
)
def test_spellings_of_one_interval(spellings, minutes, name):
    assert {interval_to_ms(s) for s in spellings} == {minutes * 60_000}
    assert {normalize_interval(s) for s in spellings} == {name}


@pytest.mark.parametrize("text", ["", "0", "00m", "M", "1M", "-5m", "5x", "five", "1.5h", "5 5"])
def test_other_spellings_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"'5m'.*got"):
        interval_to_ms(text)


@pytest.mark.parametrize("value", [None, True, 5.0])
def test_other_types_are_refused(value):
    with pytest.raises(TypeError, match="interval"):
        interval_to_ms(value)


def test_utc_text_survives_nonsense():
    assert utc_text(0) == "1970-01-01 00:00"
    assert utc_text(1_000) == "1970-01-01 00:00:01"
    assert utc_text(2**62).endswith("ms")


def test_thirteen_digits_are_milliseconds_and_no_time_is_none():
    assert time_to_ms("1704067200000") == 1_704_067_200_000
    with pytest.raises(ValueError, match="NaT"):
        time_to_ms(np.datetime64("NaT"))
    with pytest.raises(ValueError, match=r"2\^53"):
        time_to_ms(10**30)
