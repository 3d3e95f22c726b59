"""A synthetic market whose best possible forecast is known exactly."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkd.market.candles import Candles
from fastkd.market.times import interval_to_ms

__all__ = ["SyntheticMarket", "synthetic_market"]

FIRST_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC
SIGMA_CALM, SIGMA_WILD = 0.0007, 0.0014  # standard deviation of the next return around its mean
DRIFT_WILD = 0.0027  # largest mean of the next return
P_LEAVE_CALM, P_LEAVE_WILD = 0.0456, 0.0144  # three quarters of all candles are wild, in runs of about 70
BODY_CALM, BODY_WILD = (0.65, 0.95), (0.10, 0.40)  # disjoint, so the candle shows its regime


class SyntheticMarket(Candles):
    """Candles with the exact probabilities of the next move; made by `synthetic_market`.

    Slices keep the probabilities of their rows.

    Attributes
    ----------
    bayes_proba : numpy.ndarray, shape (n, 3)
        Row t: P(DOWN), P(FLAT), P(UP) of the move from ``close[t]`` to ``close[t + 1]``, given candles 0 .. t.
    """

    bayes_proba: NDArray[np.float64]

    def __init__(self, *columns: ArrayLike, bayes_proba: NDArray[np.float64], symbol: str, interval: str | int) -> None:
        super().__init__(*columns, symbol=symbol, interval=interval)
        proba = np.array(bayes_proba, dtype=np.float64)
        proba.flags.writeable = False
        self.__dict__["bayes_proba"] = proba

    @property
    def bayes_accuracy(self) -> float:
        """Expected accuracy of the best forecast of these rows: the mean of each row's largest probability."""
        return float(self.bayes_proba.max(axis=1).mean())

    def _slice(self, rows: slice) -> SyntheticMarket:
        part = super()._slice(rows)
        columns = (part.start_ms, part.open, part.high, part.low, part.close, part.volume, part.turnover)
        proba = self.bayes_proba[rows]
        return SyntheticMarket(*columns, bayes_proba=proba, symbol=str(self.symbol), interval=str(self.interval))


def synthetic_market(
    n: int,
    *,
    random_state: int | np.random.Generator | None = None,
    interval: str | int = "5m",
    threshold: float = 0.001,
    symbol: str = "SYNTHETIC",
    start_ms: int = FIRST_MS,
    price: float = 100.0,
) -> SyntheticMarket:
    """Candles of a market with two regimes, of which the best forecast of the next move is known.

    Parameters
    ----------
    n : int
        Number of candles, at least 1.
    random_state : int, numpy.random.Generator or None
        The same seed gives the same candles.
    interval : str or int
        Sets the time stamps only; returns have the size of 5-minute candles whatever it is.
    threshold : float
        Limit of the FLAT class in `bayes_proba`, a fraction of the price, as in ``direction_labels``.
    symbol, start_ms, price
        Name, open time of the first candle (UTC milliseconds) and first open price.

    Returns
    -------
    SyntheticMarket
        Clean candles with ``open[t] == close[t - 1]``, and `bayes_proba`, `bayes_accuracy`. With the default
        threshold about 30 % of moves are DOWN, 42 % FLAT, 28 % UP, and the best accuracy is about 0.725.

    Notes
    -----
    The next return depends on the past only through the last candle t. With the body ratio b = |close - open| / range,
    the shadow imbalance s = (upper - lower shadow) / range, the return r = close / open - 1 and the volume change
    c = log(volume[t] / volume[t - 1]) (0 in the first candle)::

        p     = 2.3 s + 1.4 tanh(c / 0.6) + 0.33 tanh(r / 0.002)
        wild  = b < 0.5
        mu    = 0.0027 tanh(1.5 (sqrt((p + 0.5)^2 + 0.05) - 1.042))  if wild else 0
        sigma = 0.0014 if wild else 0.0007
        r[t + 1] ~ Normal(mu, sigma^2)

        P(DOWN) = Phi((-threshold - mu) / sigma),  P(UP) = Phi((mu - threshold) / sigma),  P(FLAT) = the rest

    The regime is a Markov chain. A wild candle has a body ratio in (0.1, 0.4), a calm one in (0.65, 0.95), so it can be
    read from the candle. mu is folded in p: it rises on both sides of p = -0.5, which no linear model can follow.
    The features "ohlcv4" hold everything that the formula needs.

    Examples
    --------
    >>> market = synthetic_market(1000, random_state=0)
    >>> market[:3]
    SyntheticMarket(SYNTHETIC, 5m, 3 rows, 2024-01-01 00:00 .. 2024-01-01 00:10 UTC)
    >>> market.check().ok, market.bayes_proba.shape
    (True, (1000, 3))
    >>> 0.65 < market.bayes_accuracy < 0.8
    True
    """
    if isinstance(n, bool) or int(n) != n or n < 1:
        raise ValueError(f"n must be a whole number of candles, at least 1; got {n!r}")
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ValueError(f"threshold must be a finite fraction of the price, >= 0; got {threshold!r}")
    if not (math.isfinite(price) and price > 0):
        raise ValueError(f"price must be finite and > 0; got {price!r}")
    n = int(n)
    rng = np.random.default_rng(random_state)
    wild = _regimes(rng.random(n))
    low_body = np.where(wild, BODY_WILD[0], BODY_CALM[0])
    high_body = np.where(wild, BODY_WILD[1], BODY_CALM[1])
    body = low_body + (high_body - low_body) * rng.random(n)
    upper = (1.0 - body) * rng.random(n)
    lower = 1.0 - body - upper
    log_volume = _autoregression(0.35 * rng.standard_normal(n), 0.8) + np.where(wild, 0.3, 0.0)
    volume = 1000.0 * np.exp(log_volume)

    returns = _returns(_pressure(upper - lower, volume), wild, rng.standard_normal(n))
    close = price * np.cumprod(1.0 + returns, dtype=np.float64)
    open_ = np.concatenate([[price], close[:-1]])
    size = np.abs(close - open_) / body
    high = np.maximum(open_, close) + upper * size
    low = np.minimum(open_, close) - lower * size
    turnover = volume * (high + low + close) / 3.0
    starts = start_ms + interval_to_ms(interval) * np.arange(n, dtype=np.int64)
    proba = _probabilities(open_, high, low, close, volume, threshold)
    columns = (starts, open_, high, low, close, volume, turnover)
    return SyntheticMarket(*columns, bayes_proba=proba, symbol=symbol, interval=interval)


