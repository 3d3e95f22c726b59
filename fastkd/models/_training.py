"""The training loop: epochs over shuffled rows, schedules, early stopping, several starts."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastkd._parallel import each
from fastkd.models._base import ConvergenceWarning, warn_caller


@dataclass(eq=False)
class Run:
    """One training run, complete or broken off: its state is usable after every epoch."""

    parameters: np.ndarray
    optimizer: Any
    rng: np.random.Generator
    settings: tuple[str, float]  # kind and momentum of the optimizer
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"loss": [], "val_loss": [], "val_score": [], "learning_rate": []}
    )
    n_iter: int = 0
    best_epoch: int | None = None  # epoch, from 0, of the lowest validation loss
    converged: bool = False
    error: KeyboardInterrupt | None = None

    def rank(self, early_stopping: bool) -> float:
        """Lower is better: the loss of the weights it ends with."""
        losses = self.history["val_loss"] or self.history["loss"]
        return math.inf if not losses else min(losses) if early_stopping else losses[-1]


@dataclass(frozen=True, eq=False)
class Plan:
    """What the runs of one fit share; read only."""

    kernel: Any  # epoch(params, optimizer, X, targets, order, batch_size, learning_rate, l2)
    X: np.ndarray
    targets: Callable[[int], Any]  # epoch -> targets of the kernel
    evaluate: Callable[[np.ndarray], tuple[float, float]] | None  # parameters -> (val_loss, val_score)
    model: Any  # hyper-parameters are read from it
    watch_plateau: bool  # only where the loss of one epoch can be compared with that of the next
    loss_unit: float = 1.0  # losses are reported in multiples of it


def learning_rate_factor(schedule: str | Callable[[int], float], epoch: int, epochs: int) -> float:
    """Factor on the learning rate in an epoch, from 0.

    "cosine" falls from 1 towards 0 over the epochs (Loshchilov and Hutter 2017, without restarts); "step" is 1, then
    0.1 from half and 0.01 from three quarters of the epochs on (He et al. 2016).
    """
    if callable(schedule):
        factor = float(schedule(epoch))
        if not (math.isfinite(factor) and factor >= 0.0):
            raise ValueError(f"lr_schedule({epoch}) must be finite and >= 0; got {factor}")
        return factor
    passed = min(epoch, epochs - 1) / epochs
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * passed))
    if schedule == "step":
        return 1.0 if passed < 0.5 else 0.1 if passed < 0.75 else 0.01
    return 1.0


def one_epoch(plan: Plan, run: Run) -> float:
    """Train one epoch in place; the mean loss. A loss or weights that are no numbers leave the run as it was."""
    model = plan.model
    rate = model.learning_rate * learning_rate_factor(model.lr_schedule, run.n_iter, model.epochs)
    targets = plan.targets(run.n_iter)
    order = run.rng.permutation(len(plan.X)).astype(np.int64, copy=False)
    batch_size = min(int(model.batch_size), len(plan.X))
    changing = (run.parameters, run.optimizer.m, run.optimizer.v)
    before, step = [array.copy() for array in changing], run.optimizer.step
    loss = plan.loss_unit * plan.kernel.epoch(
        run.parameters, run.optimizer, plan.X, targets, order, batch_size, rate, float(model.l2)
    )
    if not (math.isfinite(loss) and np.isfinite(run.parameters).all()):
        for array, kept in zip(changing, before, strict=True):
            array[...] = kept
        run.optimizer.step = step
        return math.nan
    run.n_iter += 1
    run.history["loss"].append(float(loss))
    run.history["learning_rate"].append(rate)
    return float(loss)


def train(plan: Plan, run: Run, stop: threading.Event, label: str = "") -> Run:
    """All epochs of one run. KeyboardInterrupt ends it and is kept in `run.error`."""
    model = plan.model
    best_loss, best_parameters = math.inf, None
    plateau_loss, stalled = math.inf, 0
    try:
        while run.n_iter < model.epochs and not stop.is_set():
            epoch = run.n_iter
            loss = one_epoch(plan, run)
            if math.isnan(loss):
                warn_caller(
                    ConvergenceWarning(
                        f"the loss was not a number in epoch {epoch + 1}; the weights before it are kept. "
                        f"Lower learning_rate={model.learning_rate} or scale the features"
                    )
                )
                break
            if plan.evaluate is not None:
                val_loss, val_score = plan.evaluate(run.parameters)
                val_loss *= plan.loss_unit
                run.history["val_loss"].append(val_loss)
                run.history["val_score"].append(val_score)
                if val_loss < best_loss:
                    best_loss, run.best_epoch = val_loss, epoch
                    best_parameters = run.parameters.copy() if model.early_stopping else None
            if model.verbose:
                print(label + _progress(run, model.epochs), flush=True)
            if model.early_stopping:
                if epoch - (run.best_epoch or 0) >= model.patience:
                    run.converged = True
                    break
            elif plan.watch_plateau and model.n_iter_no_change is not None:
                if loss < plateau_loss - model.tol * abs(plateau_loss) or math.isinf(plateau_loss):
                    plateau_loss, stalled = loss, 0
                else:
                    stalled += 1
                if stalled >= model.n_iter_no_change:
                    run.converged = True
                    break
    except KeyboardInterrupt as interrupt:
        run.error = interrupt
    if best_parameters is not None:
        run.parameters[...] = best_parameters
    return run


def _progress(run: Run, epochs: int) -> str:
    line = f"epoch {run.n_iter:>{len(str(epochs))}}/{epochs}  loss {run.history['loss'][-1]:.5g}"
    if run.history["val_loss"]:
        line += f"  val_loss {run.history['val_loss'][-1]:.5g}  val_score {run.history['val_score'][-1]:.4f}"
    return line


def best_of(plan: Plan, start: Callable[[np.random.Generator], Run], rng: np.random.Generator) -> Run:
    """Train `n_init` starts, in threads if `workers` asks for them, and keep the best; any worker count, one result."""
    model = plan.model
    stop = threading.Event()
    if model.n_init == 1:
        return train(plan, start(rng), stop)
    rngs = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=model.n_init)]
    labels = [f"[start {k + 1}/{model.n_init}] " for k in range(model.n_init)]

    def task(k: int) -> Run:
        run = train(plan, start(rngs[k]), stop, labels[k])
        if run.error is not None:
            stop.set()
        return run

    runs: list[Run] = []
    try:
        runs = each(task, range(model.n_init), workers=model.workers, stop=stop, keep=runs.extend)
    except KeyboardInterrupt as interrupt:  # each run ends after its epoch, and the best of them counts
        if not runs:
            raise
        runs[0].error = interrupt
    best = min(runs, key=lambda run: run.rank(model.early_stopping))
    best.error = next((run.error for run in runs if run.error is not None), None)
    return best
