"""Kernel inducing points for `bench.condense`: loss and its derivatives by condensed rows and labels, three ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.common import Contender, optional, require

RIDGE, GAMMA = 1e-3, 1 / 8  # a ridge that float32 can do, too; the default is 1e-6
W_VARIANCE, B_VARIANCE = 2.0, 0.01


@dataclass
class Ridge:
    """Condensed rows s and labels y, targets t at rows x."""

    s: np.ndarray
    y: np.ndarray
    x: np.ndarray
    t: np.ndarray


def make_task(support: int, targets: int) -> Ridge:
    rng = np.random.default_rng(0)
    onehot = np.eye(3) - 1 / 3
    s, x = rng.normal(size=(support, 8)), rng.normal(size=(targets, 8))
    return Ridge(s, onehot[np.arange(support) % 3], x, onehot[np.abs(x[:, :3]).argmax(axis=1)])


def ours(task: Ridge, kernel: str) -> Any:
    from fastkd.condense.kip import KernelRidge, kip_loss

    model = KernelRidge("rbf" if kernel == "rbf" else "ntk1", RIDGE, GAMMA)
    return lambda: kip_loss(model, task.s, task.y, task.x, task.t)


def kernel_of(lib: Any, kernel: str, a: Any, b: Any) -> Any:
    """The kernel in the words that jax.numpy and torch share."""
    if kernel == "rbf":
        return lib.exp(-GAMMA * ((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T))
    same = a is b
    s = W_VARIANCE / a.shape[1] * (a @ b.T) + B_VARIANCE
    q1 = W_VARIANCE / a.shape[1] * (a * a).sum(1) + B_VARIANCE
    q2 = W_VARIANCE / a.shape[1] * (b * b).sum(1) + B_VARIANCE
    root = lib.sqrt(q1[:, None] * q2)
    c = s / root
    if same:  # the derivative of arccos is infinite at 1: the diagonal has a formula of its own
        diagonal = lib.eye(len(a)) > 0
        c = lib.where(diagonal, 0 * c, c)
    sine, k0 = lib.sqrt(1 - c * c), (np.pi - lib.arccos(c)) / (2 * np.pi)
    grown = W_VARIANCE * root * (sine / (2 * np.pi) + k0 * c) + B_VARIANCE
    theta = grown + W_VARIANCE * k0 * s
    return lib.where(diagonal, 2 * root + B_VARIANCE, theta) if same else theta


def jax_step(jax: Any, task: Ridge, kernel: str, dtype: Any) -> Any:
    jnp = jax.numpy

    def loss(s: Any, y: Any, x: Any, t: Any) -> Any:
        k = kernel_of(jnp, kernel, s, s)
        factor = jax.scipy.linalg.cho_factor(k + RIDGE * jnp.trace(k) / len(s) * jnp.eye(len(s), dtype=k.dtype))
        gap = kernel_of(jnp, kernel, x, s) @ jax.scipy.linalg.cho_solve(factor, y) - t
        return 0.5 * (gap * gap).mean()

    with jax.enable_x64(dtype == np.float64):
        slopes = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        given = [jnp.asarray(a, dtype) for a in (task.s, task.y, task.x, task.t)]

    def step() -> Any:
        with jax.enable_x64(dtype == np.float64):
            value, (ds, dy) = jax.block_until_ready(slopes(*given))
        return value, ds, dy

    return step


def torch_step(torch: Any, task: Ridge, kernel: str, dtype: Any) -> Any:
    s, y, x, t = (torch.from_numpy(a.astype(dtype)) for a in (task.s, task.y, task.x, task.t))
    s.requires_grad_()
    y.requires_grad_()

    def step() -> Any:
        k = kernel_of(torch, kernel, s, s)
        factor = torch.linalg.cholesky(k + RIDGE * torch.trace(k) / len(s) * torch.eye(len(s), dtype=k.dtype))
        gap = kernel_of(torch, kernel, x, s) @ torch.cholesky_solve(y, factor) - t
        loss = 0.5 * (gap * gap).mean()
        ds, dy = torch.autograd.grad(loss, (s, y))
        return loss.detach(), ds, dy

    return step


def contenders(support: int, targets: int, kernel: str) -> list[Contender]:
    task = make_task(support, targets)
    found = [Contender("fastkd", ours(task, kernel))]
    for dtype in (np.float64, np.float32):
        name = np.dtype(dtype).name
        if jax := optional("jax"):
            found.append(Contender(f"jax, jit, {name}", jax_step(jax, task, kernel, dtype)))
        if torch := optional("torch"):
            found.append(Contender(f"torch, {name}", torch_step(torch, task, kernel, dtype)))
    first = [np.asarray(a) for a in found[0].call()]
    for c in found:
        for what, a, b in zip(("loss", "slope by rows", "slope by labels"), c.call(), first, strict=True):
            c.errors[what] = float(np.abs(np.asarray(a) - b).max() / np.abs(b).max())
    require(found, 1e-3)
    return found
