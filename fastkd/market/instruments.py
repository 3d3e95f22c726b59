"""What the exchange says about a tradable instrument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastkd.market.retry import BadAnswer

__all__ = ["Instrument", "parse_instruments"]


@dataclass(frozen=True)
class Instrument:
    """One entry of ``instruments-info``; what a category does not have is None, and `raw` holds everything.

    Attributes
    ----------
    symbol, category, status, contract_type : str
    launch_ms : int or None
        When trading was announced to begin. It is not the first candle: BTCUSDT has candles five days before it.
    delivery_ms : int or None
        End of a dated or delisted contract.
    tick_size, quantity_step : str or None
        Steps of price and quantity as the exchange writes them, in decimal.
    funding_minutes : int or None
    """

    symbol: str
    category: str
    status: str
    contract_type: str
    launch_ms: int | None
    delivery_ms: int | None
    tick_size: str | None
    quantity_step: str | None
    funding_minutes: int | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


def parse_instruments(answer: dict[str, Any], category: str) -> tuple[list[Instrument], str]:
    """Instruments of one page, and the cursor of the next, empty after the last."""
    result = answer.get("result")
    if not isinstance(result, dict) or not isinstance(result.get("list"), list):
        raise BadAnswer("the answer holds no list of instruments")
    try:
        return [_instrument(raw, category) for raw in result["list"]], result.get("nextPageCursor") or ""
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadAnswer(f"an instrument is not as documented: {error!r}") from None


def _instrument(raw: Mapping[str, Any], category: str) -> Instrument:
    lot = raw.get("lotSizeFilter", {})
    return Instrument(
        symbol=raw["symbol"],
        category=category,
        status=raw.get("status", ""),
        contract_type=raw.get("contractType", ""),
        launch_ms=int(raw.get("launchTime") or 0) or None,
        delivery_ms=int(raw.get("deliveryTime") or 0) or None,
        tick_size=raw.get("priceFilter", {}).get("tickSize"),
        quantity_step=lot.get("qtyStep") or lot.get("basePrecision"),
        funding_minutes=raw.get("fundingInterval"),
        raw=raw,
    )
