"""Softmax at a temperature, and the distillation loss with its gradient: fastkd and its peers, float32.

Each peer gets its inputs in its own array type and, where it has one, its own best layout, made before the clock
starts. Every result is compared with a float64 oracle. Run: ``python -m bench.losses --json PATH [--quick]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import common
from bench.common import Contender, optional
from bench.losses_numba import kd_numba, softmax_numba

TEMPERATURE, KD_WEIGHT = 3.0, 0.7
T, W = np.float32(TEMPERATURE), np.float32(KD_WEIGHT)
SOFTMAX_SHAPES = [(1, 3), (1000, 3), (100_000, 3), (100_000, 10), (10_000, 100)]
KD_SHAPES = [(1000, 3), (100_000, 3), (100_000, 10), (10_000, 100)]


def data(rows: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows + classes)
    student = rng.normal(0, 3, (rows, classes)).astype(np.float32)
    teacher = rng.normal(0, 3, (rows, classes)).astype(np.float32)
    return student, teacher, rng.integers(0, classes, rows).astype(np.int32)


# --------------------------------------------------------------------------------------------- oracle


def log_softmax64(x: np.ndarray, temperature: float) -> np.ndarray:
    z = (x.astype(np.float64) - x.max(axis=1, keepdims=True)) / temperature
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def kd64(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of kd_weight T^2 KL(q_t || q_s) + (1 - kd_weight) CE, and its gradient, in float64."""
    rows = np.arange(len(labels))
    log_s, log_t = log_softmax64(student, TEMPERATURE), log_softmax64(teacher, TEMPERATURE)
    log_1 = log_softmax64(student, 1.0)
    q_t, hard = np.exp(log_t), np.exp(log_1)
    hard[rows, labels] -= 1
    soft_loss = TEMPERATURE**2 * (q_t * (log_t - log_s)).sum(axis=1)
    loss = (KD_WEIGHT * soft_loss - (1 - KD_WEIGHT) * log_1[rows, labels]).mean()
    grad = KD_WEIGHT * TEMPERATURE * (np.exp(log_s) - q_t) + (1 - KD_WEIGHT) * hard
    return float(loss), grad / len(labels)


# ---------------------------------------------------------------------------------------------- NumPy


def softmax_numpy(x: np.ndarray) -> np.ndarray:
    e = np.exp((x - x.max(axis=1, keepdims=True)) / T)
    return e / e.sum(axis=1, keepdims=True)


def softmax_numpy_cb(x: np.ndarray) -> np.ndarray:
    """Classes along the first axis: every step runs over long contiguous rows; work is done in place."""
    e = x - x.max(axis=0)
    e *= 1 / T
    np.exp(e, out=e)
    e *= 1 / e.sum(axis=0)
    return e


