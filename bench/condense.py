"""One outer iteration of condensation against jax and torch: matching of gradients and of features, kernel points.

Every contender gets the same weights, rows and target gradients, and updates the condensed rows with momentum; ours
by the functions that `condense` calls between drawing weights and rows. Matching is in float32; kernel inducing points
(value and gradient of the loss) ours in float64, the others in both.
jax is jitted (its compilation is not timed), torch uses create_graph.
`python -m bench.condense --json bench/results/condense.json` writes the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bench import common, condense_kip
from bench.common import Contender, optional

RATE, MOMENTUM, EPSILON = 0.01, 0.5, 1e-6
SHAPES = {"softmax regression 8-3": (8, 3), "MLP 8-64-32-3": (8, 64, 32, 3)}
CASES = [
    ("gradient matching", "softmax regression 8-3", 30, 0),
    ("gradient matching", "MLP 8-64-32-3", 30, 0),
    ("gradient matching", "MLP 8-64-32-3", 60, 0),
    ("gradient matching with 3 x 256 real rows", "MLP 8-64-32-3", 30, 256),
    ("distribution matching", "MLP 8-64-32-3", 60, 256),
]


@dataclass
class Task:
    sizes: tuple[int, ...]
    params: np.ndarray
    x: np.ndarray
    y: np.ndarray
    real_x: np.ndarray  # (3, real rows, features)
    targets: np.ndarray  # (3, parameters)

    @property
    def each(self) -> int:
        return len(self.x) // 3


def make_task(sizes: tuple[int, ...], rows: int, real: int) -> Task:
    rng = np.random.default_rng(0)
    n = sum((a + 1) * b for a, b in pairwise(sizes))
    params = (rng.normal(size=n) * 0.3).astype(np.float32)
    x = rng.normal(size=(rows, sizes[0])).astype(np.float32)
    real_x = rng.normal(size=(3, max(real, 1), sizes[0])).astype(np.float32)
    targets = rng.normal(size=(3, n)).astype(np.float32) * 0.1
    return Task(sizes, params, x, np.repeat(np.arange(3, dtype=np.int32), rows // 3), real_x, targets)


def fastkd_matching(task: Task, real: bool) -> Any:
    from fastkd._core._native import MLPKernel, Targets
    from fastkd.condense.gradient_matching import match_rows, real_gradients

    kernel = MLPKernel(task.sizes, "relu", np.float32)
    targets, starts = Targets(len(task.x), np.float32, labels=task.y), np.arange(4) * task.each
    n = task.real_x.shape[1]
    classes = [Targets(n, np.float32, labels=np.full(n, c, np.int32)) for c in range(3)]
    state = {"X": task.x.copy(), "X_v": np.zeros_like(task.x)}
    reals, rows, real_starts = task.targets.copy(), np.concatenate(task.real_x), np.arange(4) * n

    def step() -> np.ndarray:
        if real:
            real_gradients(kernel, task.params, rows, real_starts, classes, reals)
        return match_rows(kernel, task.params, reals, state, targets, starts, RATE, MOMENTUM)[1]

    return step


def fastkd_distribution(task: Task) -> Any:
    from fastkd._core._native import MLPKernel
    from fastkd.condense.feature_matching import match_features

    kernel = MLPKernel(task.sizes, "relu", np.float32)
    state = {"X": task.x.copy(), "X_v": np.zeros_like(task.x)}
    starts, real = np.arange(4) * task.each, np.concatenate(task.real_x)
    real_starts = np.arange(4) * task.real_x.shape[1]

    def step() -> np.ndarray:
        return match_features(kernel, task.params, real, real_starts, state, starts, RATE, MOMENTUM)[1]

    return step


def unflatten(flat: Any, sizes: tuple[int, ...]) -> list[Any]:
    out, at = [], 0
    for a, b in pairwise(sizes):
        out += [flat[at : at + a * b].reshape(a, b), flat[at + a * b : at + (a + 1) * b]]
        at += (a + 1) * b
    return out


def jax_step(jax: Any, task: Task, kind: str) -> Any:
    jnp = jax.numpy
    weights = [jnp.asarray(w) for w in unflatten(task.params, task.sizes)]
    given = [[jnp.asarray(w) for w in unflatten(t, task.sizes)] for t in task.targets]
    each, real_x = task.each, jnp.asarray(task.real_x)

    def forward(w: Any, x: Any, last: int) -> Any:
        for k in range(0, last, 2):
            x = x @ w[k] + w[k + 1]
            if k + 2 < len(w):
                x = jnp.maximum(x, 0)
        return x

    def loss(w: Any, x: Any, c: int) -> Any:
        return -jax.nn.log_softmax(forward(w, x, len(w)))[:, c].mean()

    def length(a: Any) -> Any:  # a safe root: its derivative at 0 is 0
        square = (a * a).sum(0)
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)

    def distance(x: Any, w: Any, real_x: Any) -> Any:
        total = 0.0
        for c in range(3):
            mine = x[c * each : (c + 1) * each]
            if kind == "distribution matching":
                gap = forward(w, mine, len(w) - 2).mean(0) - forward(w, real_x[c], len(w) - 2).mean(0)
                total = total + (gap * gap).sum()
                continue
            target = jax.grad(loss)(w, real_x[c], c) if "real rows" in kind else given[c]
            for r, s in zip(target[::2], jax.grad(loss)(w, mine, c)[::2]):
                total = total + (1 - (r * s).sum(0) / (length(r) * length(s) + EPSILON)).sum()
        return total

    @jax.jit
    def update(x: Any, v: Any, w: Any, real_x: Any) -> Any:
        slope = jax.grad(distance)(x, w, real_x)
        v = MOMENTUM * v + slope
        return x - RATE * v, v, slope

    state = [jnp.asarray(task.x), jnp.zeros_like(task.x)]

    def step() -> Any:
        state[0], state[1], slope = update(state[0], state[1], weights, real_x)
        return jax.block_until_ready(slope)

    return step


def torch_step(torch: Any, task: Task, kind: str) -> Any:
    weights = [torch.from_numpy(w.copy()).requires_grad_() for w in unflatten(task.params, task.sizes)]
    given = [[torch.from_numpy(w.copy()) for w in unflatten(t, task.sizes)] for t in task.targets]
    real_x, labels = torch.from_numpy(task.real_x), [torch.full((n,), c) for c in range(3) for n in [task.each]]
    real_labels = [torch.full((task.real_x.shape[1],), c) for c in range(3)]
    x = torch.from_numpy(task.x.copy()).requires_grad_()
    optimizer = torch.optim.SGD([x], lr=RATE, momentum=MOMENTUM)

    def forward(x: Any, last: int) -> Any:
        for k in range(0, last, 2):
            x = torch.addmm(weights[k + 1], x, weights[k])
            if k + 2 < len(weights):
                x = torch.relu(x)
        return x

    def step() -> Any:
        total = 0.0
        for c in range(3):
            mine = x[c * task.each : (c + 1) * task.each]
            if kind == "distribution matching":
                with torch.no_grad():
                    target = forward(real_x[c], len(weights) - 2).mean(0)
                total = total + ((forward(mine, len(weights) - 2).mean(0) - target) ** 2).sum()
                continue
            target = given[c]
            if "real rows" in kind:
                loss = torch.nn.functional.cross_entropy(forward(real_x[c], len(weights)), real_labels[c])
                target = torch.autograd.grad(loss, weights)
            loss = torch.nn.functional.cross_entropy(forward(mine, len(weights)), labels[c])
            for r, s in zip(target[::2], torch.autograd.grad(loss, weights, create_graph=True)[::2]):
                total = total + (1 - (r * s).sum(0) / (r.norm(dim=0) * s.norm(dim=0) + EPSILON)).sum()
        optimizer.zero_grad()
        (slope,) = torch.autograd.grad(total, x)
        x.grad = slope
        optimizer.step()
        return slope

    return step


def contenders(task: Task, kind: str) -> list[Contender]:
    ours = fastkd_distribution(task) if kind == "distribution matching" else fastkd_matching(task, "real rows" in kind)
    found = [Contender("fastkd", ours)]
    if jax := optional("jax"):
        found.append(Contender("jax, jit", jax_step(jax, task, kind)))
    if torch := optional("torch"):
        found.append(Contender("torch, create_graph", torch_step(torch, task, kind)))
    first = np.asarray(found[0].call())
    for c in found:
        slope = first if c is found[0] else np.asarray(c.call())
        c.errors["slope, against ours"] = float(np.abs(slope - first).max() / np.abs(first).max())
    common.require(found, 1e-3)
    return found


def main() -> None:
    options = common.arguments(__doc__)
    cases = []
    for kind, shape, rows, real in CASES:
        row = f"{kind}, {shape}, {rows} rows"
        if options.only not in row:
            continue
        found = contenders(make_task(SHAPES[shape], rows, real), kind)
        common.throughput(found, rounds=3 if options.quick else 15, sample_seconds=5e-3)
        cases.append(common.case("condense", row, found))
    for kernel in ("rbf", "ntk"):
        row = f"kip {kernel}, 5000 targets, 100 support rows"
        if options.only in row:
            found = condense_kip.contenders(100, 5000, kernel)
            common.throughput(found, rounds=3 if options.quick else 15, sample_seconds=5e-3)
            cases.append(common.case("condense", row, found))
    common.write("condense", options, cases)


if __name__ == "__main__":
    main()
