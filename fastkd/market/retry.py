"""Sending one request until it is answered: what is tried again, after how long, and what is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from fastkd.market.errors import AccessDenied, BybitError, RateLimited, UnknownSymbol
from fastkd.market.rate_limit import RequestGate

__all__ = ["BadAnswer", "Retry", "read_answer"]

T = TypeVar("T")

TOO_MANY = {10006, 10018, 429}  # retCodes; 429 also comes as HTTP status
TRY_AGAIN = {10000, 10016}  # the server timed out, or failed
REGION = {10009, 10024}
BLOCK_SECONDS = 600.0  # the exchange lifts its block after ten minutes without requests
DENIED = (
    "Bybit answered HTTP 403. Either this address sent too many requests (more than 600 in 5 s): close every program"
    " that uses it and wait 10 minutes. Or Bybit does not serve this place, such as the US or mainland China, where"
    " most cloud machines stand: use a regional host through base_url"
)


class BadAnswer(ValueError):
    """An answer that cannot be right and may be better next time: cut off, no JSON, rows of another symbol."""


class TooFast(Exception):
    """The exchange asks for fewer requests; `wait` is what it asks for in seconds, if it says so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Retry(NamedTuple):
    """How often a request is sent, and how long to wait in between.

    The wait before attempt k + 1 lies between half of and all of ``min(cap, base * 2**(k - 1))`` seconds, at random
    so that programs that failed together do not come back together.
    """

    attempts: int = 6
    base: float = 0.5
    cap: float = 30.0

    def delay(self, failures: int, uniform: float) -> float:
        """Seconds to wait after a number of failures; `uniform` is a random number in [0, 1)."""
        return min(self.cap, self.base * 2.0 ** min(failures - 1, 60)) * (0.5 + 0.5 * uniform)

    def run(self, send: Callable[[], T], gate: RequestGate, rng: random.Random, what: str) -> T:
        """Call `send` through the gate until it returns; the last failure is the cause of the error raised."""
        from requests import RequestException

        failure: Exception | None = None
        for attempt in range(1, self.attempts + 1):
            gate.wait()
            try:
                return send()
            except AccessDenied as error:
                gate.close(str(error), BLOCK_SECONDS)
                raise
            except TooFast as error:
                failure = error
                wait = max(1.0, self.delay(attempt + 1, rng.random()))
                if error.wait:
                    wait = min(error.wait, 60.0) + 0.25 * rng.random()
                gate.pause(wait)  # for all threads
            except (RequestException, BadAnswer) as error:
                failure = error
                if attempt < self.attempts:
                    gate.sleep(self.delay(attempt, rng.random()))
        kind = RateLimited if isinstance(failure, TooFast) else BybitError
        raise kind(
            f"{what}: no usable answer in {self.attempts} attempts; the last failed with: {failure}"
        ) from failure


def read_answer(status: int, headers: Mapping[str, str], text: str, symbol: str | None) -> dict[str, Any]:
    """The JSON object of a good answer, or the error that fits: BadAnswer and TooFast are tried again, others not."""
    import json

    if status == 403:
        raise AccessDenied(DENIED, 403)
    if status == 429:
        raise TooFast("HTTP 429, too many requests")
    if status >= 500:
        raise BadAnswer(f"HTTP {status}")
    if status != 200:
        raise BybitError(f"Bybit answered HTTP {status}: {text[:200]!r}; is base_url right?", status)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"the answer is not JSON ({error}): {text[:80]!r}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("retCode"), int):
        raise BadAnswer(f"the answer has no retCode: {text[:80]!r}")
    code, message = answer["retCode"], answer.get("retMsg", "")
    if code == 0:  # the message of success varies
        return answer
    if code in TOO_MANY:
        raise TooFast(f"retCode {code}, {message}", _seconds_until_reset(answer, headers))
    if code in TRY_AGAIN:
        raise BadAnswer(f"retCode {code}, {message}")
    if code == 10001 and symbol is not None:  # everything else was checked before sending; messages vary by endpoint
        raise UnknownSymbol(f"Bybit does not know {symbol} in this category (retCode 10001, {message!r})", code)
    if code in REGION:
        raise AccessDenied(f"Bybit refuses this account or place (retCode {code}, {message!r})", code)
    raise BybitError(f"Bybit answered retCode {code}, {message!r}", code)


def _seconds_until_reset(answer: dict[str, Any], headers: Mapping[str, str]) -> float | None:
    """From the header that public endpoints often lack; by the server's own clock, since ours may be wrong."""
    try:
        return max(0, int(headers["X-Bapi-Limit-Reset-Timestamp"]) - int(answer["time"])) / 1000.0
    except (KeyError, ValueError, TypeError):
        return None
