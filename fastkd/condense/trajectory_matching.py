"""Matching training trajectories (Cazenavette et al. 2022)."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fastkd._check import as_positive
from fastkd._core._native import Optimizer
from fastkd._files import write_whole
from fastkd.condense.course import State, Step, adam, prepare
from fastkd.condense.networks import Net
from fastkd.condense.rows import Rows
from fastkd.condense.start import as_whole, initial_rows, net_text, print_of
from fastkd.condense.training_run import descend_on, run_slopes

LEARNING_RATES = (0.01, 0.03, 0.1)


def trajectory_matching(
    rows: Rows,
    net: Net,
    per_class: int,
    rng: np.random.Generator,
    *,
    learning_rate: float,
    experts: int = 8,
    epochs: int = 20,
    ahead: int = 3,
    latest_start: int | None = None,
    steps: int = 20,
    step_size: float = 0.05,
    expert_learning_rate: float = 0.05,
    expert_rows: int = 20_000,
    trajectories: str | os.PathLike[str] | None = None,
    init: str = "real",
) -> tuple[State, Step, int]:
    """State, step and iterations.

    From an expert's weights at epoch t, `steps` of gradient descent on the condensed rows should reach the expert's
    weights at t + `ahead`: |student - expert(t + ahead)|^2 / |expert(t) - expert(t + ahead)|^2, all parameters as
    one vector. The step size is learnt with the rows (both with Adam; the authors used momentum).

    Parameters
    ----------
    experts, epochs : int
        Trajectories on real data, one snapshot an epoch.
    trajectories : path, optional
        .npy file (experts, epochs + 1, parameters) that keeps them, float32 and memory-mapped. It is used again, with
        any `random_state`, if the stamp beside it (.npy.json) says that they were trained on the same data, by the same
        network, with the same `expert_learning_rate` and `expert_rows`; else it raises. By default a temporary file.
    expert_rows : int
        Real rows an expert trains on, drawn anew for each.
    """
    experts, epochs, ahead = as_whole(experts, "experts"), as_whole(epochs, "epochs"), as_whole(ahead, "ahead")
    steps, expert_rows = as_whole(steps, "steps"), as_whole(expert_rows, "expert_rows")
    latest_start = None if latest_start is None else as_whole(latest_start, "latest_start", 0)
    step_size = as_positive(step_size, "step_size")
    expert_learning_rate = as_positive(expert_learning_rate, "expert_learning_rate")
    if not 1 <= ahead <= epochs:
        raise ValueError(f"ahead must be 1 to epochs={epochs}; got {ahead}")
    last = epochs - ahead if latest_start is None else min(latest_start, epochs - ahead)
    seed = int(rng.integers(2**62))
    shape = (experts, epochs + 1, net.kernel.n_parameters)
    paths = _expert_paths(rows, net, shape, expert_learning_rate, expert_rows, trajectories, seed)
    X, y = initial_rows(rows, per_class, init, rng)
    targets = net.targets(y)
    state: State = prepare({"X": X, "y": y, "rate": np.log([step_size])}, ("X", "rate"), "adam")

    def step(state: State, rng: np.random.Generator) -> float:
        path, t = paths[rng.integers(experts)], int(rng.integers(last + 1))
        start, goal = (np.array(path[k], net.dtype) for k in (t, t + ahead))
        rate = float(np.exp(state["rate"][0]))
        weights, gradients = descend_on(net, start, state["X"], targets, rate, steps)
        gap, unit = weights[-1] - goal, max(float(((start - goal) ** 2).sum()), 1e-12)
        slope = (2 / unit * gap).astype(net.dtype)
        dX, _, d_rate = run_slopes(net, weights, gradients, state["X"], targets, rate, slope)
        adam(state, "X", dX, learning_rate)
        adam(state, "rate", np.array([rate * d_rate]), learning_rate)
        return float((gap * gap).sum()) / unit

    return state, step, 500


def _expert_stamp(rows: Rows, net: Net, rate: float, most: int) -> dict[str, Any]:
    return {"data": print_of(rows), "network": net_text(net), "expert_learning_rate": rate, "expert_rows": most}


def _expert_paths(rows: Rows, net: Net, shape, rate: float, most: int, path, seed: int) -> np.ndarray:
    """The experts' snapshots, memory-mapped: read from the file if it has them, else trained."""
    temporary = path is None
    stamp = {} if temporary else _expert_stamp(rows, net, rate, most)
    if path is None:
        handle, path = tempfile.mkstemp(suffix=".npy", prefix="fastkd-experts-")
        os.close(handle)
    elif Path(path).exists():
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.shape != shape or found.dtype != np.float32:
            raise ValueError(f"{path} holds {found.dtype} {found.shape}; these options need float32 {shape}: delete it")
        try:
            made_of = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ValueError(f"{path} has no stamp beside it, {path}.json, that tells its data: delete it") from None
        if made_of != stamp:
            raise ValueError(f"{path} is of other experts ({made_of}; here {stamp}): delete it or give another path")
        return found
    part = Path(f"{path}.part")
    paths = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape)
    rng = np.random.default_rng(seed)
    for snapshots in paths:
        X, y = rows.sample(most, rng)
        params, targets = net.fresh(rng), net.targets(y)
        training = Optimizer("sgd", net.kernel.n_parameters, net.dtype, momentum=0.0)
        snapshots[0] = params
        for epoch in range(1, shape[1]):
            net.kernel.epoch(params, training, X, targets, rng.permutation(len(X)), 256, rate, net.l2)
            snapshots[epoch] = params
    paths.flush()
    if not temporary:
        write_whole(f"{path}.json", json.dumps(stamp).encode())
    os.replace(part, path)
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if temporary and os.name == "posix":
        os.unlink(path)  # the map keeps the contents
    return found
