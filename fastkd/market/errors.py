"""The errors of candles and of the exchange."""

from __future__ import annotations

__all__ = ["AccessDenied", "BybitError", "CandleError", "MissingCandlesWarning", "RateLimited", "UnknownSymbol"]


class CandleError(ValueError):
    """Candles that cannot be read or used; the message is one line that names the place and the fault."""


class BybitError(OSError):
    """The exchange could not be reached, or answered with an error; ``__cause__`` is the last failure.

    Attributes
    ----------
    code : int or None
        ``retCode`` of the answer, or its HTTP status if that was no success.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class UnknownSymbol(BybitError, ValueError):
    """The exchange does not know this symbol in this category (``retCode`` 10001)."""


class RateLimited(BybitError):
    """Still too many requests after every attempt (``retCode`` 10006 or 10018, HTTP 429)."""


class AccessDenied(BybitError):
    """The exchange refuses this address (HTTP 403): it sent too many requests, or stands where Bybit does not serve."""


class MissingCandlesWarning(UserWarning):
    """The exchange did not serve candles that must exist, although they were asked for again."""
