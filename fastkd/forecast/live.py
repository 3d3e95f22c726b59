"""LiveForecaster: closed candle in, forecast out, in one call on one state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastkd._core._native import LiveCore, ReaderCore
from fastkd.features import FeatureSet, FeatureStream
from fastkd.market import Candle, CandleError, Candles, CandleStore, LiveCandle
from fastkd.market.times import MONTH, normalize_interval, utc_text

__all__ = ["LiveForecaster", "reader_of"]


def reader_of(model: Any) -> ReaderCore:
    """The network of a fitted perceptron, behind its scaler: rows one by one and as a table give the same bits.

    Features are scaled in float64, rounded to the model's dtype, and read in a fixed order; `Predictor` folds the
    scaler into the weights, which is faster and rounds otherwise (by about 1e-7 in float32).
    """
    if getattr(model, "_takes_windows", False):
        raise TypeError(
            f"{type(model).__name__} takes windows, a live forecaster rows: push FeatureSet.stream() rows into "
            "model.predictor().stream()"
        )
    if hasattr(model, "_check_fitted"):
        model._check_fitted()
    if not hasattr(model, "_kernel") or not hasattr(model._kernel, "activation"):
        raise TypeError(f"a live forecaster needs a fitted MLPClassifier or MLPRegressor; got {type(model).__name__}")
    kernel, scaler = model._kernel, model._scaler_to_use()
    scales = {} if scaler is None else {"offset": scaler.mean_, "scale": scaler.scale_}
    parameters = np.ascontiguousarray(model.parameters, kernel.dtype)
    softmax = getattr(model, "classes_", None) is not None
    return ReaderCore(kernel.sizes, kernel.activation, kernel.dtype, parameters, softmax=softmax, **scales)


class LiveForecaster(LiveCore):
    """Forecasts from one closed candle at a time: check, features, scaling and network in one call.

    `push` gives the bits of `predict_proba`, which walks the same code over a table. A forecaster may be used by one
    thread at a time; `exchange` may be called from another.

    Parameters
    ----------
    features : FeatureSet
    model : MLPClassifier or MLPRegressor
        Fitted on rows of these features; scaled as its own `scaler_` says. The weights are those it has now.
    interval : str or int
        Length of a candle: others are refused.
    symbol : str, optional
        Candles of another one are refused where they have a name (`warm_up`, `follow`), and so is its `state`.
    category : str, optional
        Of the series in a store, such as "spot"; "linear" if not given.
    on_gap : {"raise", "reset", "bridge"}
        Where candles are missing: refuse the candle after them, begin anew with it (forecasts come again once the
        windows are full), or step over them as `FeatureSet.transform` does. The last two are counted and logged.
    state : mapping, optional
        What `state` returned: it goes on from there.

    Attributes
    ----------
    classes_ : (n_classes,) array, None for a regressor
    known_at_ms : int or None
        Close of the last candle, when its forecast could be known.
    last_ms, count : start of the last candle, and how many were taken (since the last gap if ``on_gap="reset"``)
    n_gaps, n_missing : places at which candles were missing, and how many
    n_warmup : number of candles before the first forecast
    row : features of the candle that was pushed last

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.features import FeatureSet, direction_labels
    >>> from fastkd.forecast.live import LiveForecaster
    >>> from fastkd.market import synthetic_market
    >>> from fastkd.models import MLPClassifier
    >>> features, candles = FeatureSet("rich"), synthetic_market(600, random_state=0, interval="5m")
    >>> X, known_at_ms = features.transform(candles[:500])
    >>> y = direction_labels(candles[:500])[features.n_warmup :]
    >>> student = MLPClassifier(epochs=2, scale="standard", random_state=0).fit(X[y >= 0], y[y >= 0])
    >>> live = LiveForecaster(features, student, interval="5m")
    >>> live.warm_up(candles[:500]) is None
    False
    >>> answers = [live.push(candle) for candle in candles[500:]]
    >>> proba, known_at_ms = live.predict_proba(candles)
    >>> np.array_equal(answers, proba[-100:])
    True
    """

    def __new__(
        cls,
        features: FeatureSet,
        model: Any,
        *,
        interval: str | int,
        symbol: str | None = None,
        category: str | None = None,
        on_gap: str = "raise",
        state: Mapping[str, Any] | None = None,
    ) -> Self:
        if normalize_interval(interval) == MONTH:
            raise ValueError("live forecasts need candles of one length; months have several")
        streams = _streams_of(state)
        if None not in (symbol, before := streams.get("symbol")) and symbol != before:
            raise ValueError(f"the state is of {before}; this forecaster takes candles of {symbol}")
        feed = FeatureStream(features, streams["own"], interval=interval, on_gap=on_gap, name=symbol or "")
        live = super().__new__(cls, feed, reader_of(model))
        for name, saved in streams["symbols"].items():
            live.feeds[name] = FeatureStream(features, saved, interval=interval, on_gap=on_gap, name=name)
        return live

    def __init__(
        self,
        features: FeatureSet,
        model: Any,
        *,
        interval: str | int,
        symbol: str | None = None,
        category: str | None = None,
        on_gap: str = "raise",
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.features, self.model = features, model
        self.interval, self.symbol, self.on_gap = normalize_interval(interval), symbol, on_gap
        self.category = category
        self.classes_: Any = getattr(model, "classes_", None)
        self.n_warmup = features.n_warmup

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that ``LiveForecaster(..., state=...)`` needs to go on with the same bits; as JSON holds it without loss.

        The candles that windows still need, of its own stream and of each symbol of `push_many`; not the model.
        """
        symbols = {name: feed.state() for name, feed in self.feeds.items()}
        return {"format": "fastkd live 1", "symbol": self.symbol, "own": self.feed.state(), "symbols": symbols}

    @property
    def known_at_ms(self) -> int | None:
        return self.feed.known_at_ms

    @property
    def last_ms(self) -> int | None:
        return self.feed.last_ms

    @property
    def count(self) -> int:
        return self.feed.count

    @property
    def n_gaps(self) -> int:
        return self.feed.n_gaps + sum(feed.n_gaps for feed in self.feeds.values())

    @property
    def n_missing(self) -> int:
        return self.feed.n_missing + sum(feed.n_missing for feed in self.feeds.values())

    # -- candles ------------------------------------------------------------------------------------------------------

    def predict_proba(
        self, candles: Candles, *, others: Mapping[str, Candles] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """What `push` would have said of each candle of a table, gaps stepped over, and when.

        Returns
        -------
        proba : (rows, n_outputs), the model's dtype; rows from the first complete window on
        known_at_ms : (rows,), int64
        """
        self._require_market(candles.symbol, candles.interval)
        X, known_at_ms = self.features.compute(candles, others)
        return self.reader.read(X), known_at_ms

    def warm_up(self, candles: Candles | CandleStore, *, category: str | None = None) -> NDArray[Any] | None:
        """Take the candles before the live ones; those that it had already are left out.

        Parameters
        ----------
        candles : Candles, or a CandleStore that has this symbol and interval
            Of a table only the last ``n_warmup + 1`` are needed, and more are not looked at by a new forecaster.
        category : str, optional
            Of the store; that of the forecaster if not given.

        Returns
        -------
        The forecast at the close of the last candle, or None while windows fill.
        """
        if isinstance(candles, CandleStore):
            if self.symbol is None:
                raise ValueError("a store has many symbols: LiveForecaster(..., symbol=...) says which")
            category = category or self.category or "linear"
            step = self.feed.known_at_ms - self.last_ms if self.last_ms is not None else 0
            found = candles.read(self.symbol, self.interval, self.last_ms, category=category)
            if not len(found) and not step:
                raise CandleError(f"the store holds no candles of {self.symbol} {self.interval} ({category})")
            candles = found
        self._require_market(candles.symbol, candles.interval)
        candles.require_clean()
        if self.last_ms is None:
            candles = candles[max(len(candles) - self.n_warmup - 1, 0) :]
        answer = None
        for candle in candles:
            if self.last_ms is None or candle.start_ms > self.last_ms:
                answer = self.push(candle)
        return answer

    def follow(self, stream: Any) -> Iterator[tuple[LiveCandle, NDArray[Any] | None]]:
        """Each new candle of a stream with its forecast.

        A stream that starts where a store or a state ended hands out its last candle again: candles that were taken
        before are left out, and must be the same.

        Parameters
        ----------
        stream : iterable of LiveCandle, such as a BybitStream

        Raises
        ------
        CandleError
            As `push`; or a candle that was taken before comes again with other numbers.
        """
        for live_candle in stream:
            if self.is_new(live_candle):
                yield live_candle, self.push(live_candle.candle)

    def is_new(self, live_candle: LiveCandle) -> bool:
        """Whether a candle comes after the last; CandleError if it came before with other numbers."""
        self._require_market(live_candle.symbol, live_candle.interval)
        candle: Candle = live_candle.candle
        if self.last_ms is None or candle.start_ms > self.last_ms:
            return True
        for *before, _ in self.feed.recent():
            if before[0] == candle.start_ms and tuple(before) != candle[:6]:
                when = utc_text(candle.start_ms)
                raise CandleError(f"the candle of {when} UTC was {tuple(before)} before, and is {candle[:6]} now")
        return False

    def exchange(self, model: Any, symbol: str | None = None) -> None:
        """Another model from the next candle on, of the same features, outputs and dtype; windows stay filled.

        Parameters
        ----------
        symbol : str, optional
            For this symbol of `push_many` alone.
        """
        classes: Any = getattr(model, "classes_", None)
        if not np.array_equal(classes, self.classes_):
            raise ValueError(f"the model forecasts {classes}; this forecaster {self.classes_}")
        self._exchange(reader_of(model), symbol)
        if symbol is None:
            self.model = model

    def _new_feed(self, symbol: str) -> FeatureStream:
        return FeatureStream(self.features, interval=self.interval, on_gap=self.on_gap)

    def _require_market(self, symbol: str | None, interval: str | None) -> None:
        if interval != self.interval:
            raise ValueError(f"the forecaster takes candles of {self.interval}; these are of {interval}")
        if None not in (symbol, self.symbol) and symbol != self.symbol:
            raise ValueError(f"the forecaster takes candles of {self.symbol}; these are of {symbol}")

    def __reduce__(self) -> Any:
        market = {"interval": self.interval, "symbol": self.symbol, "category": self.category}
        return _again, (type(self), self.features, self.model, market, self.on_gap, self.state())

    def __repr__(self) -> str:
        since = "no candle yet" if self.last_ms is None else f"last candle {utc_text(self.last_ms)} UTC"
        return f"LiveForecaster({self.features.name!r}, {self.symbol or '-'}, {self.interval}, {since})"


def _streams_of(state: Any) -> dict[str, Any]:
    if state is None:
        return {"own": None, "symbols": {}}
    if not isinstance(state, Mapping) or state.get("format") != "fastkd live 1":
        raise ValueError("expected what LiveForecaster.state() returned")
    return {"symbol": state.get("symbol"), "own": state["own"], "symbols": state["symbols"]}


def _again(cls: Any, features: Any, model: Any, market: Any, on_gap: str, state: Any) -> LiveForecaster:
    return cls(features, model, **market, on_gap=on_gap, state=state)
