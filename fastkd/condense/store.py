"""Condensed sets that follow a market: versions, what each has seen, and when to make a new one."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastkd._check import as_rng
from fastkd._files import write_whole
from fastkd.condense.condensed import Condensed
from fastkd.condense.condensing import LEARNT, METHODS, condense
from fastkd.condense.rows import as_block, as_classes

POLICIES = ("periodic", "incremental", "regime_triggered", "ensemble")


class CondensedStore:
    """A folder of versions of a condensed set, each with the candles it has seen.

    A version is one small file (see `fastkd.condense.compact`): 20 rows of 6 features take 700 to 950 bytes, 480 of
    them the features. Numbers are kept in single precision, and of the losses the last.

    The window is in memory alone. After a restart give the last candles again: those that the last version has seen
    fill the window and do not count as new ("incremental" needs none and refuses them). Until the window holds as
    many rows as the last version was made from, no version is made.

    Parameters
    ----------
    path : path
        Folder, made if it is not there; one file a version.
    policy : {"periodic", "incremental", "regime_triggered", "ensemble"}
        "periodic": condense the last `window` rows anew after every `every` new ones. "incremental": condense the
        rows of the last version, weighted by the rows of each class they stand for, together with the new ones.
        "regime_triggered": anew from the last `window` rows when `detector` raises an alarm. "ensemble": one set for
        each of the `horizons`, put together.
    every : int
        New rows between versions (not for "regime_triggered").
    window : int
        Rows that a version is made from.
    horizons : dict name -> rows
        Windows of "ensemble", such as {"day": 288, "week": 2016} for 5-minute candles.
    detector : object with detect(values) -> alarms
        Such as `fastkd.features.Cusum`; sees the column `watch` of the features.
    options
        For `condense`, without `checkpoint`; X must be standardized with a fixed scaler.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(600, 3)), rng.integers(0, 2, 600)
    >>> store = CondensedStore(tempfile.mkdtemp(), every=200, window=400, method="centroids", per_class=2)
    >>> for at in range(0, 600, 100):
    ...     new = slice(at, at + 100)
    ...     version = store.update(X[new], y[new], np.arange(at, at + 100))
    >>> version, store.versions()
    (3, [1, 2, 3])
    >>> store.seen(3)
    (200, 599)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        policy: str = "periodic",
        every: int = 1000,
        window: int = 10_000,
        horizons: Mapping[str, int] | None = None,
        detector: Any = None,
        watch: int = 0,
        random_state: Any = None,
        **options: Any,
    ):
        if policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}; got {policy!r}")
        if every < 1 or window < 1:
            raise ValueError(f"every and window must be >= 1; got {every} and {window}")
        if policy == "regime_triggered" and detector is None:
            raise ValueError("policy='regime_triggered' needs a detector, such as fastkd.features.Cusum()")
        if policy == "ensemble" and not horizons:
            raise ValueError("policy='ensemble' needs horizons, such as {'day': 288, 'week': 2016} rows")
        _check_options(options)
        self.path, self.policy, self.every, self.window = Path(path), policy, every, window
        self.horizons, self.detector, self.watch, self.options = dict(horizons or {}), detector, watch, options
        self.random = as_rng(random_state)
        self.path.mkdir(parents=True, exist_ok=True)
        self._X: np.ndarray | None = None
        self._y = np.empty(0)
        self._time = np.empty(0, np.int64)
        self._new = 0
        self._needed = 0  # rows that the window must hold after a restart
        self._alarm = False

    def versions(self) -> list[int]:
        """Numbers of the versions, oldest first."""
        found = (re.fullmatch(r"version-(\d{6})\.fkd", p.name) for p in self.path.iterdir())
        return sorted(int(m[1]) for m in found if m)

    def load(self, version: int | None = None) -> Condensed:
        """A version, by default the last."""
        if version is None:
            known = self.versions()
            if not known:
                raise ValueError(f"{self.path} holds no version yet")
            version = known[-1]
        file = self._file(version)
        return Condensed.from_bytes(file.read_bytes(), source=str(file))

    def seen(self, version: int | None = None) -> tuple[int, int]:
        """(first, last) time of the candles that a version has seen, itself or through the version before."""
        small = self.load(version)
        try:
            first, last = small.info["seen"]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{self.path} holds a version that does not say what it has seen") from None
        return first, last

    def size(self, version: int | None = None) -> int:
        """Bytes of a version's file."""
        return self._file(self.versions()[-1] if version is None else version).stat().st_size

    def update(self, X: Any, y: Any, time_ms: Any) -> int | None:
        """Add closed candles whose labels are known; the number of the new version, if the policy made one.

        Parameters
        ----------
        X : (n, n_features), y : (n,) labels
        time_ms : (n,) ints
            Open times, rising, and later than all before.

        Raises
        ------
        ValueError
            For NaN, another width, or times that were seen; the store is then as before.
        KeyboardInterrupt
            After Ctrl-C: nothing is published, the rows stay, and the next update makes the version.
        """
        width = None if self._X is None else self._X.shape[1]
        if not len(X):
            return None
        X, y = as_block(X, y, "the update", width)
        time_ms = np.asarray(time_ms, np.int64)
        if time_ms.shape != y.shape:
            raise ValueError(f"X, y and time_ms must have as many rows as each other; got {len(X)} and {len(time_ms)}")
        if (y.dtype.kind in "US") != (self._y.dtype.kind in "US") and len(self._y):
            raise ValueError(f"labels are {y.dtype}; those before were {self._y.dtype}")
        as_classes(np.union1d(self._y, y) if len(self._y) else y)
        if (np.diff(time_ms) <= 0).any() or (len(self._time) and time_ms[0] <= self._time[-1]):
            raise ValueError("time_ms must rise, from one update to the next too: a candle is seen once")
        old = self._seen_before(X, time_ms)
        if self.detector is not None:
            if old:
                self.detector.detect(X[:old, self.watch])
            if old < len(X):
                self._alarm |= bool(self.detector.detect(X[old:, self.watch]))
        self._new += len(X) - old
        keep = max([self.window, *self.horizons.values()])
        if self.policy == "incremental":
            keep = max(self.window, self._new)
        self._X = X[-keep:] if self._X is None else np.concatenate([self._X, X])[-keep:]
        self._y = np.concatenate([self._y, y])[-keep:] if len(self._time) else y[-keep:]
        self._time = np.concatenate([self._time, time_ms])[-keep:]
        due = self._new >= self.every if self.policy != "regime_triggered" else self._alarm or not self.versions()
        if not due or len(self._X) < min(self._needed, keep):
            return None
        small = self._make()
        if small is None:
            return None
        version = (self.versions() or [0])[-1] + 1
        small.info |= {"policy": self.policy, "version": version}
        small = _slim(small)
        write_whole(self._file(version), small.to_bytes())
        self._new, self._needed, self._alarm = 0, 0, False
        return version

    def _seen_before(self, X: np.ndarray, time_ms: np.ndarray) -> int:
        """How many of the rows, the first ones, a version of an earlier run has seen."""
        if not self.versions() or (len(self._time) and not self._needed):
            return 0
        last, until = self.load(), self.seen()[1]
        if last.X.shape[1] != X.shape[1]:
            raise ValueError(f"X has {X.shape[1]} features; the versions in {self.path} have {last.X.shape[1]}")
        old = int(np.searchsorted(time_ms, until, side="right"))
        if self.policy == "incremental":
            if old and not len(self._time):
                raise ValueError(f"version {self.versions()[-1]} has seen the candles up to {until}; go on after them")
            return 0
        self._needed = int(last.info.get("rows_seen", 0))
        return old

    def _make(self) -> Condensed | None:
        assert self._X is not None
        if self.policy == "ensemble":
            parts = [self._condense(rows) for rows in self.horizons.values()]
            if any(p is None for p in parts):
                return None
            return _together([p for p in parts if p is not None], list(self.horizons))
        if self.policy == "incremental" and self.versions():
            return self._add(self.load())
        return self._condense(self.window)

    def _condense(self, rows: int) -> Condensed | None:
        """From the last rows; None if a class has too few of them yet."""
        assert self._X is not None
        X, y, time_ms = self._X[-rows:], self._y[-rows:], self._time[-rows:]
        classes, counts = np.unique(y, return_counts=True)
        if len(classes) < 2 or counts.min() < self.options.get("per_class", 10):
            return None
        small = _whole(condense(X, y, random_state=self.random, **self.options))
        small.info["seen"] = [int(time_ms[0]), int(time_ms[-1])]
        if self.policy == "incremental":
            small.info["class_counts"] = counts.tolist()
        return small

    def _add(self, last: Condensed) -> Condensed | None:
        """The last version's rows, as often as rows of their class they stand for, and the new rows.

        If one were to come more than 200 times, all come less often in the same proportion. Condensed rows are
        balanced, so the shares of the classes are in info["class_counts"], in ascending order of the classes.
        """
        assert self._X is not None
        X, y = self._X[-self._new :], self._y[-self._new :]
        before = int(last.info["rows_seen"])
        old, code, rows = np.unique(last.y, return_inverse=True, return_counts=True)
        counts = np.asarray(last.info.get("class_counts", before / len(old) * np.ones(len(old))), float)
        if counts.shape != old.shape:
            raise ValueError(f"{self.path}: the last version counts {len(counts)} classes and has {len(old)}")
        each = counts / rows
        copies = np.maximum(1, np.round(each * min(1.0, 200 / each.max()))).astype(int)[code]
        X, y = np.concatenate([np.repeat(last.X, copies, axis=0), X]), np.concatenate([np.repeat(last.y, copies), y])
        classes, here = np.unique(y, return_counts=True)
        if here.min() < self.options.get("per_class", 10):
            return None
        seen = np.unique(np.concatenate([classes, self._y[-self._new :]]), return_counts=True)[1] - 1.0
        seen[np.searchsorted(classes, old)] += counts
        small = _whole(condense(X, y, random_state=self.random, **self.options))
        if small.sample_weight is not None:
            code = np.searchsorted(classes, small.y)
            share = seen / seen.sum() * len(small.y) / np.bincount(code, minlength=len(classes))
            small.sample_weight = share[code].astype(small.sample_weight.dtype)
        small.info |= {
            "seen": [last.info["seen"][0], int(self._time[-1])],
            "rows_seen": before + self._new,
            "class_counts": seen.round().astype(int).tolist(),
        }
        return small

    def _file(self, version: int) -> Path:
        return self.path / f"version-{int(version):06d}.fkd"


