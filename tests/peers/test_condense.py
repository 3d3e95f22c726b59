"""The R operator and gradient matching by torch's double back-propagation."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastkd._core._native import MLPKernel, Targets, gradient_match  # noqa: E402
from fastkd.condense import mlp_r_operator  # noqa: E402
from fastkd.models import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.peers
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "identity": lambda x: x}


def parameters(flat, sizes):
    layers, at = [], 0
    for n_in, n_out in pairwise(sizes):
        W = torch.from_numpy(flat[at : at + n_in * n_out].reshape(n_in, n_out).copy()).requires_grad_()
        b = torch.from_numpy(flat[at + n_in * n_out : at + (n_in + 1) * n_out].copy()).requires_grad_()
        at += (n_in + 1) * n_out
        layers += [W, b]
    return layers


def forward(layers, activation, X):
    for k in range(0, len(layers), 2):
        X = X @ layers[k] + layers[k + 1]
        if k + 2 < len(layers):
            X = ACTIVATIONS[activation](X)
    return X


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("regression", [False, True])
def test_the_r_operator_is_double_back_propagation(activation, regression):
    sizes, rng = (5, 17, 9, 3), np.random.default_rng(0)
    kind = MLPRegressor if regression else MLPClassifier
    model = kind(hidden=sizes[1:-1], activation=activation, dtype="float64", random_state=0).initialize(5, 3)
    X, V = rng.normal(size=(20, 5)), rng.normal(size=model.n_parameters)
    y = rng.normal(size=(20, 3)) if regression else rng.dirichlet(np.ones(3), 20)
    layers = parameters(model.parameters, sizes)
    x = torch.from_numpy(X).requires_grad_()
    out = forward(layers, activation, x)
    if regression:
        loss = 0.5 * ((out - torch.from_numpy(y)) ** 2).sum(1).mean()
    else:
        loss = torch.nn.functional.cross_entropy(out, torch.from_numpy(y))
    grad = flat(torch.autograd.grad(loss, layers, create_graph=True))
    product = grad @ torch.from_numpy(V)
    *hv, dX = torch.autograd.grad(product, [*layers, x], allow_unused=True)
    hv = [torch.zeros_like(p) if h is None else h for h, p in zip(hv, layers)]
    want = (loss.item(), grad.detach().numpy(), flat(hv).numpy(), dX.numpy())
    for a, b in zip(mlp_r_operator(model, X, y, V), want):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def wanted_distance(real, synthetic, distance):
    if distance == "mse":
        return ((flat(real) - flat(synthetic)) ** 2).sum()
    pairs = (
        [(flat(real)[:, None], flat(synthetic)[:, None])] if distance == "global" else zip(real[::2], synthetic[::2])
    )
    total = 0
    for r, s in pairs:
        total = total + (1 - (r * s).sum(0) / (r.norm(dim=0) * s.norm(dim=0) + 1e-6)).sum()
    return total


@pytest.mark.parametrize("distance", ["rowwise", "global", "mse"])
def test_gradient_matching_is_double_back_propagation(distance):
    sizes, rng = (4, 12, 3), np.random.default_rng(1)
    kernel = MLPKernel(sizes, "tanh", np.float64)
    weights, X = 0.5 * rng.normal(size=kernel.n_parameters), rng.normal(size=(12, 4))
    labels, starts = np.repeat(np.arange(3), 4), np.array([0, 4, 8, 12])
    layers, x = parameters(weights, sizes), torch.from_numpy(X).requires_grad_()
    reals = rng.normal(size=(3, kernel.n_parameters))
    total = 0
    for g in range(3):
        rows = slice(starts[g], starts[g + 1])
        loss = torch.nn.functional.cross_entropy(forward(layers, "tanh", x[rows]), torch.from_numpy(labels[rows]))
        real = [p.detach() for p in parameters(reals[g], sizes)]
        total = total + wanted_distance(real, torch.autograd.grad(loss, layers, create_graph=True), distance)
    (dX,) = torch.autograd.grad(total, x)
    targets = Targets(12, np.float64, labels=labels.astype(np.int32))
    value, got, _ = gradient_match(kernel, weights, reals, X, targets, starts, distance)
    assert value == pytest.approx(total.item(), rel=1e-10)
    np.testing.assert_allclose(got, dX.numpy(), rtol=1e-8, atol=1e-12)
