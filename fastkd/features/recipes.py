"""Feature recipes: closed candles in, one row of features a candle out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastkd.features.condense6 import Condense6
from fastkd.features.feature_stream import FeatureStream
from fastkd.features.ohlcv4 import OHLCV4
from fastkd.features.recipe import Recipe
from fastkd.features.regime3 import Regime3
from fastkd.features.rich import Rich
from fastkd.features.scaling import MinMaxScaler01, Standardizer
from fastkd.features.transformer import FrameTransformer, as_candles
from fastkd.market import Candles
from fastkd.market.times import normalize_interval, utc_text

__all__ = ["FeatureSet"]

RECIPES: dict[str, type[Recipe]] = {"ohlcv4": OHLCV4, "regime3": Regime3, "condense6": Condense6, "rich": Rich}


class FeatureSet(FrameTransformer):
    """A named set of features of closed candles.

    Every row depends on the last ``n_warmup + 1`` candles alone, bit for bit: on none after its own, and not on where
    the history begins. `stream` gives the same bits, one candle at a time.

    Parameters
    ----------
    name : str
        One of the recipes below, for a candle t with open o, high h, low l, close c and volume v.
    **options
        Options of the recipe.

    Attributes
    ----------
    names : tuple of str
        Names of the columns.
    n_warmup : int
        Number of leading candles that get no row, because their window is incomplete.
    symbols : tuple of str
        Other markets whose candles are needed too; see "rich".
    scaler_ : Standardizer or MinMaxScaler01
        After `fit`.

    Raises
    ------
    ValueError
        Unknown recipe, or an unknown value of an option.
    TypeError
        Unknown option.

    Notes
    -----
    ``"ohlcv4"``, options ``volume_change="clip"``::

        return           (c - o) / o
        body_ratio       |c - o| / (h - l)            0 where h = l
        upper_shadow     (h - max(o, c)) / (h - l)    0 where h = l
        volume_change    v[t] / v[t-1]

    ``"clip"`` limits the volume ratio to [0, 10], ``"log1p"`` gives log(1 + that), and ``"raw"`` leaves it unlimited.
    After a candle without volume the ratio is 1 if this one has none either, else 10.

    ``"regime3"``, options ``window=20``; `fit` scales to 0 .. 1 by minimum and maximum::

        return           (c - o) / o
        volatility       (h - l) / o
        volume_ratio     v / mean of the last `window` volumes, this one included; 1 where all are 0

    ``"condense6"``, options ``window=20``; `fit` standardizes::

        log_return       ln c[t] - ln c[t-1]          and the same of high and low: high_log_return, low_log_return
        volatility       root mean square of the last `window` log returns
        volume_ratio     as in "regime3"
        log_range        ln h - ln l

    Differences of the log open are left out: where trading never stops, the open is the close before.

    ``"rich"``, options ``horizons=(1, 3, 12, 48)``, ``windows=(12, 48)``, ``volume_window=48``, ``symbols=()``; `fit`
    standardizes. For each horizon k, window w and other symbol S::

        return_k                           ln c[t] - ln c[t-k]
        body, upper_shadow, lower_shadow   (c - o), (h - max(o, c)), (min(o, c) - l), each / (h - l); 0 where h = l
        volatility_w                       root mean square of log returns
        parkinson_w                        sqrt(mean of (ln h/l)^2 / (4 ln 2)), Parkinson (1980)
        garman_klass_w                     sqrt(mean of (ln h/l)^2 / 2 - (2 ln 2 - 1) (ln c/o)^2), Garman, Klass (1980)
        volume_change                      ln(1 + v[t]) - ln(1 + v[t-1])
        volume_z_w                         z-score of ln(1 + v) in the last `volume_window` candles, this one included
        time_sin, time_cos                 time of day of the open, UTC, as an angle
        S_return_k                         ln of S's close over that k candles ago

    Volatilities are per candle, not annualized. Within one candle, log ratios beyond +-2 count as +-2 in them.

    Examples
    --------
    >>> from fastkd.market import synthetic_market
    >>> candles = synthetic_market(300, random_state=0)
    >>> X, known_at_ms = FeatureSet("ohlcv4").transform(candles)
    >>> X.shape, FeatureSet("ohlcv4").names
    ((299, 4), ('return', 'body_ratio', 'upper_shadow', 'volume_change'))

    Scaled by the first 200 candles, and then live:

    >>> features = FeatureSet("rich").fit(candles[:200])
    >>> X, known_at_ms = features.transform(candles)
    >>> stream = features.stream()
    >>> rows = [row for candle in candles if (row := stream.push(candle)) is not None]
    >>> np.array_equal(rows, X)
    True
    """

    scaler_: Standardizer | MinMaxScaler01

    def __init__(self, name: str, **options: Any) -> None:
        if name not in RECIPES:
            raise ValueError(f"unknown feature set {name!r}; there is {', '.join(map(repr, RECIPES))}")
        self.name = name
        self.options = options
        self.recipe = RECIPES[name](**options)
        self.names, self.n_warmup, self.symbols = self.recipe.names, self.recipe.n_warmup, self.recipe.symbols

    def fit(self, candles: Candles, others: Mapping[str, Candles] | None = None) -> Self:
        """Learn the recipe's scaler from the rows of the training part; `transform` and `stream` scale from then on.

        Parameters
        ----------
        candles, others
            As in `transform`, the training part only: ``features.fit(candles[:n_train])``. What is no mapping in the
            second place is the y of scikit-learn and not looked at.
        """
        others = others if isinstance(others, Mapping) else None
        candles = as_candles(candles)
        raw, _ = FeatureSet(self.name, **self.options).transform(candles, others)
        if not len(raw):
            raise ValueError(f"{len(candles)} candles give no row to fit on: {self!r} needs more than {self.n_warmup}")
        self.scaler_ = self.recipe.scaler().fit(raw)
        self.interval_ = candles.interval
        return self

    def transform(
        self, candles: Candles, others: Mapping[str, Candles] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Features of every candle from the first complete window on; scaled if `fit` was called.

        Row i belongs to candle ``i + n_warmup`` and depends on no later candle.

        Parameters
        ----------
        candles : Candles, or a frame that `Candles.from_frame` reads
            Closed candles in time order. "Previous" means the row before, also across a gap.
        others : mapping of symbol to Candles, optional
            Candles of each of `symbols`, of the same interval. Where one is missing, its last close counts on.

        Returns
        -------
        By default (see `set_output`):

        X : numpy.ndarray, shape (rows, len(names)), float64
        known_at_ms : numpy.ndarray, shape (rows,), int64
            Time at which the row can be known, UTC milliseconds: the candle's close, ``start_ms + interval_ms``.

        Raises
        ------
        CandleError
            Candles are unsorted, duplicated or impossible, or their interval is unknown.
        ValueError
            Candles of another symbol are missing, begin too late, or have another interval; or the candles are not of
            the interval that it was fitted on.
        """
        return self._shown(*self.compute(candles, others))

    def compute(
        self, candles: Candles, others: Mapping[str, Candles] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(X, known_at_ms) as `transform` gives them by default, whatever `set_output` says."""
        candles = as_candles(candles)
        candles.require_clean()
        fitted = getattr(self, "interval_", None)
        if None not in (fitted, candles.interval) and candles.interval != fitted:
            raise ValueError(f"{self!r} was fitted on candles of {fitted}; these are of {candles.interval}")
        closes = [_closes_as_of(symbol, candles, others) for symbol in self.symbols]
        starts = candles.start_ms[self.n_warmup :]
        known_at_ms = candles.close_ms[self.n_warmup :] if len(starts) else starts.copy()
        return self.recipe.rows(candles, closes, getattr(self, "scaler_", None)), known_at_ms

    def stream(
        self,
        state: Mapping[str, Any] | None = None,
        *,
        interval: str | int | None = None,
        on_gap: str = "bridge",
    ) -> FeatureStream:
        """Features of one candle at a time, the same bits as `transform`; see `FeatureStream`.

        Parameters
        ----------
        state : mapping, optional
            What `FeatureStream.state` returned: the stream goes on from there.
        interval : str or int, optional
            Length of a candle, by default that of the state. It tells `FeatureStream.known_at_ms`, and a candle that
            starts off its grid is refused. Without it anything later than the last candle is taken, and
            `known_at_ms` goes by the shortest step seen.
        on_gap : {"bridge", "raise", "reset"}
            Where candles are missing: step over them as `transform` does, refuse the candle after them, or begin anew
            with it. The last two need the interval. With it each gap is counted and logged.
        """
        fitted = getattr(self, "interval_", None)
        if fitted is not None and interval is not None and normalize_interval(interval) != fitted:
            raise ValueError(f"{self!r} was fitted on candles of {fitted}; the stream is to take {interval}")
        return FeatureStream(self, state, interval=interval, on_gap=on_gap)

    def to_dict(self) -> dict[str, Any]:
        """Recipe, options and fitted scaler, as JSON can hold them without loss; see `from_dict`."""
        options = json.loads(json.dumps(self.options))
        saved: dict[str, Any] = {"name": self.name, "options": options, "scaler": None}
        if hasattr(self, "scaler_"):
            saved["scaler"] = {"offset": self.scaler_.offset_.tolist(), "scale": self.scaler_.scale_.tolist()}
        return saved

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> FeatureSet:
        """The feature set that `to_dict` described; it gives the same bits."""
        features = cls(saved["name"], **saved["options"])
        if saved["scaler"] is not None:
            features.scaler_ = features.recipe.scaler.from_numbers(**saved["scaler"])
            if features.scaler_.n_features_in_ != len(features.names):
                columns = features.scaler_.n_features_in_
                raise ValueError(f"the scaler has {columns} columns, {features!r} has {len(features.names)}")
        return features

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"FeatureSet({self.name!r}{options})"


def _closes_as_of(symbol: str, candles: Candles, others: Mapping[str, Candles] | None) -> NDArray[np.float64]:
    """Close of the other symbol's latest candle that starts no later than each candle."""
    if others is None or symbol not in others:
        given = "none" if not others else ", ".join(map(repr, others))
        raise ValueError(f"candles of {symbol!r} are needed: pass others={{{symbol!r}: candles}}; got {given}")
    other = others[symbol].require_clean()
    if not len(candles):
        return np.empty(0)
    if not len(other) or other.start_ms[0] > candles.start_ms[0]:
        first = utc_text(int(other.start_ms[0])) if len(other) else "never"
        message = f"{symbol!r} begins {first}, after the first candle {utc_text(int(candles.start_ms[0]))}"
        raise ValueError(f"{message}: begin both at the later time")
    if other.interval != candles.interval:  # a longer candle would still be open
        raise ValueError(f"{symbol!r} must have the same interval, {candles.interval}; got {other.interval}")
    return other.close[np.searchsorted(other.start_ms, candles.start_ms, side="right") - 1]
