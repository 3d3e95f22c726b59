"""The loss of a network with exits against torch's automatic differentiation, teachers detached."""

import numpy as np
import pytest

from fastkd import reference
from fastkd._core._native import ExitsKernel, Targets

torch = pytest.importorskip("torch")
F = torch.nn.functional
SIZES, N, T, KD, HINT, WEIGHTS = (4, 7, 6, 5, 3), 30, 2.5, 0.4, 0.2, (0.7, 1.2, 0.9)


@pytest.mark.parametrize("shallow_teaches", [False, True])
def test_gradient_is_torchs(shallow_teaches):
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(N, 4)), rng.integers(3, size=N).astype(np.int32)
    hint = 0.0 if shallow_teaches else HINT
    kernel = ExitsKernel(SIZES, "tanh", np.float64, WEIGHTS, feature_weight=hint, shallow_teaches=shallow_teaches)
    params = 0.5 * rng.normal(size=kernel.n_parameters)
    loss, grad = kernel.loss_gradient(params, X, Targets(N, np.float64, labels=labels, temperature=T, kd_weight=KD))

    trunk, heads, adapters = reference.exits_heads(params, SIZES, hint > 0)
    parts = [
        [torch.tensor(part, requires_grad=True) for part in pair]
        for group in (reference.mlp_layers(trunk, SIZES), heads, adapters)
        for pair in group
    ]
    layers, heads, adapters = parts[:4], parts[4:6], parts[6:]
    hidden, target = [torch.tensor(X)], torch.tensor(labels).long()
    for W, b in layers[:-1]:
        hidden.append(torch.tanh(hidden[-1] @ W + b))
    outputs = [h @ W + b for h, (W, b) in zip(hidden[1:], [*heads, layers[-1]], strict=True)]
    if shallow_teaches:
        soft = torch.stack([F.softmax(z / T, dim=1) for z in outputs[:-1]]).mean(dim=0).detach()
        pupils = [2]
    else:
        soft = F.softmax(outputs[-1].detach() / T, dim=1)
        pupils = [0, 1]
    total = torch.zeros((), dtype=torch.float64)
    for e, z in enumerate(outputs):
        ce = F.cross_entropy(z, target)
        kl = F.kl_div(F.log_softmax(z / T, dim=1), soft, reduction="batchmean")
        total = total + WEIGHTS[e] * (KD * T**2 * kl + (1 - KD) * ce if e in pupils else ce)
    for h, (W, b) in zip(hidden[1:], adapters, strict=False):
        total = total + hint * 0.5 * ((h @ W + b - hidden[-1].detach()) ** 2).sum() / N
    total.backward()

    assert loss == pytest.approx(total.item(), rel=1e-12)
    order = [*layers]  # flat: the perceptron, then for each shallow exit its head and its adapter
    for e, head in enumerate(heads):
        order += [head, *adapters[e : e + 1]]
    want = np.concatenate([part.grad.numpy().ravel() for pair in order for part in pair])
    np.testing.assert_allclose(grad, want, rtol=1e-10, atol=1e-13)
