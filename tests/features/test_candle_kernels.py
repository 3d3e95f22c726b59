"""The recipes' kernels carry the bits of the plain definition on every instruction set."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd import reference
from fastkd._core import _native
from fastkd.features import FeatureSet
from fastkd.market import CandleError, Candles, synthetic_market
from fastkd.reference.candles import log, log1p, time_of_day

VARIANTS = [
    ("ohlcv4", {}),
    ("ohlcv4", {"volume_change": "log1p"}),
    ("ohlcv4", {"volume_change": "raw"}),
    ("regime3", {}),
    ("regime3", {"window": 1}),
    ("regime3", {"window": 7}),
    ("condense6", {}),
    ("condense6", {"window": 1}),
    ("condense6", {"window": 5}),
    ("rich", {}),
    ("rich", {"horizons": (2, 5), "windows": (3, 4), "volume_window": 3}),
    ("rich", {"horizons": (1,), "windows": (1,), "volume_window": 7}),
    ("rich", {"horizons": (1, 4), "windows": (2, 5), "volume_window": 4, "symbols": tuple("ABCDEFGHIJ")}),
]
COLUMNS = ("start_ms", "open", "high", "low", "close", "volume")


@pytest.fixture(params=_native.available_isas())
def isa(request):
    before = _native.isa()
    _native._use_isa(request.param)
    yield request.param
    _native._use_isa(before)


@st.composite
def hostile_candles(draw):
    """Gaps, times before 1970, equal prices, no volume, and numbers from the smallest to the largest there are."""
    n = draw(st.integers(0, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = draw(st.sampled_from([0, -86_400_000 * 3 + 1, 1_700_000_000_000])) + np.cumsum(
        rng.choice([1, 60_000, 60_000, 10_800_000, 10**9], n)
    )
    spread = draw(st.sampled_from([0.0, 1e-16, 1e-9, 1e-3, 1.0, 300.0]))
    center = draw(st.sampled_from([1.0, 5e-324, 1e-310, 1e-9, 65_000.0, 1e300]))
    with np.errstate(over="ignore"):
        prices = np.clip(center * np.exp(np.clip(spread * rng.standard_normal((4, n)), -700, 700)), 5e-324, 1.7e308)
    if draw(st.booleans()):
        prices[0] = prices[3]
    volume = rng.choice(draw(st.sampled_from([[0.0], [0.0, 5e-324, 1e-3, 7.7, 1e9, 1e300, 1.7e308], [1.0, 3.0]])), n)
    high, low = prices.max(axis=0), prices.min(axis=0)
    return Candles(start, prices[0], high, low, prices[3], volume, interval="1m")


def closes_of(features, n):
    rng = np.random.default_rng(7)
    return [np.exp(rng.choice([1e-9, 1.0, 50.0]) * rng.standard_normal(n)) for _ in features.symbols]


def defined(features, candles):
    return reference.candle_features(features.name, features.options, candles, closes_of(features, len(candles)))


def rows(features, candles):
    return features.recipe.rows(candles, closes_of(features, len(candles)))


@settings(max_examples=120, deadline=None)
@given(candles=hostile_candles(), variant=st.sampled_from(VARIANTS))
def test_tables_carry_the_bits_of_the_definition_on_every_isa(candles, variant):
    features = FeatureSet(variant[0], **variant[1])
    expected = defined(features, candles) if len(candles) > features.n_warmup else np.empty((0, len(features.names)))
    before = _native.isa()
    try:
        for name in _native.available_isas():
            _native._use_isa(name)
            assert rows(features, candles).tobytes() == expected.tobytes()
    finally:
        _native._use_isa(before)


@pytest.mark.parametrize("variant", VARIANTS, ids=repr)
def test_long_tables_carry_the_bits_of_the_definition(isa, variant):
    features, candles = FeatureSet(variant[0], **variant[1]), synthetic_market(3000, random_state=5)
    assert rows(features, candles).tobytes() == defined(features, candles).tobytes()


@pytest.mark.parametrize(
    "name", ["bybit_linear_BTCUSDT_5m", "binance_spot_BTCUSDT_1h_gaps_2020", "bybit_linear_ADAUSDT_5m_crash2025-10"]
)
def test_recorded_candles_carry_the_bits_of_the_definition(data_dir, isa, name):
    candles = Candles.read_csv(data_dir / f"{name}.csv.gz")[:20_000]
    for recipe in ("ohlcv4", "regime3", "condense6", "rich"):
        features = FeatureSet(recipe)
        assert features.transform(candles)[0].tobytes() == defined(features, candles).tobytes()


def test_logarithms_are_those_of_the_mathematical_library_within_an_ulp():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [np.exp(rng.uniform(-744, 709, 20_000)), 1 + rng.uniform(-1e-3, 1e-3, 20_000), [5e-324, 1.0, 1.7e308]]
    )
    for own, library, values in ((log, math.log, x), (log1p, math.log1p, x)):
        expected = np.array([library(v) for v in values])
        ulps = np.abs(own(values) - expected) / np.spacing(np.abs(expected))
        assert ulps.max() <= 2.0
    assert log(np.array([1.0]))[0] == 0.0
    assert log1p(np.array([0.0, 5e-324])).tolist() == [0.0, 5e-324]


def test_the_time_of_day_is_an_angle():
    minutes = 60_000 * np.arange(-1440, 1440, dtype=np.int64)
    sine, cosine = time_of_day(minutes)
    angle = 2 * np.pi * (minutes % 86_400_000) / 86_400_000
    assert np.abs(sine - np.sin(angle)).max() < 1e-15
    assert np.abs(cosine - np.cos(angle)).max() < 1e-15
    quarters = time_of_day(21_600_000 * np.arange(4, dtype=np.int64))
    assert [part.tolist() for part in quarters] == [[0.0, 1.0, 0.0, -1.0], [1.0, 0.0, -1.0, 0.0]]


def test_the_definition_by_hand():
    """Three candles, small windows, numbers that a person can check."""
    start, day = [0, 3_600_000, 21_600_000], 86_400_000
    candles = Candles(start, [1, 2, 4], [2, 4, 8], [1, 1, 2], [2, 4, 4], [1, 3, 0], interval="1h")
    names = FeatureSet("rich", horizons=(1,), windows=(1,), volume_window=2).names
    rich = FeatureSet("rich", horizons=(1,), windows=(1,), volume_window=2)
    last = dict(zip(names, rich.transform(candles)[0][-1].tolist(), strict=True))
    assert last["return_1"] == 0.0 == last["volatility_1"] == last["body"]
    assert last["upper_shadow"] == pytest.approx(4 / 6)
    assert last["lower_shadow"] == pytest.approx(2 / 6)
    assert last["parkinson_1"] == pytest.approx(math.log(4) / math.sqrt(4 * math.log(2)), rel=1e-12)
    assert last["garman_klass_1"] == pytest.approx(math.log(4) / math.sqrt(2), rel=1e-12)
    assert last["volume_change"] == pytest.approx(-math.log(4), rel=1e-15)
    assert last["volume_z_2"] == pytest.approx(-1.0, rel=1e-5)
    assert (last["time_sin"], last["time_cos"]) == (1.0, 0.0)
    assert start[2] * 4 == day
    condensed = FeatureSet("condense6", window=2).transform(candles)[0][-1].tolist()
    expected = [0.0, math.log(2), math.log(2), math.log(2) / math.sqrt(2), 0.0, math.log(4)]
    assert condensed == pytest.approx(expected, rel=1e-12)


def test_nan_is_refused_by_tables_and_streams():
    market = synthetic_market(60, random_state=0)
    for column in ("open", "high", "low", "close", "volume"):
        columns = {name: getattr(market, name).copy() for name in COLUMNS}
        columns[column][30] = np.nan
        broken = Candles(**columns, interval="5m")
        with pytest.raises(CandleError, match="row 30"):
            FeatureSet("rich").transform(broken)
        stream = FeatureSet("rich").stream()
        for candle in broken[:30]:
            stream.push(candle)
        with pytest.raises(CandleError, match="impossible"):
            stream.push(broken[30])


def test_the_isa_of_the_environment_gives_the_same_bits():
    code = (
        "import fastkd, hashlib\nfrom fastkd.features import FeatureSet\nfrom fastkd.market import synthetic_market\n"
        "X, _ = FeatureSet('rich').transform(synthetic_market(500, random_state=3))\n"
        "print(fastkd.isa(), hashlib.sha256(X.tobytes()).hexdigest())"
    )
    seen = set()
    for name in _native.available_isas():
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"FASTKD_ISA": name},
            capture_output=True,
            text=True,
            check=True,
        )
        used, digest = done.stdout.split()
        assert used == name
        seen.add(digest)
    assert len(seen) == 1
