"""The one error that candles raise."""

from __future__ import annotations

__all__ = ["CandleError"]


class CandleError(ValueError):
    """Candles that cannot be read or used; the message is one line that names the place and the fault."""
