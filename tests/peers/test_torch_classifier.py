"""TorchClassifier against autograd by hand and against the MLP of this package; as a client that learns."""

import copy

import numpy as np
import pytest

from fastkd.distill import distill
from fastkd.federated import Client, FedMD, RobustFL
from fastkd.models import MLPClassifier, TorchClassifier
from fastkd.reference.losses import distillation_rows

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 0] > 1)
LOGITS = X @ RNG.normal(size=(4, 3))


def network(inputs=4, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(torch.nn.Linear(inputs, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    return layers.to(dtype)


@pytest.mark.parametrize("kd_weight", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("labels", ["all", "some", "none"])
def test_the_loss_by_its_definition(kd_weight, labels):
    model = TorchClassifier(network(), temperature=2.5, kd_weight=kd_weight).initialize(4, 3)
    y = {"all": Y, "some": np.where(np.arange(200) % 3, Y, -1), "none": None}[labels]
    weights = RNG.uniform(size=200)
    loss, gradient = model.gradient(X, y, teacher_logits=LOGITS, sample_weight=weights)
    w = 1.0 if y is None else kd_weight
    rows, _ = distillation_rows(model.predict_logits(X), LOGITS, y, temperature=2.5, kd_weight=w)
    assert loss == pytest.approx(np.average(rows, weights=weights), rel=1e-9)
    start = model.parameters
    for k in (0, 7, len(start) - 1):
        ends = []
        for step in (1e-6, -1e-6):
            bent = start.copy()
            bent[k] += step
            model.parameters = bent
            ends.append(model.gradient(X, y, teacher_logits=LOGITS, sample_weight=weights)[0])
        assert gradient[k] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-8)


def test_one_full_batch_step_of_sgd_is_that_of_the_mlp():
    ours = MLPClassifier((8,), dtype="float64", optimizer="sgd", momentum=0.0, learning_rate=0.1, batch_size=200)
    ours.initialize(4, 3)
    theirs = TorchClassifier(network(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1), batch_size=200)
    theirs.initialize(4, 3)
    layers = [p.detach().numpy() for p in theirs.module_.parameters()]
    ours.parameters = np.concatenate([layers[0].T.ravel(), layers[1], layers[2].T.ravel(), layers[3]])
    for model in (ours, theirs):
        model.partial_fit(X, Y, teacher_logits=LOGITS)
    np.testing.assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), rtol=1e-9)


def test_distill_with_raw_rows_and_a_scaler():
    raw = 100.0 * X + 5e3
    student = TorchClassifier(
        network(dtype=torch.float32), scale="standard", epochs=30, random_state=0, learning_rate=0.01
    )
    before = copy.deepcopy(student.module.state_dict())
    teacher = MLPClassifier((16,), epochs=30, learning_rate=0.01, scale="standard", random_state=0).fit(raw, Y)
    assert distill(teacher, student, raw, Y).score(raw, Y) > 0.85
    for name, tensor in student.module.state_dict().items():
        assert torch.equal(tensor, before[name])
    np.testing.assert_allclose(student.scaler_.mean_, raw.mean(axis=0))


def test_a_copy_learns_by_itself():
    model = TorchClassifier(network(), random_state=0).fit(X, Y)
    twin = copy.deepcopy(model)
    kept = model.parameters
    twin.partial_fit(X, Y)
    np.testing.assert_array_equal(model.parameters, kept)
    assert not np.array_equal(twin.parameters, kept)
    np.testing.assert_array_equal(model.partial_fit(X, Y).parameters, twin.parameters)


def test_a_client_of_fedmd_learns_like_the_others():
    torch_client = TorchClassifier(network(dtype=torch.float32), learning_rate=0.01, scale="standard")
    clients = [
        Client("torch", torch_client, X[:40], Y[:40]),
        Client("mlp", MLPClassifier((8,), learning_rate=0.01, scale="standard"), X[40:80], Y[40:80]),
    ]
    run = {"rounds": 4, "initial_epochs": 20, "digest_epochs": 5, "random_state": 0}
    result = FedMD(clients, X[80:160], **run).run()
    learned = {client.name: client.model for client in result.clients}
    scores = {name: model.score(X[160:], Y[160:]) for name, model in learned.items()}
    assert scores["torch"] > max(np.bincount(Y[160:]) / 40, default=0) + 0.1
    assert abs(scores["torch"] - scores["mlp"]) < 0.2
    assert not hasattr(torch_client, "module_")
    again = FedMD(clients, X[80:160], **run).run()
    np.testing.assert_array_equal(again.consensus, result.consensus)


def test_a_global_model_of_robust_fl():
    model = TorchClassifier(network()).initialize(4, 3)
    clients = [Client(f"c{i}", None, X[50 * i :][:50], Y[50 * i :][:50]) for i in range(4)]
    before = model.gradient(X, Y)[0]
    trained = RobustFL(model, clients, rounds=30, learning_rate=0.5, aggregator="median", random_state=0).run()
    assert trained.server_model.gradient(X, Y)[0] < 0.7 * before


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: TorchClassifier(torch.nn.Linear(4, 2).double()).fit(X, Y), "one for each class"),
        (lambda: TorchClassifier(torch.nn.ReLU()).fit(X, Y), "no weights"),
        (lambda: TorchClassifier(network()).fit(X, Y, eval_set=(X, Y)), "eval_set"),
        (lambda: TorchClassifier(network()).fit(X, np.full(200, -1)), "no label|-1"),
        (lambda: TorchClassifier(network(), kd_weight=2.0).fit(X, Y), "kd_weight"),
        (lambda: TorchClassifier(network()).fit(np.where(X > 2, np.nan, X), Y), "NaN"),
        (lambda: TorchClassifier(network()).predict(X), "no weights yet"),
    ],
)
def test_mistakes(call, says):
    with pytest.raises(ValueError, match=says):
        call()
