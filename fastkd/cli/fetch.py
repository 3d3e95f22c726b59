"""`fastkd fetch`: candles from the exchange into a store, with progress; any stop can be resumed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from fastkd.cli.common import Json, check, write_json

if TYPE_CHECKING:
    from fastkd.market import Candles, CandleStore, Download, Progress

__all__ = ["fetch"]

OK, INTERRUPTED = 0, 130
SHOWN_GAPS = 5


def fetch(
    markets: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    start: str | None = None,
    end: str | None = None,
    category: Literal["linear", "spot", "inverse"] = "linear",
    store: Path = Path("candles.db"),
    export: Path | None = None,
    base_url: str = "https://api.bybit.com",
    per_second: float = 10.0,
    workers: int = 1,
    json: Json = None,
    quiet: bool = False,
) -> int:
    """Fetch closed candles of Bybit's public market data into a store; no key is needed.

    Every page is committed as it comes: after Ctrl-C, a crash or a lost connection the same command goes on, and run
    again later it updates.

    Parameters
    ----------
    markets
        Symbols such as BTCUSDT, then the interval: 1m, 5m, 1h, 1d.
    start
        First candle, ISO time in UTC; else the last stored one.
    end
        Last candle; else now.
    category
        Market.
    store
        The store.
    export
        Also write .csv, .csv.gz or .parquet (one symbol).
    base_url
        The exchange's host.
    per_second
        Requests a second.
    workers
        Requests at the same time; Ctrl-C waits for all but one.
    json
        Also write what the store holds; - for standard output.
    quiet
        Print errors only.
    """
    from fastkd.market import BybitClient
    from fastkd.market import CandleStore as Store

    if len(markets) < 2:
        raise ValueError("fetch needs one or more symbols and an interval, as in: fastkd fetch BTCUSDT 1h")
    *symbols, interval = markets
    if export is not None:
        if len(symbols) > 1:
            raise ValueError("--export writes one file: fetch one symbol")
        if not export.name.endswith((".csv", ".csv.gz", ".parquet")):
            raise ValueError(f"--export must end in .csv, .csv.gz or .parquet; got {export}")
    check({"--export": export, "--json": json}, {"the store": [store]})
    client = BybitClient(base_url, per_second=per_second)
    with Store(store) as held:
        for symbol in symbols:
            line = _ProgressLine(quiet)
            try:
                download = held.download(client, symbol, interval, start, end, category, workers=workers, progress=line)
            except KeyboardInterrupt:
                line.end()
                print(f"fastkd: interrupted; {line.summary()}. The same command goes on from there.", file=sys.stderr)
                return INTERRUPTED
            finally:
                line.end()
            if not quiet:
                print(_report(held, symbol, download, category))
        if export is not None:
            _export(held.read(symbols[0], interval, start, end, category=category), export, quiet)
        write_json(json, [series._asdict() for series in held.series()])
    return OK


def _report(store: CandleStore, symbol: str, download: Download, category: str) -> str:
    from fastkd.market.times import utc_text

    key = (category, symbol, download.interval)
    held = next((series for series in store.series() if series[:3] == key), None)
    if held is None:
        return f"{symbol} {download.interval}: the exchange has no closed candles in this range"
    span = f"{utc_text(held.first_ms)} .. {utc_text(held.last_ms)} UTC"
    gaps = download.gaps
    shown = [f"{gap.missing} from {utc_text(gap.start_ms)}" for gap in gaps[:SHOWN_GAPS]]
    more = f" and {len(gaps) - SHOWN_GAPS} more" if len(gaps) > SHOWN_GAPS else ""
    holes = f"{len(gaps)} gap(s): {', '.join(shown)}{more}" if gaps else "no gaps"
    received = f"{download.received:,} candles fetched"
    return f"{symbol} {download.interval}: {received}; {held.n_candles:,} stored, {span}; {holes}"


def _export(candles: Candles, path: Path, quiet: bool) -> None:
    if path.suffix == ".parquet":
        candles.to_parquet(path)
    else:
        candles.to_csv(path)
    if not quiet:
        print(f"{len(candles):,} candles written to {path}")


class _ProgressLine:
    """Progress on stderr: one line that changes on a terminal, a line for every tenth elsewhere."""

    def __init__(self, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet, self._clock = quiet, clock
        self._started = clock()
        self._terminal = sys.stderr.isatty()
        self._tenth = 0
        self._last: tuple[str, int, str] | None = None
        self._open = False

    def __call__(self, progress: Progress) -> None:
        from fastkd.market.times import utc_text

        done = progress.done_ms - progress.start_ms
        share = min(1.0, max(0.0, done / max(progress.until_ms - progress.start_ms, 1)))
        seconds = self._clock() - self._started
        up_to = utc_text(progress.done_ms)
        self._last = (f"{progress.symbol} {progress.interval}", progress.received, up_to)
        left = f", {seconds * (1 - share) / share:.0f} s left" if 0 < share < 1 else ""
        text = f"{self._last[0]}  {100 * share:3.0f} %  up to {up_to} UTC, {progress.received:,} candles{left}"
        if self._quiet:
            return
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif int(10 * share) > self._tenth:
            self._tenth = int(10 * share)
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._open:
            print(file=sys.stderr)
            self._open = False

    def summary(self) -> str:
        if self._last is None:
            return "nothing new was stored"
        name, received, up_to = self._last
        return f"{received:,} candles of {name} are stored, up to {up_to} UTC"
