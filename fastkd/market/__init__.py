"""Candles: reading, checking, writing them, and a synthetic market with a known best forecast."""

from fastkd.market.candles import Candle, Candles
from fastkd.market.errors import CandleError
from fastkd.market.report import CandleReport, Gap, ImpossibleCandle
from fastkd.market.synthetic import SyntheticMarket, synthetic_market
from fastkd.market.times import interval_to_ms, normalize_interval

__all__ = [
    "Candle",
    "CandleError",
    "CandleReport",
    "Candles",
    "Gap",
    "ImpossibleCandle",
    "SyntheticMarket",
    "interval_to_ms",
    "normalize_interval",
    "synthetic_market",
]
