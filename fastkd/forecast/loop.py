"""The live loop: closed candles in, decisions out, with a log, a circuit breaker, watch over drift, and retraining."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastkd.deploy.risk_monitor import RiskMonitor
from fastkd.distill.adaptive import AdaptiveSchedule, Step
from fastkd.features.changes import PageHinkley
from fastkd.forecast.live import LiveForecaster
from fastkd.market import Candle, Candles, CandleStore, LiveCandle

__all__ = ["Decision", "LiveLoop", "LiveSummary", "run_live"]


@dataclass(frozen=True)
class Decision:
    """What was forecast at the close of a candle; one line of the log.

    Attributes
    ----------
    known_at_ms : close of the candle, UTC milliseconds
    symbol, close : of the candle
    answer : probabilities of the classes, or values; None while windows fill; None in place of a NaN
    forecast : the most probable class, by name if names are known; None without probabilities
    model : number of the model in use, from 0
    halted : whether the RiskMonitor halts trading
    events : what happened at this candle, in words
    """

    known_at_ms: int
    symbol: str
    close: float
    answer: list[float | None] | None
    forecast: str | int | None
    model: int
    halted: bool
    events: list[str]


@dataclass
class LiveSummary:
    """Counts of a run: candles taken, forecasts, models exchanged, alarms of drift, teacher's answers and agreement."""

    candles: int = 0
    forecasts: int = 0
    exchanges: int = 0
    drifts: int = 0
    asked: int = 0
    agreed: int = 0
    halts: int = 0


