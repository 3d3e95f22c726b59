"""`fastkd live`: forecasts of a market as its candles close, one line of JSON each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from fastkd.cli.common import STDIN, Output, check, say_steps
from fastkd.cli.models import load_forecaster

__all__ = ["live"]


def live(
    model: Path,
    /,
    *,
    symbol: str | None = None,
    category: Literal["linear", "spot", "inverse"] | None = None,
    store: Path | None = None,
    log: Output = Path(STDIN),
    on_gap: Literal["raise", "reset", "bridge"] = "bridge",
    retrain: bool = False,
    stop_after: int | None = None,
    base_url: str = "https://api.bybit.com",
    stream_url: str = "wss://stream.bybit.com/v5/public",
    quiet: bool = False,
) -> int:
    """Forecast each candle of Bybit as it closes; after a stop the same command goes on.

    The candles before the first one come from the store or the exchange, so the first forecast comes with the first
    close.

    Parameters
    ----------
    model
        A file of `fastkd train` or `distill`.
    symbol
        Market; that of the training if not given.
    category
        Market's category; that of the training, else linear.
    store
        A store of candles: it is brought up to date first and keeps each new candle.
    log
        A file that each decision is added to as a line of JSON; standard output if not given.
    on_gap
        Where candles are missing: refuse the one after them, begin anew with it, or step over them. In Python it is
        raise; here nobody could push the missing ones, so the command goes on, and each decision says what was missing.
    retrain
        Train a new student in the background when the market changes; needs a store with history.
    stop_after
        End after so many candles.
    base_url
        The exchange's host.
    stream_url
        Its stream.
    quiet
        Print errors and decisions only.
    """
    from fastkd.cli.outputs import need
    from fastkd.forecast.learning import require_settings
    from fastkd.forecast.loop import run_live
    from fastkd.market import BybitClient, BybitStream, CandleStore

    need("websockets")
    check({"--log": log}, {"the model": [model], "the store": [store]})
    if stop_after is not None and stop_after < 1:
        raise ValueError(f"--stop-after must be at least 1; got {stop_after}")
    if retrain and store is None:
        raise ValueError("--retrain needs --store, with the candles to train on")
    found = load_forecaster(model)
    if retrain:
        require_settings(found)
    market = symbol or found.symbol
    if not isinstance(market, str):
        raise ValueError(f"{model} does not say which market: give --symbol")
    kind = category or found.category or "linear"
    say = say_steps(quiet)
    client = BybitClient(base_url)
    forecaster = found.live(on_gap, symbol=market)
    say(f"candles of {market} {found.interval} before the first one")
    held = None if store is None else CandleStore(store)
    options: dict[str, Any] = {}
    try:
        if held is None:
            needed = found.features.n_warmup + 2
            forecaster.warm_up(client.fetch_klines(market, found.interval, needed, kind))
        else:
            known = {series.symbol for series in held.series() if series[0] == kind and series[2] == found.interval}
            start = None if market in known else _first_ms(client, found)
            held.download(client, market, found.interval, start, None, kind)
            history = held.read(market, found.interval, category=kind)
            forecaster.warm_up(history)
            options = {"store": held, "category": kind}
            if retrain:
                from fastkd.distill import AdaptiveSchedule

                options |= {
                    "history": history,
                    "schedule": AdaptiveSchedule(),
                    "retrain": lambda candles, step: found.clone().fit(candles).student_,
                }
        stream = BybitStream(
            market, found.interval, kind, client=client, start={market: int(forecaster.last_ms or 0)}, url=stream_url
        )
        say(f"live: {market} {found.interval}, {', '.join(found.labels.names) or 'returns'}; Ctrl-C ends it")
        summary = run_live(
            forecaster,
            stream,
            stop_after=stop_after,
            names=found.labels.names or None,
            log=sys.stdout if str(log) == STDIN else log,
            **options,
        )
        say(f"{summary.candles} candles, {summary.forecasts} forecasts")
    finally:
        if held is not None:
            held.close()
    return 0


def _first_ms(client: Any, found: Any) -> int:
    """Open time of the oldest candle that the features need."""
    from fastkd.market.times import interval_to_ms

    return client.server_time() - (found.features.n_warmup + 10) * interval_to_ms(found.interval)