def kd_numpy(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    def log_softmax(x: np.ndarray, temperature: np.float32) -> np.ndarray:
        z = (x - x.max(axis=1, keepdims=True)) / temperature
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    rows = np.arange(len(labels))
    log_s, log_t, log_1 = log_softmax(student, T), log_softmax(teacher, T), log_softmax(student, np.float32(1))
    q_t, hard = np.exp(log_t), np.exp(log_1)
    hard[rows, labels] -= 1
    loss = W * T * T * (q_t * (log_t - log_s)).sum(axis=1) - (1 - W) * log_1[rows, labels]
    grad = (W * T * (np.exp(log_s) - q_t) + (1 - W) * hard) / np.float32(len(labels))
    return loss.mean(), grad


def kd_numpy_cb(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    n = student.shape[1]
    s = student - student.max(axis=0)
    t = (teacher - teacher.max(axis=0)) * (1 / T)
    hard = np.exp(s)
    sum_1 = hard.sum(axis=0)
    picked = (labels, np.arange(n))
    loss_hard = (np.log(sum_1) - s[picked]).mean()
    hard *= (1 - W) / n / sum_1
    s *= 1 / T
    q_s, q_t = np.exp(s), np.exp(t)
    sum_s, sum_t = q_s.sum(axis=0), q_t.sum(axis=0)
    q_s *= 1 / sum_s
    q_t *= 1 / sum_t
    t -= s
    t *= q_t
    loss_soft = (t.sum(axis=0) + np.log(sum_s / sum_t)).mean()
    q_s -= q_t
    q_s *= W * T / n
    q_s += hard
    q_s[picked] -= (1 - W) / n
    return W * T * T * loss_soft + (1 - W) * loss_hard, q_s


# ---------------------------------------------------------------------------------------- contenders


def softmax_contenders(x: np.ndarray) -> list[tuple[Contender, Callable[[Any], np.ndarray]]]:
    """Contenders with the function that brings each result back to a (rows, classes) NumPy array."""
    found: list[tuple[Contender, Callable[[Any], np.ndarray]]] = []
    if fk := optional("fastkd.losses", "softmax"):
        out = np.empty_like(x)
        found.append((Contender("fastkd", fk.softmax, (x, TEMPERATURE)), np.asarray))
        found.append((Contender("fastkd, out=", lambda a, o: fk.softmax(a, TEMPERATURE, out=o), (x, out)), np.asarray))
    found.append((Contender("numpy", softmax_numpy, (x,)), np.asarray))
    found.append((Contender("numpy (C, B)", softmax_numpy_cb, (np.ascontiguousarray(x.T),)), np.transpose))
    if special := optional("scipy.special"):
        found.append((Contender("scipy", lambda a: special.softmax(a / T, axis=1), (x,)), np.asarray))
    if nb := softmax_numba():
        found.append((Contender("numba", nb, (x, T)), np.asarray))
    if jax := optional("jax"):
        for name, axis, back in (("jax", 1, np.asarray), ("jax (C, B)", 0, np.transpose)):
            found.append((softmax_jax(jax, name, x if axis else np.ascontiguousarray(x.T), axis), back))
    if torch := optional("torch"):
        tensor = torch.from_numpy(x)
        found.append((Contender("torch", lambda a: torch.softmax(a / TEMPERATURE, 1), (tensor,)), np.asarray))
    return found


def softmax_jax(jax: Any, name: str, x: np.ndarray, axis: int) -> Contender:
    def softmax(a: Any) -> Any:  # a little faster than jax.nn.softmax, which guards its gradient
        e = jax.numpy.exp((a - a.max(axis, keepdims=True)) * (1 / T))
        return e / e.sum(axis, keepdims=True)

    jitted = jax.jit(softmax)
    return Contender(name, lambda a: jitted(a).block_until_ready(), (jax.numpy.asarray(x),))


def kd_jax(jax: Any, name: str, student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, axis: int) -> Contender:
    """Loss and gradient written out: a third faster than value_and_grad of the loss alone."""
    jnp = jax.numpy

    def loss_gradient(s: Any, t: Any, y: Any) -> Any:
        n, classes = s.shape[1 - axis], s.shape[axis]
        s = s - s.max(axis, keepdims=True)
        t = (t - t.max(axis, keepdims=True)) * (1 / T)
        cooled = s * (1 / T)
        e_1, e_s, e_t = jnp.exp(s), jnp.exp(cooled), jnp.exp(t)
        sum_1, sum_s, sum_t = (e.sum(axis, keepdims=True) for e in (e_1, e_s, e_t))
        q_t = e_t / sum_t
        target = jnp.arange(classes)[None, :] == y[:, None] if axis else jnp.arange(classes)[:, None] == y[None, :]
        soft = (q_t * (t - cooled)).sum(axis, keepdims=True) + jnp.log(sum_s / sum_t)
        hard = jnp.log(sum_1) - (s * target).sum(axis, keepdims=True)
        grad = (W * T / n) * (e_s / sum_s - q_t) + ((1 - W) / n) * (e_1 / sum_1 - target)
        return (W * T * T * soft + (1 - W) * hard).mean(), grad

    both = jax.jit(loss_gradient)
    args = tuple(map(jnp.asarray, (student, teacher, labels)))
    return Contender(name, lambda *a: jax.block_until_ready(both(*a)), args)


def kd_torch(
    torch: Any, student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, compiled: bool
) -> list[Contender]:
    F = torch.nn.functional

    def loss(s: Any, t: Any, y: Any) -> Any:
        soft = F.kl_div(F.log_softmax(s / TEMPERATURE, 1), F.log_softmax(t / TEMPERATURE, 1),
                        reduction="batchmean", log_target=True)  # fmt: skip
        return KD_WEIGHT * TEMPERATURE**2 * soft + (1 - KD_WEIGHT) * F.cross_entropy(s, y)

    def with_gradient(forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(s: Any, t: Any, y: Any) -> Any:
            value = forward(s, t, y)
            return value.detach(), torch.autograd.grad(value, s)[0]

        return call

    args = torch.from_numpy(student).requires_grad_(), torch.from_numpy(teacher), torch.from_numpy(labels).long()
    found = [Contender("torch", with_gradient(loss), args)]
    if compiled:
        try:
            call = with_gradient(torch.compile(loss, dynamic=False))
            call(*args)
            found.append(Contender("torch.compile", call, args))
        except Exception as error:  # needs a C++ compiler at run time, and says so in many ways
            common.SKIPPED["torch.compile"] = type(error).__name__
    return found


def kd_contenders(
    student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, compiled: bool
) -> list[tuple[Contender, Callable[[Any], np.ndarray]]]:
    args = student, teacher, labels
    found: list[tuple[Contender, Callable[[Any], np.ndarray]]] = []
    if fk := optional("fastkd.losses", "distillation_loss"):

        def ours(s: np.ndarray, t: np.ndarray, y: np.ndarray) -> Any:
            return fk.distillation_loss(s, t, y, temperature=TEMPERATURE, kd_weight=KD_WEIGHT, return_grad=True)

        found.append((Contender("fastkd", ours, args), np.asarray))
    found.append((Contender("numpy", kd_numpy, args), np.asarray))
    transposed = np.ascontiguousarray(student.T), np.ascontiguousarray(teacher.T), labels
    found.append((Contender("numpy (C, B)", kd_numpy_cb, transposed), np.transpose))
    if nb := kd_numba():
        found.append((Contender("numba", nb, (*args, T, W)), np.asarray))
    if jax := optional("jax"):
        found.append((kd_jax(jax, "jax", *args, axis=1), np.asarray))
        found.append((kd_jax(jax, "jax (C, B)", *transposed, axis=0), np.transpose))
    if torch := optional("torch"):
        found += [(c, np.asarray) for c in kd_torch(torch, *args, compiled)]
    return found


def main() -> None:
    options = common.arguments(__doc__)
    rounds, sample = (3, 1e-3) if options.quick else (21, 2e-2)
    cases = []
    for rows, classes in SOFTMAX_SHAPES:
        row = f"softmax T=3 ({rows}, {classes})"
        if options.only not in row:
            continue
        x = data(rows, classes)[0]
        truth = np.exp(log_softmax64(x, TEMPERATURE))
        contenders = []
        for c, back in softmax_contenders(x):
            c.errors["probability"] = float(np.abs(back(c.call(*c.args)) - truth).max())
            contenders.append(c)
        common.require(contenders, 1e-5)
        common.throughput(contenders, rounds=rounds, sample_seconds=sample)
        cases.append(common.case("losses", row, contenders))
    for rows, classes in KD_SHAPES:
        row = f"KD loss + gradient ({rows}, {classes})"
        if options.only not in row:
            continue
        args = data(rows, classes)
        loss, grad = kd64(*args)
        contenders = []
        for c, back in kd_contenders(*args, compiled=not options.quick):
            got_loss, got_grad = c.call(*c.args)
            c.errors["loss"] = abs(float(got_loss) - loss) / loss
            c.errors["gradient"] = float(np.abs(back(got_grad) - grad).max() / np.abs(grad).max())
            contenders.append(c)
        common.require(contenders, 1e-5)
        common.throughput(contenders, rounds=rounds, sample_seconds=sample)
        cases.append(common.case("losses", row, contenders))
    common.write("losses", options, cases)


if __name__ == "__main__":
    main()
