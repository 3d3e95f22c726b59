"""One gate through which every request passes: a token bucket, a common pause, and a stop, shared by all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fastkd._check import as_positive
from fastkd.market.errors import AccessDenied

__all__ = ["RequestGate"]


class RequestGate:
    """Token bucket with a common pause and a stop.

    Clients that share an address should share a gate: the exchange counts requests by address, and workers that each
    wait and retry on their own multiply the load that caused the limit.

    Parameters
    ----------
    per_second : float
        Tokens that flow in; one request takes one.
    burst : int
        Tokens that the bucket holds.
    clock, sleep : callable
        Seconds that only go up, and the wait for some of them; tests pass their own.

    Examples
    --------
    >>> now = [0.0]
    >>> gate = RequestGate(10, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))
    >>> for _ in range(21):
    ...     gate.wait()
    >>> round(now[0], 6)
    2.0
    """

    def __init__(
        self,
        per_second: float = 10.0,
        *,
        burst: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if isinstance(burst, bool) or not isinstance(burst, int) or burst < 1:
            raise ValueError(f"burst must be a whole number of requests, at least 1; got {burst!r}")
        self._interval = 1.0 / as_positive(per_second, "per_second")
        self._allowance = (burst - 1) * self._interval
        self.clock, self.sleep = clock, sleep
        self._lock = threading.Lock()
        self._next = clock()  # when the bucket is full, this lies `_allowance` behind the clock
        self._paused_until = self._next
        self._closed_until = self._next
        self._reason = ""

    def wait(self) -> None:
        """Return when one request may be sent; AccessDenied while the gate is closed."""
        while True:
            with self._lock:
                now = self.clock()
                self._raise_if_closed(now)
                due = max(self._next, now - self._allowance, self._paused_until)
                if due <= now:
                    self._next = due + self._interval
                    return
            # No token is held while waiting, so a pause or a stop declared meanwhile holds for this thread too.
            self.sleep(due - now)

    def pause(self, seconds: float) -> None:
        """Let nobody through for a time: one thread was told that all are too fast."""
        with self._lock:
            self._paused_until = max(self._paused_until, self.clock() + seconds)

    def close(self, reason: str, seconds: float) -> None:
        """Refuse everybody for a time."""
        with self._lock:
            self._closed_until = max(self._closed_until, self.clock() + seconds)
            self._reason = reason

    def check(self) -> None:
        """Raise AccessDenied while the gate is closed."""
        with self._lock:
            self._raise_if_closed(self.clock())

    def _raise_if_closed(self, now: float) -> None:
        if now < self._closed_until:
            raise AccessDenied(f"{self._reason} (nothing is sent for another {self._closed_until - now:.0f} s)", 403)
