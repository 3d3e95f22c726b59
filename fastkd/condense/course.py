"""The course of an optimization: progress, the best so far, interrupts, checkpoints, convergence."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastkd._core import _native
from fastkd.condense.condensed import read_arrays, write_arrays

State = dict[str, np.ndarray]
Step = Callable[[State, np.random.Generator], float]


@dataclass(eq=False)
class Checkpoint:
    """The file that a condensation goes on from: first the finished trials of learning rates, then the course."""

    path: str | os.PathLike[str]
    of: dict[str, str]  # what makes the problem; another one is refused
    rate: float | None = None  # of the course; None while rates are tried
    search: dict[str, float] = field(default_factory=dict)  # rate -> score
    about: dict[str, Any] = field(default_factory=dict)
    arrays: State = field(default_factory=dict)

    @classmethod
    def open(cls, path: str | os.PathLike[str], of: dict[str, str]) -> Checkpoint:
        """What the file holds, if it is there; one of another problem, or none at all, raises."""
        if not Path(path).exists():
            return cls(path, of)
        arrays = read_arrays(path)
        try:
            about = json.loads(str(arrays.pop("about")))
            theirs, rate, search = dict(about["of"]), about["rate"], dict(about["search"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} is no checkpoint of a condensation; delete it or give another path") from None
        differ = [k for k in sorted({*theirs, *of}) if theirs.get(k) != of.get(k)]
        if differ:
            parts = "; ".join(f"{k}: {theirs.get(k)} there, {of.get(k)} here" for k in differ)
            raise ValueError(f"checkpoint {path} is of another condensation ({parts}); delete it or give another path")
        return cls(path, of, rate, search, about, arrays)

    def save(self, arrays: State, **about: Any) -> None:
        text = json.dumps({"of": self.of, "rate": self.rate, "search": self.search, **about})
        write_arrays(self.path, arrays | {"about": np.array(text)})

    def save_trials(self, length: int, ran: dict[float, tuple[State, Course]], scores: dict[float, float]) -> None:
        """The finished trials of `length` iterations."""
        whole = [rate for rate in list(scores) if not ran[rate][1].interrupted]
        arrays = {f"{rate!r}/{k}": a for rate in whole for k, a in ran[rate][0].items()}
        trials = [[rate, scores[rate], ran[rate][1].losses] for rate in whole]
        self.save(arrays, trials=trials, length=length)

    def restore_trials(self, length: int, ran: dict[float, tuple[State, Course]], scores: dict[float, float]) -> None:
        """Fill in what `save_trials` wrote; nothing if the trials had another length."""
        if self.about.get("length") != length:
            return
        try:
            for rate, score, losses in self.about["trials"]:
                state = {name.split("/", 1)[1]: a for name, a in self.arrays.items() if name.startswith(f"{rate!r}/")}
                if "X" not in state:
                    raise KeyError(f"{rate!r}/X")
                ran[rate], scores[rate] = (state, Course(length, losses=losses)), score
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint {self.path} is damaged: {error}; delete it or give another path") from None


@dataclass(eq=False)
class Course:
    """How long to go, and what to do on the way.

    The best state is that at the end of the stretch of iterations with the lowest mean loss; it is what an interrupt,
    a loss that is no number, and the end leave.
    """

    iterations: int
    progress: Callable[[int, int, float], None] | None = None
    checkpoint: Checkpoint | None = None
    seconds: float = 2.0  # between saves
    tol: float | None = None  # converged when a stretch is not better than the best by this share, five times
    stop: threading.Event | None = None  # set by an interrupt that another thread met
    losses: list[float] = field(default_factory=list)
    interrupted: bool = False
    converged: bool = False
    diverged: bool = False  # not one step was finite

    def run(self, state: State, step: Step, rng: np.random.Generator) -> State:
        """Take the steps; returns the best state."""
        stretch = max(1, min(50, self.iterations // 10))
        best, best_mean, stalled = copy(state), math.inf, 0
        if self.checkpoint is not None and self.checkpoint.about.get("rng") is not None:
            best, best_mean, stalled = self._resume(state, rng)
        whole: dict[str, Any] | None = None  # all that the next step starts from, as an interrupt may come within one
        saved = time.monotonic()
        try:
            while len(self.losses) < self.iterations and not self.converged:
                if self.stop is not None and self.stop.is_set():
                    raise KeyboardInterrupt
                with np.errstate(over="ignore", invalid="ignore"):  # a learning rate too high ends in the next lines
                    loss = float(step(state, rng))
                if not math.isfinite(loss) or not all(np.isfinite(a).all() for a in state.values()):
                    self.diverged = not self.losses
                    break
                self.losses.append(loss)
                done = len(self.losses)
                if done % stretch == 0 or done == self.iterations:
                    mean = float(np.mean(self.losses[-stretch:]))
                    enough = mean < best_mean - (self.tol or 0) * abs(best_mean) or math.isinf(best_mean)
                    stalled = 0 if enough else stalled + 1
                    if mean < best_mean:
                        best, best_mean = copy(state), mean
                    self.converged = self.tol is not None and stalled >= 5
                if self.checkpoint is not None:
                    whole = {"state": copy(state), "best": best, "mean": best_mean, "stalled": stalled, "done": done}
                    whole["rng"] = rng.bit_generator.state
                    if time.monotonic() - saved >= self.seconds:
                        self._save(**whole)
                        saved = time.monotonic()
                if self.progress is not None:
                    self.progress(done, self.iterations, loss)
        except KeyboardInterrupt:
            self.interrupted = True
        finally:  # errors of `progress` lose nothing either
            if whole is not None:
                self._save(**whole)
        return best

    def _save(self, state: State, best: State, mean: float, stalled: int, done: int, rng: Any) -> None:
        arrays = {f"state/{k}": v for k, v in state.items()} | {f"best/{k}": v for k, v in best.items()}
        arrays["losses"] = np.array(self.losses[:done])
        self.checkpoint.save(arrays, rng=rng, best=mean, stalled=stalled)  # type: ignore[union-attr]

    def _resume(self, state: State, rng: np.random.Generator) -> tuple[State, float, int]:
        path, arrays, about = (getattr(self.checkpoint, name) for name in ("path", "arrays", "about"))
        try:
            best = {k: arrays[f"best/{k}"] for k in state}
            last = {k: arrays[f"state/{k}"] for k in state}
            for k, a in state.items():
                for found in (best[k], last[k]):
                    if found.shape != a.shape or found.dtype != a.dtype:
                        raise ValueError(f"{k} is {found.dtype} {found.shape}, not {a.dtype} {a.shape}")
            rng.bit_generator.state = about["rng"]
            self.losses = [float(loss) for loss in arrays["losses"]]
            state.update(last)
            return best, float(about["best"]), int(about["stalled"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint {path} is damaged: {error}; delete it or give another path") from None


def copy(state: State) -> State:
    return {k: v.copy() for k, v in state.items()}


def descend(state: State, name: str, slope: np.ndarray, rate: float, momentum: float = 0.5) -> None:
    """Gradient descent with momentum, in place; `prepare` has put the velocity into the state."""
    _native.descend(state[name], state[name + "_v"], slope, rate, momentum)


def adam(state: State, name: str, slope: np.ndarray, rate: float) -> None:
    """Adam (Kingma and Ba 2015), in place; `prepare` has put moments and step into the state."""
    m, v, t = (state[name + suffix] for suffix in ("_m", "_v", "_t"))
    t += 1
    m *= 0.9
    m += 0.1 * slope
    v *= 0.999
    v += 0.001 * slope * slope
    step = rate / (1 - 0.9 ** t[0]) * m / (np.sqrt(v / (1 - 0.999 ** t[0])) + 1e-8)
    state[name] -= step.astype(state[name].dtype, copy=False)


def prepare(state: State, names: tuple[str, ...], kind: str) -> State:
    """Add the optimizer's arrays, so that the state has its final shape from the start."""
    for name in names:
        for suffix in ("_m", "_v") if kind == "adam" else ("_v",):
            state[name + suffix] = np.zeros_like(state[name])
        if kind == "adam":
            state[f"{name}_t"] = np.zeros(1)
    return state
