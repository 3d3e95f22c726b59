"""Spellings of candle intervals, and milliseconds as readable UTC time."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

__all__ = ["DAY_MS", "MONTH", "interval_name", "interval_to_ms", "normalize_interval", "time_to_ms", "utc_text"]

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_ALIAS = {"": "m", "min": "m", "H": "h", "D": "d", "W": "w"}  # a bare number counts minutes, as exchanges write it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DAY_MS = _UNIT_MS["d"]
MONTH = "1M"  # the one interval without a fixed length


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
        The spelling is unknown, the length is not positive, or the unit is a calendar month (``"M"``), which has no
        fixed length.

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
    """One spelling for every interval, the calendar month included.

    Examples
    --------
    >>> [normalize_interval(i) for i in ("5", "5min", 60, "60m", "D", "1w", "M")]
    ['5m', '5m', '1h', '1h', '1d', '1w', '1M']
    """
    return MONTH if interval in ("M", MONTH) else interval_name(interval_to_ms(interval))


def time_to_ms(time: Any, name: str = "time") -> int:
    """A moment as UTC milliseconds: whole milliseconds, a datetime, a date, or an ISO 8601 string.

    A datetime or string without a zone is taken as UTC.

    Raises
    ------
    ValueError
        The string is no ISO time, or the number is too small to be milliseconds since 2001: it may be seconds.
    TypeError
        Anything else.

    Examples
    --------
    >>> time_to_ms("2024-01-01"), time_to_ms("2024-01-01T00:05:00Z"), time_to_ms(1_704_067_200_000)
    (1704067200000, 1704067500000, 1704067200000)
    """
    if isinstance(time, str) and len(time.strip()) == 13 and time.strip().isdigit():
        time = int(time)  # as a command line passes it
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time.strip())
        except ValueError:
            hint = "; a number is passed as int" if time.strip().isdigit() else ""
            raise ValueError(f"{name} must be an ISO 8601 time such as '2024-01-01'; got {time!r}{hint}") from None
    if str(time) == "NaT":
        raise ValueError(f"{name} must be a time; got {time!r}")
    if hasattr(time, "dtype") and time.dtype.kind == "M":
        milliseconds = int(time.astype("datetime64[ms]").astype("int64"))
    elif isinstance(time, date):
        moment = time if isinstance(time, datetime) else datetime(time.year, time.month, time.day)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    elif isinstance(time, bool) or not hasattr(time, "__index__"):
        raise TypeError(f"{name} must be whole milliseconds, a datetime or an ISO 8601 string; got {time!r}")
    else:
        milliseconds = time.__index__()
    if milliseconds <= 10**12:
        hint = f"; as seconds it would be {milliseconds * 1000}" if milliseconds > 10**9 else ""
        raise ValueError(f"{name} must be UTC milliseconds after 2001-09-09; got {milliseconds}{hint}")
    if milliseconds > 2**53:
        raise ValueError(f"{name} must be UTC milliseconds below 2^53; got {milliseconds}")
    return milliseconds


def range_to_ms(start: Any, end: Any) -> tuple[int | None, int | None]:
    """Both ends of a range as UTC milliseconds, None where there is none; a ValueError if the start is the later."""
    low = None if start is None else time_to_ms(start, "start")
    high = None if end is None else time_to_ms(end, "end")
    if low is not None and high is not None and high < low:
        raise ValueError(f"start must not be later than end; got {utc_text(low)} and {utc_text(high)} UTC")
    return low, high


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
