"""One epoch of training a student MLP on 100 000 rows, float32, Adam: cross-entropy or distillation.

All contenders start from the same weights and see the same rows in the same order (fastkd's estimator alone shuffles
by itself), so after the epoch their losses on all rows must agree with a float64 epoch in NumPy; that difference
stands beside the time. Distillation gets the teacher's probabilities ready-made. Run: ``python -m bench.training``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bench import common, networks, roofline
from bench.common import Contender, optional

CASES = [
    ((4, 32, 16, 3), 32, "CE"),
    ((4, 32, 16, 3), 256, "CE"),
    ((8, 64, 32, 3), 32, "KD"),
    ((8, 64, 32, 3), 256, "CE"),
    ((16, 128, 64, 3), 256, "CE"),
    ((64, 512, 256, 3), 256, "CE"),
]
LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
TEMPERATURE, KD_WEIGHT = 3.0, 0.7


@dataclass(frozen=True)
class Task:
    """What every contender is given. `soft` holds teacher probabilities at TEMPERATURE, or None for cross-entropy."""

    layers: networks.Weights
    sizes: tuple[int, ...]
    batch: int
    x: np.ndarray  # (rows, features) float32
    y: np.ndarray  # (rows,) int32
    soft: np.ndarray | None  # (rows, classes) float32
    order: np.ndarray  # (rows,) int64: the permutation of this epoch


def make_task(sizes: tuple[int, ...], batch: int, loss: str, rows: int) -> Task:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, sizes[0])).astype(np.float32)
    teacher = networks.forward64(networks.weights(sizes, seed=7), x)[-1]  # another network of the same shape
    y = (teacher + rng.gumbel(size=teacher.shape)).argmax(axis=1).astype(np.int32)
    soft = networks.softmax64(teacher / TEMPERATURE).astype(np.float32) if loss == "KD" else None
    return Task(networks.weights(sizes), sizes, batch, x, y, soft, rng.permutation(rows))


# --------------------------------------------------------------------------------------------- oracle


def loss_and_delta64(task: Task, z: np.ndarray, rows: np.ndarray | slice) -> tuple[float, np.ndarray]:
    """Mean loss of these logits and its gradient with respect to them, in float64."""
    q, labels = networks.softmax64(z), task.y[rows]
    picked = np.arange(len(z)), labels
    loss, delta = -np.log(q[picked]).mean(), q.copy()
    delta[picked] -= 1
    if task.soft is not None:
        q_s, q_t = networks.softmax64(z / TEMPERATURE), task.soft[rows].astype(np.float64)
        kl = (q_t * np.log(q_t / q_s)).sum(axis=1).mean()
        loss = (1 - KD_WEIGHT) * loss + KD_WEIGHT * TEMPERATURE**2 * kl
        delta = (1 - KD_WEIGHT) * delta + KD_WEIGHT * TEMPERATURE * (q_s - q_t)
    return float(loss), delta / len(z)


def loss64(task: Task, layers: networks.Weights) -> float:
    return loss_and_delta64(task, networks.forward64(layers, task.x)[-1], slice(None))[0]


def epoch64(task: Task) -> networks.Weights:
    """The epoch as defined, in float64: forward, loss, backward, Adam with epsilon after bias correction."""
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in task.layers]
    moments = [[(np.zeros_like(p), np.zeros_like(p)) for p in layer] for layer in layers]
    for step, begin in enumerate(range(0, len(task.order), task.batch), start=1):
        rows = task.order[begin : begin + task.batch]
        values = networks.forward64(layers, task.x[rows])
        delta = loss_and_delta64(task, values[-1], rows)[1]
        for i in reversed(range(len(layers))):
            gradients = values[i].T @ delta, delta.sum(axis=0)
            delta = (delta @ layers[i][0].T) * (values[i] > 0)
            for p, g, (m, v) in zip(layers[i], gradients, moments[i], strict=True):
                m += (1 - BETA1) * (g - m)
                v += (1 - BETA2) * (g * g - v)
                p -= LEARNING_RATE * (m / (1 - BETA1**step)) / (np.sqrt(v / (1 - BETA2**step)) + EPSILON)
    return layers


# ---------------------------------------------------------------------------------------------- peers
# Each builder returns a function that trains one epoch from the initial weights, and gives the weights back.

Epoch = Callable[[], networks.Weights]


def unflatten(parameters: np.ndarray, sizes: tuple[int, ...]) -> networks.Weights:
    layers, at = [], 0
    for n_in, n_out in pairwise(sizes):
        w = parameters[at : at + n_in * n_out].reshape(n_in, n_out)
        at += n_in * n_out + n_out
        layers.append((w, parameters[at - n_out : at]))
    return layers


def fastkd_kernel(native: Any, task: Task) -> Epoch:
    """The C epoch alone: order given, no checks, no shuffling."""
    kernel = native.MLPKernel(task.sizes, "relu", np.float32)
    hyper = {} if task.soft is None else {"soft": task.soft, "temperature": TEMPERATURE, "kd_weight": KD_WEIGHT}
    targets = native.Targets(len(task.y), np.float32, labels=task.y, **hyper)
    start = networks.flat(task.layers)

    def run() -> networks.Weights:
        parameters = start.copy()
        optimizer = native.Optimizer("adam", parameters.size, np.float32)
        kernel.epoch(parameters, optimizer, task.x, targets, task.order, task.batch, LEARNING_RATE)
        return unflatten(parameters, task.sizes)

    return run


def fastkd_estimator(task: Task) -> Epoch:
    """What a user calls: checks, shuffling and all."""
    hyper = {"learning_rate": LEARNING_RATE, "batch_size": task.batch}
    hyper |= {"temperature": TEMPERATURE, "kd_weight": KD_WEIGHT}
    classes, soft = np.arange(task.sizes[-1]), {} if task.soft is None else {"soft_labels": task.soft}

    def run() -> networks.Weights:
        model = networks.fastkd_model(task.sizes, task.layers, **hyper)
        model.partial_fit(task.x, task.y, classes=classes, **soft)
        return unflatten(model.parameters, task.sizes)

    return run


def jax_epoch(jax: Any, task: Task) -> Epoch:
    """The whole epoch as one compiled scan over the batches; a shorter last batch is one more step."""
    jnp, lax = jax.numpy, jax.lax
    full = len(task.order) // task.batch

    def loss(layers: Any, x: Any, y: Any, soft: Any) -> Any:
        for w, b in layers[:-1]:
            x = jnp.maximum(x @ w + b, 0)
        z = x @ layers[-1][0] + layers[-1][1]
        value = -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).mean()
        if soft is not None:
            kl = (soft * (jnp.log(soft) - jax.nn.log_softmax(z * (1 / TEMPERATURE)))).sum(axis=1).mean()
            value = (1 - KD_WEIGHT) * value + KD_WEIGHT * TEMPERATURE**2 * kl
        return value

    def step(state: Any, rows: Any, data: Any) -> Any:
        layers, m, v, t = state
        x, y, soft = data
        g = jax.grad(loss)(layers, x[rows], y[rows], None if soft is None else soft[rows])
        t = t + 1
        tree = jax.tree_util.tree_map
        m = tree(lambda a, b: BETA1 * a + (1 - BETA1) * b, m, g)
        v = tree(lambda a, b: BETA2 * a + (1 - BETA2) * b * b, v, g)
        rate, root = LEARNING_RATE / (1 - BETA1**t), 1 / jnp.sqrt(1 - BETA2**t)
        layers = tree(lambda p, a, b: p - rate * a / (jnp.sqrt(b) * root + EPSILON), layers, m, v)
        return layers, m, v, t

    @jax.jit
    def epoch(layers: Any, order: Any, data: Any) -> Any:
        zeros = jax.tree_util.tree_map(jnp.zeros_like, layers)
        state = layers, zeros, zeros, jnp.float32(0)
        chunks = order[: full * task.batch].reshape(full, task.batch)
        state = lax.scan(lambda s, rows: (step(s, rows, data), None), state, chunks)[0]
        if full * task.batch < len(order):
            state = step(state, order[full * task.batch :], data)
        return state[0]

    order = jnp.asarray(task.order.astype(np.int32))
    data = jnp.asarray(task.x), jnp.asarray(task.y), None if task.soft is None else jnp.asarray(task.soft)
    start = jax.tree_util.tree_map(jnp.asarray, task.layers)

    def run() -> networks.Weights:
        return jax.block_until_ready(epoch(start, order, data))

    return run


def torch_epoch(torch: Any, task: Task) -> Epoch:
    """Eager at its best: rows gathered once and split into views, fused Adam, gradients set to None."""
    F = torch.nn.functional
    x, y, order = torch.from_numpy(task.x), torch.from_numpy(task.y).long(), torch.from_numpy(task.order)
    soft = None if task.soft is None else torch.from_numpy(task.soft)

    def run() -> networks.Weights:
        model = networks.torch_model(torch, task.layers)
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
        parts = [x[order].split(task.batch), y[order].split(task.batch)]
        parts += [] if soft is None else [soft[order].split(task.batch)]
        for batch in zip(*parts, strict=True):
            z = model(batch[0])
            loss = F.cross_entropy(z, batch[1])
            if soft is not None:
                kl = F.kl_div(F.log_softmax(z / TEMPERATURE, 1), batch[2], reduction="batchmean")
                loss = (1 - KD_WEIGHT) * loss + KD_WEIGHT * TEMPERATURE**2 * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        linear = [layer for layer in model if hasattr(layer, "weight")]
        return [(a.weight.detach().numpy().T, a.bias.detach().numpy()) for a in linear]

    return run


def sklearn_epoch(task: Task) -> Epoch:
    hyper = {"batch_size": task.batch, "learning_rate_init": LEARNING_RATE, "shuffle": False}

    def run() -> networks.Weights:
        model = networks.sklearn_model(task.layers, **hyper)
        model.partial_fit(task.x[task.order], task.y[task.order])
        return list(zip(model.coefs_, model.intercepts_, strict=True))

    return run


def contenders(task: Task) -> list[Contender]:
    found = []
    if optional("fastkd.models", "MLPClassifier"):
        found.append(Contender("fastkd", fastkd_estimator(task)))
    if native := optional("fastkd._core._native", "MLPKernel"):
        found.append(Contender("fastkd, kernel alone", fastkd_kernel(native, task)))
    if jax := optional("jax"):
        found.append(Contender("jax, scan", jax_epoch(jax, task)))
    if torch := optional("torch"):
        found.append(Contender("torch", torch_epoch(torch, task)))
    if task.soft is None and optional("sklearn"):
        found.append(Contender("scikit-learn", sklearn_epoch(task)))
    truth = loss64(task, epoch64(task))
    for c in found:
        after = loss64(task, [(np.asarray(w), np.asarray(b)) for w, b in c.call()])
        c.notes = {"loss": after}
        c.errors["loss"] = abs(after - truth) / truth
    common.require(found, 0.05)  # loose for the estimator's own order of rows; the others agree to 1e-4 and better
    return found


def least_seconds(task: Task) -> float:
    """Forward, gradients of the weights, gradients of all inputs but the first; 12 operations of Adam a parameter."""
    rows, products = len(task.order), networks.products(task.sizes)
    steps = -(-rows // task.batch)
    operations = rows * 2 * (3 * products - task.sizes[0] * task.sizes[1])
    operations += 12 * steps * sum(w.size + b.size for w, b in task.layers)
    data = [task.x, task.y, task.order] + ([] if task.soft is None else [task.soft])
    return roofline.least_seconds(sum(array.nbytes for array in data), operations, 4)


def main() -> None:
    options = common.arguments(__doc__)
    rounds, rows = (2, 10_000) if options.quick else (7, 100_000)
    cases = []
    for sizes, batch, loss in CASES:
        row = f"{networks.label(sizes)}, batch {batch}, Adam, {loss}"
        if options.only not in row:
            continue
        task = make_task(sizes, batch, loss, rows)
        found = contenders(task)
        common.throughput(found, rounds=rounds, sample_seconds=1e-3)
        roofline.note(found, least_seconds(task))
        print(f"\nloss before the epoch {loss64(task, task.layers):.4f}; after it:",
              ", ".join(f"{c.name} {c.notes['loss']:.6f}" for c in found))  # fmt: skip
        cases.append(common.case("training", row, found))
    common.write("training", options, cases)


if __name__ == "__main__":
    main()
