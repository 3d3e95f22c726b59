"""Candles: from files, from the exchange Bybit, in a store; checked; and a market with a known best forecast."""

from fastkd.market.candles import Candle, Candles
from fastkd.market.client import BybitClient, fetch_bybit_klines
from fastkd.market.errors import (
    AccessDenied,
    BybitError,
    CandleError,
    MissingCandlesWarning,
    RateLimited,
    UnknownSymbol,
)
from fastkd.market.instruments import Instrument
from fastkd.market.rate_limit import RequestGate
from fastkd.market.reading import read_candles
from fastkd.market.report import CandleReport, Gap, ImpossibleCandle
from fastkd.market.retry import Retry
from fastkd.market.store import CandleStore, StoredSeries
from fastkd.market.store_download import Download, Progress
from fastkd.market.stream import BybitStream, LiveCandle
from fastkd.market.synthetic import SyntheticMarket, synthetic_market
from fastkd.market.times import interval_to_ms, normalize_interval

__all__ = [
    "AccessDenied",
    "BybitClient",
    "BybitError",
    "BybitStream",
    "Candle",
    "CandleError",
    "CandleReport",
    "CandleStore",
    "Candles",
    "Download",
    "Gap",
    "ImpossibleCandle",
    "Instrument",
    "LiveCandle",
    "MissingCandlesWarning",
    "Progress",
    "RateLimited",
    "RequestGate",
    "Retry",
    "StoredSeries",
    "SyntheticMarket",
    "UnknownSymbol",
    "fetch_bybit_klines",
    "interval_to_ms",
    "normalize_interval",
    "read_candles",
    "synthetic_market",
]