class LiveLoop:
    """Takes closed candles one by one; slow work runs in threads, and no candle waits for it.

    A retrained model replaces the old one between two candles; a retraining that fails, or a teacher that does, becomes
    an event and changes nothing.

    Parameters
    ----------
    live : LiveForecaster
        Warmed up or not.
    names : sequence of str, optional
        Names of the classes, in the order of the probabilities.
    log : path or writable text file, optional
        Each `Decision` as a line of JSON; a file is appended to, and flushed after each line.
    store : CandleStore, optional
        Each new candle is written to it, before its forecast.
    category : str, optional
        Of the store; that of `live` if not given.
    risk : RiskMonitor, optional
        Gets each row of features.
    drift : object with update(value) -> int, optional
        Watches the mean of min(abs(z), 4) over the features of each row, z in the model's own scaling: how far the
        market is from that of the training. ``PageHinkley(20.0, tolerance=0.25)`` if not given; False for none.
    teacher : callable, optional
        Rows (1, n_features), not scaled, to probabilities (1, n_classes). Asked in a thread, one row at a time; rows
        that close meanwhile are not asked.
    disagreement : object with update(value) -> int, optional
        Watches whether student and teacher name different classes, 1 or 0;
        ``PageHinkley(10.0, tolerance=0.1)`` if not given.
    retrain : callable, optional
        (Candles, Step) -> fitted model; called in a thread when `schedule` says so, with the latest `keep` candles.
    schedule : AdaptiveSchedule, optional
        Needed with `retrain`; sees each close.
    history : Candles, optional
        Candles before the first one, for retraining.
    keep : int
        Candles kept for retraining.

    Attributes
    ----------
    summary : LiveSummary
    models : list of the models used so far, by number
    """

    def __init__(
        self,
        live: LiveForecaster,
        *,
        names: Iterable[str] | None = None,
        log: Any = None,
        store: CandleStore | None = None,
        category: str | None = None,
        risk: RiskMonitor | None = None,
        drift: Any = None,
        teacher: Callable[[NDArray[Any]], Any] | None = None,
        disagreement: Any = None,
        retrain: Callable[[Candles, Step], Any] | None = None,
        schedule: AdaptiveSchedule | None = None,
        history: Candles | None = None,
        keep: int = 50_000,
    ) -> None:
        if (retrain is None) != (schedule is None):
            raise ValueError("retrain and schedule go together: one says how, the other when")
        self.live, self.store, self.risk = live, store, risk
        self.category = category or live.category or "linear"
        self.names = None if names is None else list(names)
        classes = live.classes_
        if self.names is not None and (classes is None or len(self.names) != len(classes)):
            raise ValueError(f"names must have one name a class of {classes}; got {self.names}")
        if teacher is not None and classes is None:
            raise ValueError("a teacher is compared by classes; the model of this forecaster has none")
        self.teacher, self.retrain, self.schedule = teacher, retrain, schedule
        self.drift = PageHinkley(20.0, tolerance=0.25) if drift is None else drift
        self.disagreement = PageHinkley(10.0, tolerance=0.1) if disagreement is None else disagreement
        self.summary, self.models = LiveSummary(), [live.model]
        self._recent: deque[Candle] = deque(() if history is None else history[-keep:], maxlen=keep)
        self._threads = ThreadPoolExecutor(2, "fastkd-live")
        self._asking: tuple[Future[Any], int] | None = None
        self._training: Future[Any] | None = None
        self._own_log = isinstance(log, str | os.PathLike)
        self._log = open(log, "a", encoding="utf-8") if self._own_log else log  # noqa: SIM115 - closed by close

    def take(self, live_candle: LiveCandle) -> Decision | None:
        """The next candle of a stream; None for one that was taken before (see `LiveForecaster.is_new`)."""
        if not self.live.is_new(live_candle):
            return None
        candle, events = live_candle.candle, self._collect()
        if self.store is not None:
            self.store.write(live_candle.as_candles(), self.category)
        gaps = self.live.n_missing
        answer = self.live.push(candle)
        if self.live.n_missing > gaps:
            events.append(f"{self.live.n_missing - gaps} candle(s) were missing")
        self.summary.candles += 1
        self._recent.append(candle)
        if answer is not None:
            self.summary.forecasts += 1
            self._watch(self.live.row, answer, events)
        self._plan(candle.close, events)
        known = self.live.known_at_ms
        assert known is not None  # the interval is known
        decision = Decision(
            known_at_ms=known,
            symbol=live_candle.symbol,
            close=candle.close,
            answer=None if answer is None else [None if x != x else x for x in answer.tolist()],
            forecast=self._forecast(answer),
            model=len(self.models) - 1,
            halted=self.risk is not None and self.risk.halted,
            events=events,
        )
        if self._log is not None:
            self._log.write(json.dumps(asdict(decision), allow_nan=False) + "\n")
            self._log.flush()
        return decision

    def close(self) -> None:
        """End the threads and the log that it opened; work that has begun is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._own_log:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forecast(self, answer: NDArray[Any] | None) -> Any:
        if answer is None or self.live.classes_ is None or np.isnan(answer).any():
            return None
        best = int(answer.argmax())
        return self.live.classes_.tolist()[best] if self.names is None else self.names[best]

    def _collect(self) -> list[str]:
        """Results of the threads, before the candle they apply to."""
        events: list[str] = []
        if self._training is not None and self._training.done():
            training, self._training = self._training, None
            try:
                model = training.result()
                self.live.exchange(model)
                self.models.append(model)
                self.summary.exchanges += 1
                events.append(f"model {len(self.models) - 1} in use")
            except Exception as error:
                events.append(f"retraining failed, the model stays: {type(error).__name__}: {error}")
        if self._asking is not None and self._asking[0].done():
            (asking, own), self._asking = self._asking, None
            try:
                other = int(np.asarray(asking.result())[0].argmax())
                self.summary.asked += 1
                self.summary.agreed += other == own
                if self.disagreement.update(float(other != own)) > 0:
                    self.summary.drifts += 1
                    events.append("drift: the teacher disagrees more often than before")
            except Exception as error:
                events.append(f"the teacher failed: {type(error).__name__}: {error}")
        return events

    def _watch(self, row: NDArray[np.float64], answer: NDArray[Any], events: list[str]) -> None:
        if self.risk is not None:
            before = self.risk.halted
            after = self.risk.update(row)
            if after != before:
                self.summary.halts += after
                events.append(f"risk: {self.risk.events[-1].kind}: {self.risk.events[-1].reason}")
        scaler = self.live.model.scaler
        z = row if scaler is None else (row - scaler.mean_) / scaler.scale_
        distance = float(np.minimum(np.abs(z), 4.0).mean())
        if self.drift is not False and np.isfinite(distance) and self.drift.update(distance) > 0:
            self.summary.drifts += 1
            events.append("drift: the features are farther from those of the training than before")
        if self.teacher is not None and self._asking is None and not np.isnan(answer).any():
            self._asking = self._threads.submit(self.teacher, row[None]), int(answer.argmax())

    def _plan(self, close: float, events: list[str]) -> None:
        if self.schedule is None or self.retrain is None:
            return
        step = self.schedule.update(close)
        if not step.distill:
            return
        if self._training is not None:
            events.append("retraining is due, but the one before still runs")
            return
        columns = zip(*self._recent, strict=True)
        candles = Candles(*map(list, columns), symbol=self.live.symbol, interval=self.live.interval)  # type: ignore[arg-type]
        self._training = self._threads.submit(self.retrain, candles, step)
        events.append(f"retraining begins on {len(candles)} candles{' after a change of regime' * step.restart}")


def run_live(
    live: LiveForecaster,
    stream: Iterable[LiveCandle],
    *,
    stop_after: int | None = None,
    on_decision: Callable[[Decision], None] | None = None,
    **options: Any,
) -> LiveSummary:
    """Forecast each new candle of a stream until it ends.

    Parameters
    ----------
    live : LiveForecaster
        Warm it up first: ``live.warm_up(store)``. Then start the stream where the store ends; the candle that both
        have is left out.
    stream : iterable of LiveCandle
        Such as ``BybitStream("BTCUSDT", "5m", start={"BTCUSDT": live.last_ms})``.
    stop_after : int, optional
        Number of new candles after which it returns, and closes a stream that can be closed.
    on_decision : callable, optional
        Called with each `Decision`.
    **options
        Of `LiveLoop`.

    Examples
    --------
    >>> from fastkd import Forecaster
    >>> from fastkd.market import synthetic_market
    >>> from fastkd.market.stream import LiveCandle
    >>> candles = synthetic_market(1200, random_state=0, interval="5m")
    >>> forecaster = Forecaster("ohlcv4", kd_weight=0.0, random_state=0).fit(candles[:1000])
    >>> live = forecaster.live()
    >>> _ = live.warm_up(candles[:1000])
    >>> stream = [LiveCandle("SYNTHETIC", "5m", candle) for candle in candles[999:]]
    >>> run_live(live, stream, names=forecaster.labels.names).forecasts
    200
    """
    with LiveLoop(live, **options) as loop:
        for live_candle in stream:
            decision = loop.take(live_candle)
            if decision is not None and on_decision is not None:
                on_decision(decision)
            if stop_after is not None and loop.summary.candles >= stop_after:
                if hasattr(stream, "close"):
                    stream.close()
                break
        return loop.summary
