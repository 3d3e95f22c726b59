"""From candles to forecasts as one object: features, labels, scaler, teacher, student and dates belong together."""

from fastkd.forecast import saving  # noqa: F401 - lets files hold forecasters
from fastkd.forecast.forecaster import Forecaster
from fastkd.forecast.labels import Direction, Labels, RegimeAhead, Return, TripleBarrier
from fastkd.forecast.live import LiveForecaster
from fastkd.forecast.values import ReturnReport

__all__ = [
    "Direction",
    "Forecaster",
    "Labels",
    "LiveForecaster",
    "RegimeAhead",
    "Return",
    "ReturnReport",
    "TripleBarrier",
]
