"""Walking forward: a forecaster trained afresh before each period, and judged on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastkd.forecast.learning import check_teachers, learn, require_settings
from fastkd.forecast.parts import as_markets, cut, join

if TYPE_CHECKING:
    from fastkd.forecast.forecaster import Forecaster, Report

__all__ = ["walk"]


def walk(
    forecaster: Forecaster,
    candles: Any,
    folds: int,
    others: Any,
    any_symbol: bool,
    say: Callable[[str], None],
    options: dict[str, Any],
) -> Report:
    """The report of all periods; see `Forecaster.evaluate`."""
    require_settings(forecaster)
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 1:
        raise ValueError(f"walk_forward must be a number of periods, at least 1; got {folds!r}")
    if candles is None and getattr(forecaster, "_all_rows", None) is None:
        raise ValueError("walk_forward needs candles: the forecaster was not fitted here")
    if candles is None:
        rows, interval = forecaster._all_rows, forecaster.interval
        symbols = forecaster.symbol if isinstance(forecaster.symbol, tuple) else (forecaster.symbol,)
    else:
        markets = as_markets(candles)
        for market in markets if forecaster.__sklearn_is_fitted__() else ():
            forecaster.require_market(market, any_symbol=any_symbol)
        rows, interval = forecaster._rows(markets, others), str(markets[0].interval)
        symbols = tuple(market.symbol for market in markets)
    times = np.sort(rows.known_at_ms)
    if len(times) < 10 * (folds + 1):
        raise ValueError(f"{len(times)} rows are too few for walk_forward={folds}")
    edges = [int(times[len(times) * k // (folds + 1)]) for k in range(1, folds + 1)] + [int(times[-1]) + 1]
    answers, tested, numbers, constants = [], [], [], []
    for fold in range(folds):
        train, later = cut(rows, edges[fold])
        test = later[later.known_at_ms < edges[fold + 1]]
        say(f"period {fold + 1} of {folds}")
        check_teachers(forecaster, test.span, interval, symbols)
        learned = learn(forecaster, train, lambda text: None)
        predict = learned.student.predictor()
        answers.append(predict(np.ascontiguousarray(test.X, predict.dtype)))
        tested.append(test)
        numbers.append(np.full(len(test), fold))
        constants.append(np.full(len(test), learned.constant))
    if forecaster.labels.names:
        options = {"folds": np.concatenate(numbers), **options}
    return forecaster._judge(np.concatenate(answers), join(tested), np.concatenate(constants), **options)
