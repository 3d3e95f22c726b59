"""What can go wrong with an answer, one name each."""

from __future__ import annotations

import enum
import json
from typing import Any

__all__ = ["Fault", "apply_to_rows", "replace_answer"]


class Fault(enum.Enum):
    """A fault of one answer."""

    RATE_LIMIT = "HTTP 200 with retCode 10006 and no reset header, as the public endpoints answer"
    RATE_LIMIT_WITH_RESET = "HTTP 200 with retCode 10006 and a reset two seconds ahead in the header"
    FORBIDDEN = "HTTP 403 with an HTML body"
    TOO_MANY_REQUESTS = "HTTP 429"
    BAD_GATEWAY = "HTTP 502 with an HTML body"
    SERVER_TIMEOUT = "retCode 10000"
    SERVER_ERROR = "retCode 10016"
    TRUNCATED_JSON = "the second half of the body is missing"
    SLOW = "no answer until the client has given up"
    RESET = "the connection is reset"
    WRONG_SYMBOL = "the answer names another symbol"
    EMPTY = "an empty list of candles"
    DUPLICATED_ROW = "the middle row comes twice"
    MISSING_ROW = "the middle row is absent"
    SWAPPED_ROWS = "the first and the last row have changed places"


def replace_answer(fault: Fault, now_ms: int) -> tuple[int, dict[str, str], bytes] | None:
    """Status, headers and body of faults that need no candles; None for the others."""
    codes = {
        Fault.RATE_LIMIT: (10006, "Too many visits. Exceeded the API Rate Limit."),
        Fault.RATE_LIMIT_WITH_RESET: (10006, "Too many visits. Exceeded the API Rate Limit."),
        Fault.SERVER_TIMEOUT: (10000, "Server Timeout"),
        Fault.SERVER_ERROR: (10016, "Server error."),
    }
    html = {Fault.FORBIDDEN: (403, "access too frequent"), Fault.BAD_GATEWAY: (502, "Bad Gateway")}
    if fault in codes:
        headers = {"X-Bapi-Limit-Reset-Timestamp": str(now_ms + 2000)} if fault is Fault.RATE_LIMIT_WITH_RESET else {}
        return 200, headers, encode(envelope(*codes[fault], {}, now_ms))
    if fault in html:
        status, text = html[fault]
        return status, {"Content-Type": "text/html"}, f"<html><body><h1>{status} {text}</h1></body></html>".encode()
    return (429, {}, b"") if fault is Fault.TOO_MANY_REQUESTS else None


def apply_to_rows(fault: Fault | None, rows: list[list[str]]) -> list[list[str]]:
    """Spoil the rows of an answer."""
    middle = len(rows) // 2
    if fault is Fault.EMPTY:
        return []
    if fault is Fault.DUPLICATED_ROW:
        return rows[: middle + 1] + rows[middle:]
    if fault is Fault.MISSING_ROW:
        return rows[:middle] + rows[middle + 1 :]
    if fault is Fault.SWAPPED_ROWS and len(rows) > 1:
        return [rows[-1], *rows[1:-1], rows[0]]
    return rows


def envelope(code: int, message: str, result: dict[str, Any], now_ms: int) -> dict[str, Any]:
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}


def encode(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()