def _check_options(options: dict[str, Any]) -> None:
    """Names of options, now and not when the first version is due."""
    method = options.get("method", "gradient_matching")
    if method not in METHODS or method == "linear_sketch":
        raise ValueError(
            f"method must be one of {', '.join(m for m in METHODS if m != 'linear_sketch')}; got {method!r}"
        )
    if "checkpoint" in options:
        raise ValueError("a store takes no checkpoint: every version is another condensation")
    known = set(inspect.signature(condense).parameters) - {"X", "y", "options", "random_state", "checkpoint"}
    if method in LEARNT:
        known |= set(inspect.signature(LEARNT[method][0]).parameters) - {"rows", "net", "rng"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(f"{method} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")


def _whole(small: Condensed) -> Condensed:
    if small.info.get("interrupted"):
        raise KeyboardInterrupt("the condensation was interrupted; no version is made of it")
    return small


def _slim(small: Condensed) -> Condensed:
    """In single precision and without the course of the loss, which is most of a thousand iterations' bytes."""

    def single(a: np.ndarray | None) -> np.ndarray | None:
        return None if a is None else a.astype(np.float32)

    return replace(
        small,
        X=small.X.astype(np.float32),
        soft_labels=single(small.soft_labels),
        sample_weight=single(small.sample_weight),
        history={"loss": small.history.get("loss", [])[-1:]},
    )


def _together(parts: list[Condensed], names: list[str]) -> Condensed:
    def joined(get: Callable[[Condensed], np.ndarray | None]) -> np.ndarray | None:
        arrays = [a for p in parts if (a := get(p)) is not None]
        return np.concatenate(arrays) if len(arrays) == len(parts) else None

    info = {
        **parts[0].info,
        "horizons": [name for name, p in zip(names, parts) for _ in range(len(p))],
        "seen": [min(p.info["seen"][0] for p in parts), max(p.info["seen"][1] for p in parts)],
        "rows_seen": max(p.info["rows_seen"] for p in parts),
        "seconds": sum(p.info["seconds"] for p in parts),
    }
    X, y = np.concatenate([p.X for p in parts]), np.concatenate([p.y for p in parts])
    history = {"loss": [], "parts": [p.history.get("loss", []) for p in parts]}
    whole = Condensed(X, y, history, info=info)
    return replace(whole, soft_labels=joined(lambda p: p.soft_labels), sample_weight=joined(lambda p: p.sample_weight))
