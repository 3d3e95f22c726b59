"""Recorded candles: every file is read, checked, written and turned into features."""

import re

import numpy as np
import pytest

from fastkd.features import FeatureSet
from fastkd.market import Candles

# name: rows, gaps, missing candles
FILES = {
    "bybit_linear_BTCUSDT_1h": (51_507, 0, 0),
    "bybit_linear_ETHUSDT_1h": (42_997, 0, 0),
    "bybit_linear_SOLUSDT_1h": (37_861, 0, 0),
    "bybit_linear_BNBUSDT_1h": (40_446, 0, 0),
    "bybit_linear_BTCUSDT_15m": (71_952, 0, 0),
    "bybit_linear_ETHUSDT_15m": (71_952, 0, 0),
    "bybit_linear_BTCUSDT_5m": (54_432, 0, 0),
    "bybit_linear_ETHUSDT_5m": (54_432, 0, 0),
    "bybit_linear_BNBUSDT_5m_crash2025-10": (10_944, 0, 0),
    "bybit_linear_ADAUSDT_5m_crash2025-10": (10_944, 0, 0),
    "bybit_linear_BTCUSDT_15m_turnover": (25_595, 6, 11),
    "bybit_linear_DOGEUSDT_1m": (20_160, 0, 0),
    "binance_spot_BTCUSDT_1h_gaps_2020": (10_226, 10, 22),
}


@pytest.mark.parametrize("name", FILES)
def test_recorded_candles(data_dir, tmp_path, name):
    candles = Candles.read_csv(data_dir / f"{name}.csv.gz", strict=True)
    report = candles.check()
    assert (len(candles), len(report.gaps), report.n_missing) == FILES[name]
    assert report.ok == (not report.gaps)
    assert candles.interval == re.search(r"_(\d+[mh])", name)[1]
    assert np.isnan(candles.turnover).any() == ("turnover" not in name)

    candles.to_csv(tmp_path / "again.csv.gz")
    assert Candles.read_csv(tmp_path / "again.csv.gz") == candles

    X, known_at_ms = FeatureSet("ohlcv4").transform(candles)
    assert X.shape == (len(candles) - 1, 4)
    assert np.isfinite(X).all()
    assert (X[:, 1:3].min(), X[:, 1:3].max()) == (0.0, 1.0)
    np.testing.assert_array_equal(known_at_ms, candles.start_ms[1:] + candles.interval_ms)


def test_every_file_is_tested(data_dir):
    assert {path.name.removesuffix(".csv.gz") for path in data_dir.glob("*.csv.gz")} == set(FILES)
