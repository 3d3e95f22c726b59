"""The same training in torch: same weights, same batches, same loss."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastkd import losses  # noqa: E402
from fastkd._core._native import MLPKernel, Optimizer, Targets  # noqa: E402
from fastkd.models import MLPClassifier, as_model  # noqa: E402

pytestmark = pytest.mark.peers
BATCH, STEPS = 32, 100
ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}


def torch_network(sizes, activation, params):
    """A torch network with the weights of a flat fastkd parameter vector."""
    layers, at = [], 0
    for n_in, n_out in pairwise(sizes):
        linear = torch.nn.Linear(n_in, n_out)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(params[at : at + n_in * n_out].reshape(n_in, n_out).T.copy()))
            linear.bias.copy_(torch.from_numpy(params[at + n_in * n_out : at + (n_in + 1) * n_out].copy()))
        at += (n_in + 1) * n_out
        layers += [linear, ACTIVATIONS[activation]()]
    return torch.nn.Sequential(*layers[:-1])


def torch_loss(logits, labels, teacher, temperature, kd_weight):
    if teacher is None:
        return torch.nn.functional.cross_entropy(logits, labels)
    log_s = torch.log_softmax(logits / temperature, 1)
    q_t = torch.softmax(teacher / temperature, 1)
    soft = torch.nn.functional.kl_div(log_s, q_t, reduction="batchmean") * temperature**2
    return kd_weight * soft + (1 - kd_weight) * torch.nn.functional.cross_entropy(logits, labels)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("distilled", [False, True])
def test_a_hundred_steps_reach_the_same_loss(activation, kind, distilled):
    sizes, rate = (8, 64, 32, 3), 1e-3 if kind == "adam" else 1e-2
    rng = np.random.default_rng(0)
    n = BATCH * STEPS
    X = rng.normal(size=(n, 8)).astype(np.float32)
    labels = (X[:, 0] * X[:, 1] > 0).astype(np.int32) + (X[:, 2] > 1)
    teacher = rng.normal(size=(n, 3)).astype(np.float32) if distilled else None
    kernel = MLPKernel(sizes, activation, np.float32)
    params = (0.2 * rng.normal(size=kernel.n_parameters)).astype(np.float32)
    network = torch_network(sizes, activation, params)
    options = {"teacher_logits": teacher, "temperature": 3.0, "kd_weight": 0.7} if distilled else {}
    order = rng.permutation(n)
    loss = kernel.epoch(
        params,
        Optimizer(kind, len(params), np.float32),
        X,
        Targets(n, np.float32, labels=labels.astype(np.int32), **options),
        order,
        BATCH,
        rate,
    )
    optimizer = (
        torch.optim.Adam(network.parameters(), rate)
        if kind == "adam"
        else torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    )
    seen = []
    for start in range(0, n, BATCH):
        rows = torch.from_numpy(order[start : start + BATCH])
        y = torch.from_numpy(labels.astype(np.int64))[rows]
        t = torch.from_numpy(teacher)[rows] if distilled else None
        optimizer.zero_grad()
        value = torch_loss(network(torch.from_numpy(X)[rows]), y, t, 3.0, 0.7)
        value.backward()
        optimizer.step()
        seen.append(value.item())
    assert loss == pytest.approx(np.mean(seen), abs=1e-4)
    with torch.no_grad():
        after = network(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(kernel.forward(params, X), after, rtol=0, atol=5e-3)


def test_gradients_of_the_distillation_loss_agree():
    rng = np.random.default_rng(1)
    z, t, y = rng.normal(size=(50, 5)), rng.normal(size=(50, 5)), rng.integers(0, 5, 50)
    leaf = torch.tensor(z, requires_grad=True)
    want = torch_loss(leaf, torch.from_numpy(y), torch.from_numpy(t), 3.0, 0.7)
    want.backward()
    loss, grad = losses.distillation_loss(z, t, y, return_grad=True)
    assert loss == pytest.approx(want.item(), rel=1e-12)
    np.testing.assert_allclose(grad, leaf.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_tensors_are_welcome_where_arrays_are():
    z = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    np.testing.assert_allclose(losses.softmax(z), torch.softmax(z, 1).detach().numpy(), rtol=1e-6)
    assert losses.softmax(z).dtype == np.float32


def test_a_torch_teacher_distills_a_student():
    torch.manual_seed(0)
    rng = np.random.default_rng(2)
    X = rng.normal(size=(600, 4)).astype(np.float32)
    teacher = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    model = as_model(teacher)
    student = MLPClassifier((32,), epochs=60, learning_rate=1e-2, random_state=0)
    student.fit(X, teacher_logits=model.predict_logits(X))
    agreement = (student.predict_logits(X).argmax(1) == model.predict_logits(X).argmax(1)).mean()
    assert agreement > 0.9
