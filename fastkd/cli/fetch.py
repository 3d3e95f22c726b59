"""`fastkd fetch`: candles from the exchange into a store, with progress; any stop can be resumed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastkd.market import Candles, CandleStore, Download, Progress

__all__ = ["add_fetch"]

OK, INTERRUPTED = 0, 130
SHOWN_GAPS = 5


def add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    fetch = commands.add_parser(
        "fetch",
        help="candles of Bybit into a store; run it again to go on after a stop, or to update",
        description="Fetch closed candles of Bybit's public market data into a store. No key is needed. Every page is "
        "committed as it comes: after Ctrl-C, a crash or a lost connection the same command goes on.",
    )
    fetch.add_argument("symbols", nargs="+", metavar="SYMBOL", help="such as BTCUSDT")
    fetch.add_argument("interval", metavar="INTERVAL", help="such as 1m, 5m, 1h, 1d")
    fetch.add_argument("--start", metavar="TIME", help="first candle, ISO time in UTC; else the last stored one")
    fetch.add_argument("--end", metavar="TIME", help="last candle; else now")
    fetch.add_argument(
        "--category", choices=["linear", "spot", "inverse"], default="linear", help="market (%(default)s)"
    )
    fetch.add_argument("--store", type=Path, metavar="FILE", default=Path("candles.db"), help="the store (%(default)s)")
    fetch.add_argument("--export", type=Path, metavar="FILE", help="also write .csv, .csv.gz or .parquet (one symbol)")
    fetch.add_argument(
        "--base-url", metavar="URL", default="https://api.bybit.com", help="the exchange's host (%(default)s)"
    )
    fetch.add_argument("--per-second", type=float, metavar="N", default=10.0, help="requests a second (%(default)s)")
    fetch.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=1,
        help="requests at the same time (%(default)s); Ctrl-C waits for all but one",
    )
    fetch.add_argument("--quiet", action="store_true", help="print errors only")
    fetch.set_defaults(run=_fetch)


def _fetch(options: argparse.Namespace) -> int:
    from fastkd.market import BybitClient, CandleStore

    if options.export is not None:
        if len(options.symbols) > 1:
            raise ValueError("--export writes one file: fetch one symbol")
        if not options.export.name.endswith((".csv", ".csv.gz", ".parquet")):
            raise ValueError(f"--export must end in .csv, .csv.gz or .parquet; got {options.export}")
    client = BybitClient(options.base_url, per_second=options.per_second)
    with CandleStore(options.store) as store:
        for symbol in options.symbols:
            line = _ProgressLine(options.quiet)
            try:
                download = store.download(
                    client,
                    symbol,
                    options.interval,
                    options.start,
                    options.end,
                    options.category,
                    workers=options.workers,
                    progress=line,
                )
            except KeyboardInterrupt:
                line.end()
                print(f"fastkd: interrupted; {line.summary()}. The same command goes on from there.", file=sys.stderr)
                return INTERRUPTED
            finally:
                line.end()
            if not options.quiet:
                print(_report(store, symbol, download, options))
        if options.export is not None:
            _export(
                store.read(symbol, options.interval, options.start, options.end, category=options.category), options
            )
    return OK


def _report(store: CandleStore, symbol: str, download: Download, options: argparse.Namespace) -> str:
    from fastkd.market.times import utc_text

    key = (options.category, symbol, download.interval)
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


def _export(candles: Candles, options: argparse.Namespace) -> None:
    if options.export.suffix == ".parquet":
        candles.to_parquet(options.export)
    else:
        candles.to_csv(options.export)
    if not options.quiet:
        print(f"{len(candles):,} candles written to {options.export}")


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
