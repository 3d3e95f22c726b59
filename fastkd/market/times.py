"""Spellings of candle intervals, and milliseconds as readable UTC time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["DAY_MS", "interval_name", "interval_to_ms", "normalize_interval", "utc_text"]

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_ALIAS = {"": "m", "min": "m", "H": "h", "D": "d", "W": "w"}  # a bare number counts minutes, as exchanges write it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DAY_MS = _UNIT_MS["d"]


def interval_to_ms(interval: str | int) -> int:
    """Length of a candle interval in milliseconds.

    Parameters
    ----------
    interval : str or int
        A number with a unit, ``"5m"``, ``"1h"``, ``"1d"``, ``"1w"`` (also ``s`` and ``ms``), or the spelling of
        exchange interfaces: minutes without a unit (``"5"``, ``60``), ``"D"``, ``"W"``.

    Raises
    ------
    ValueError
        The spelling is unknown, the length is not positive, or the unit is a calendar month, which has no fixed length.

    Examples
    --------
    >>> interval_to_ms("5m"), interval_to_ms("60"), interval_to_ms("D")
    (300000, 3600000, 86400000)
    """
    if isinstance(interval, bool) or not isinstance(interval, str | int):
        raise TypeError(f"interval must be a string such as '5m' or a number of minutes; got {interval!r}")
    found = re.fullmatch(r"([0-9]*)(ms|min|[smhdwHDW]?)", str(interval).strip())
    if found is None or not any(found.groups()) or found[1].strip("0") == "" != found[1]:
        raise ValueError(f"interval must be spelled like '1m', '5m', '1h', '4h', '1d' or '1w'; got {interval!r}")
    return int(found[1] or "1") * _UNIT_MS[_ALIAS.get(found[2], found[2])]


def interval_name(milliseconds: int) -> str:
    """Shortest usual name of a length: the largest unit that divides it.

    Examples
    --------
    >>> interval_name(300_000), interval_name(14_400_000), interval_name(5_400_000)
    ('5m', '4h', '90m')
    """
    unit = max((u for u in _UNIT_MS if milliseconds % _UNIT_MS[u] == 0), key=_UNIT_MS.__getitem__)
    return f"{milliseconds // _UNIT_MS[unit]}{unit}"


def normalize_interval(interval: str | int) -> str:
    """One spelling for every interval.

    Examples
    --------
    >>> [normalize_interval(i) for i in ("5", "5min", 60, "60m", "D", "1w")]
    ['5m', '5m', '1h', '1h', '1d', '1w']
    """
    return interval_name(interval_to_ms(interval))


def utc_text(milliseconds: int) -> str:
    """UTC milliseconds as ``YYYY-MM-DD HH:MM`` (with seconds where they are not zero).

    Examples
    --------
    >>> utc_text(1_704_067_200_000)
    '2024-01-01 00:00'
    """
    try:
        moment = _EPOCH + timedelta(milliseconds=int(milliseconds))
    except OverflowError:  # a nonsense stamp must not hide the report it stands in
        return f"{milliseconds} ms"
    return moment.strftime("%Y-%m-%d %H:%M" if milliseconds % 60_000 == 0 else "%Y-%m-%d %H:%M:%S")
