"""The course of an optimization: progress, the best so far, interrupts, checkpoints, convergence."""

from __future__ import annotations

import json
import math
import os
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
class Course:
    """How long to go, and what to do on the way.

    The best state is that at the end of the stretch of iterations with the lowest mean loss; it is what an interrupt,
    a loss that is no number, and the end leave.
    """

    iterations: int
    progress: Callable[[int, int, float], None] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    every: int = 100
    tol: float | None = None  # converged when a stretch is not better than the best by this share, five times
    print_of: str = ""  # what the checkpoint must agree on
    losses: list[float] = field(default_factory=list)
    interrupted: bool = False
    converged: bool = False

    def run(self, state: State, step: Step, rng: np.random.Generator) -> State:
        """Take the steps; returns the best state."""
        stretch = max(1, min(50, self.iterations // 10))
        best, best_mean, stalled = copy(state), math.inf, 0
        if self.checkpoint is not None and Path(self.checkpoint).exists():
            best, best_mean, stalled = self._resume(state, rng)
        try:
            while len(self.losses) < self.iterations and not self.converged:
                with np.errstate(over="ignore", invalid="ignore"):  # a learning rate too high ends in the next lines
                    loss = float(step(state, rng))
                if not math.isfinite(loss) or not all(np.isfinite(a).all() for a in state.values()):
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
                if self.progress is not None:
                    self.progress(done, self.iterations, loss)
                if self.checkpoint is not None and (done % self.every == 0 or done == self.iterations):
                    self._save(state, best, best_mean, stalled, rng)
        except KeyboardInterrupt:
            self.interrupted = True
        return best

    def _save(self, state: State, best: State, best_mean: float, stalled: int, rng: np.random.Generator) -> None:
        about = {"rng": rng.bit_generator.state, "best": best_mean, "stalled": stalled, "of": self.print_of}
        arrays = {f"state/{k}": v for k, v in state.items()} | {f"best/{k}": v for k, v in best.items()}
        arrays |= {"losses": np.array(self.losses), "about": np.array(json.dumps(about))}
        write_arrays(self.checkpoint, arrays)  # type: ignore[arg-type]

    def _resume(self, state: State, rng: np.random.Generator) -> tuple[State, float, int]:
        arrays = read_arrays(self.checkpoint)  # type: ignore[arg-type]
        try:
            about: dict[str, Any] = json.loads(str(arrays["about"]))
            if about["of"] != self.print_of:
                raise ValueError(
                    f"checkpoint {self.checkpoint} is of another condensation ({about['of']}; this is "
                    f"{self.print_of}); delete it or give another path"
                )
            best = {k: arrays[f"best/{k}"] for k in state}
            for k in state:
                state[k] = arrays[f"state/{k}"]
            rng.bit_generator.state = about["rng"]
            self.losses = arrays["losses"].tolist()
            return best, about["best"], about["stalled"]
        except KeyError as error:
            raise ValueError(f"{self.checkpoint} is no checkpoint of a condensation: {error} is missing") from None


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
