"""RiskMonitor: a fast student watches the risk tick by tick, a slow teacher checks its alarms in the background."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_float


@dataclass(frozen=True)
class RiskEvent:
    """Something that a `RiskMonitor` did.

    Attributes
    ----------
    tick : number of the `update`, from 0
    kind : "halt", "release", "confirmed" or "dismissed" (by the teacher), "unchecked" (the teacher failed)
    risk : the student's at that tick; NaN if it had none. For a verdict of the teacher: the teacher's
    reason : in words
    """

    tick: int
    kind: str
    risk: float
    reason: str


class RiskMonitor:
    """Circuit breaker on a fast proxy of risk, with hysteresis and asynchronous validation.

    Trading halts when the proxy reaches `trip`, and goes on when it has stayed below `reset` for `calm` ticks in a
    row, so that a risk near one threshold does not switch at every tick. A halt also starts the teacher on the row that
    caused it, in a background thread: if it finds less than `trip`, the alarm was false and is taken back, and the
    breaker arms again once the proxy has fallen below `reset`, or risen above the risk that was dismissed by
    `trip - reset`. Without a verdict, and where the proxy or the teacher fails, the halt stands: the safe side.

    Parameters
    ----------
    risk : callable
        Row -> risk, a number or an array of one number, larger is riskier: the `predictor()` of an `MLPRegressor`
        that was trained on a teacher's value at risk, for example.
    trip, reset : float
        reset < trip, in the unit of the risk. Choose `trip` below the limit that must not be passed: the student is an
        approximation.
    calm : int
        Ticks in a row below `reset` before trading goes on.
    validate : callable, optional
        Row -> the teacher's risk. It may be slow; it runs in a thread of its own, one row at a time.
    keep : int
        How many `events` are kept, the latest.

    Attributes
    ----------
    halted : bool
    ticks : int
        Number of updates so far.
    events : list of RiskEvent

    Notes
    -----
    A verdict takes effect at the first `update` or `poll` after it is there, so the state never changes between calls.
    One thread may call a monitor; its predictor may be shared. `close()`, or a with statement, ends the teacher's
    thread.

    Examples
    --------
    >>> monitor = RiskMonitor(lambda row: row[0], trip=0.8, reset=0.6, calm=2)
    >>> [monitor.update([x]) for x in (0.5, 0.7, 0.85, 0.7, 0.5, 0.7, 0.5, 0.5, 0.7)]
    [False, False, True, True, True, True, True, False, False]
    >>> for event in monitor.events:
    ...     print(event.tick, event.kind)
    2 halt
    7 release
    """

    def __init__(
        self,
        risk: Callable[[Any], Any],
        *,
        trip: float,
        reset: float,
        calm: int = 1,
        validate: Callable[[Any], Any] | None = None,
        keep: int = 1000,
    ) -> None:
        for name, call in (("risk", risk), ("validate", validate)):
            if not (callable(call) or (name == "validate" and call is None)):
                raise TypeError(f"{name} must be callable, a row to a number; got {type(call).__name__}")
        self.trip, self.reset = as_float(trip, "trip"), as_float(reset, "reset")
        if not (math.isfinite(self.trip) and math.isfinite(self.reset) and self.reset < self.trip):
            raise ValueError(f"reset must be below trip, both finite; got reset={reset}, trip={trip}")
        for name, count in (("calm", calm), ("keep", keep)):
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"{name} must be an integer >= 1; got {count!r}")
        self.calm, self.halted, self.ticks = calm, False, 0
        self._risk, self._validate = risk, validate
        self._below = 0  # ticks in a row below reset
        self._armed_from = self.trip  # a dismissed alarm raises it until the risk has fallen below reset
        self._events: deque[RiskEvent] = deque(maxlen=keep)
        self._thread: ThreadPoolExecutor | None = None
        self._pending: tuple[Future[float], float] | None = None  # the teacher at work, and the risk that it checks

    @property
    def events(self) -> list[RiskEvent]:
        return list(self._events)

    def update(self, row: Any) -> bool:
        """Take in the features of a tick; returns whether trading is halted.

        A risk that is not finite, or a proxy that raises, halts: what cannot be seen is not known to be safe.
        """
        self.poll()
        try:
            risk, trouble = _number(self._risk(row)), "the risk is not finite"
        except Exception as error:
            risk, trouble = math.nan, f"{type(error).__name__}: {error}"
        if not math.isfinite(risk):
            self._below = 0
            self._halt(row, risk, trouble)
        elif risk < self.reset:
            self._below += 1
            self._armed_from = self.trip
            if self.halted and self._below >= self.calm:
                self.halted, self._pending = False, None  # a verdict on this alarm is of no use for the next
                self._note("release", risk, f"below {self.reset:g} for {self._below} ticks")
        else:
            self._below = 0
            if risk >= self._armed_from:
                self._halt(row, risk, f"reached {self._armed_from:g}")
        self.ticks += 1
        return self.halted

    def poll(self) -> bool:
        """Let a verdict of the teacher take effect, if there is one; returns whether trading is halted."""
        if self._pending is not None and self._pending[0].done():
            (verdict, alarm), self._pending = self._pending, None
            try:
                found = verdict.result()
            except Exception as error:
                self._note("unchecked", math.nan, f"the teacher failed: {type(error).__name__}: {error}")
                return self.halted
            if not math.isfinite(found):
                self._note("unchecked", found, "the teacher's risk is not finite")
            elif found >= self.trip:
                self._note("confirmed", found, f"the teacher finds at least {self.trip:g}")
            else:
                self._note("dismissed", found, f"the teacher finds less than {self.trip:g}")
                if self.halted and math.isfinite(alarm):
                    self.halted = False
                    self._armed_from = max(self.trip, alarm + (self.trip - self.reset))
        return self.halted

    def close(self) -> None:
        """End the teacher's thread; a check that has begun is not waited for, and its verdict not read."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._thread = self._pending = None

    def __enter__(self) -> RiskMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _halt(self, row: Any, risk: float, reason: str) -> None:
        if self.halted:
            return
        self.halted = True
        self._note("halt", risk, reason)
        if self._validate is not None and self._pending is None:
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="fastkd-risk")
            own = np.array(row)  # the caller may use its buffer for the next tick
            self._pending = self._thread.submit(lambda: _number(self._validate(own))), risk  # type: ignore[misc]

    def _note(self, kind: str, risk: float, reason: str) -> None:
        self._events.append(RiskEvent(self.ticks, kind, risk, reason))


def _number(x: Any) -> float:
    array = np.asarray(x, np.float64)
    if array.size != 1:
        raise ValueError(f"the risk must be one number; got shape {array.shape}")
    return float(array.reshape(()))