def _regimes(uniform: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Markov chain of wild (True) and calm candles, started in its stationary distribution."""
    wild = uniform[0] < P_LEAVE_CALM / (P_LEAVE_CALM + P_LEAVE_WILD)
    chain = [wild]
    for u in uniform[1:].tolist():
        wild = u >= P_LEAVE_WILD if wild else u < P_LEAVE_CALM
        chain.append(wild)
    return np.array(chain)


def _autoregression(noise: NDArray[np.float64], memory: float) -> NDArray[np.float64]:
    value, values = 0.0, []
    for shock in noise.tolist():
        value = memory * value + shock
        values.append(value)
    return np.array(values)


def _pressure(imbalance: NDArray[np.float64], volume: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of p that does not depend on the return."""
    change = np.r_[0.0, np.diff(np.log(volume))]
    return 2.3 * imbalance + 1.4 * np.tanh(change / 0.6)


def _returns(pressure: NDArray[np.float64], wild: NDArray[np.bool_], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns of all candles; each one's mean depends on the return before it, hence the loop."""
    last = SIGMA_CALM * float(noise[0])
    returns = [last]
    steps = zip(pressure.tolist(), wild.tolist(), noise[1:].tolist(), strict=False)
    for base, is_wild, shock in steps:
        if is_wild:
            p = base + 0.33 * math.tanh(last / 0.002)
            mu = DRIFT_WILD * math.tanh(1.5 * (math.sqrt((p + 0.5) ** 2 + 0.05) - 1.042))
            last = mu + SIGMA_WILD * shock
        else:
            last = SIGMA_CALM * shock
        # A body of at least one part in a million keeps the ratios of the candle exact; such a move is FLAT anyway.
        last = math.copysign(max(abs(last), 1e-6), last)
        returns.append(last)
    return np.array(returns)


def _probabilities(
    open_: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volume: NDArray[np.float64],
    threshold: float,
) -> NDArray[np.float64]:
    """Class probabilities of the next move, from nothing but the candles."""
    from scipy.special import ndtr

    size = high - low
    wild = np.abs(close - open_) / size < 0.5
    imbalance = (high + low - open_ - close) / size
    p = _pressure(imbalance, volume) + 0.33 * np.tanh((close / open_ - 1.0) / 0.002)
    mu = np.where(wild, DRIFT_WILD * np.tanh(1.5 * (np.sqrt((p + 0.5) ** 2 + 0.05) - 1.042)), 0.0)
    sigma = np.where(wild, SIGMA_WILD, SIGMA_CALM)
    down = ndtr((-threshold - mu) / sigma)
    up = ndtr((mu - threshold) / sigma)
    flat = ndtr((threshold - mu) / sigma) - down
    return np.column_stack([down, flat, up])
