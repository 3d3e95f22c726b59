"""Models of other libraries in a federation: a Transformer of torch as the teacher, boosted trees as clients."""

import numpy as np
import pytest

from fastkd.federated import Client, FedMD
from fastkd.losses import softmax
from fastkd.models import MLPClassifier, as_model

pytestmark = pytest.mark.peers
RUN = {"rounds": 2, "revisit_epochs": 2, "digest_epochs": 20, "initial_epochs": 10, "random_state": 0}


@pytest.fixture(scope="module")
def windows():
    """Windows of six candles with three features; the class is the sign of the last ones."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6, 3)).astype(np.float32)
    return X, (X[:, -2:, 0].sum(axis=1) > 0).astype(int)


def test_a_transformer_is_the_teacher_at_the_server(windows):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    X, y = windows
    torch.manual_seed(0)

    class Teacher(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = nn.Linear(3, 16)
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)
            self.leave = nn.Linear(6 * 16, 2)

        def forward(self, x):
            return self.leave(self.encoder(self.enter(x)).flatten(1))

    teacher = Teacher()
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    rows, labels = torch.from_numpy(X[:300]), torch.from_numpy(y[:300])
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(teacher(rows), labels).backward()
        optimizer.step()
    clients = [Client(f"c{k}", MLPClassifier((24,), learning_rate=0.01, random_state=k), X[:1], y[:1]) for k in (0, 1)]
    result = FedMD(clients, X[:300], server_model=teacher, classes=[0, 1], **RUN).run()
    assert result.server_model is teacher
    said = as_model(teacher).predict_logits(X[400:]).argmax(axis=1)
    assert (said == y[400:]).mean() > 0.8
    for client in result.clients:
        assert (client.model.predict(X[400:].reshape(100, -1)) == said).mean() > 0.75


@pytest.mark.parametrize(("module", "name"), [("lightgbm", "LGBMClassifier"), ("xgboost", "XGBClassifier")])
def test_boosted_trees_take_part(windows, module, name):
    trees = getattr(pytest.importorskip(module), name)
    X, y = windows
    options = {"verbose": -1} if module == "lightgbm" else {}
    clients = [
        Client("trees", trees(n_estimators=10, n_jobs=1, **options), X[:100], y[:100]),
        Client("network", MLPClassifier((16,), random_state=0), X[100:200], y[100:200]),
    ]
    result = FedMD(clients, X[200:400], eval_set=(X[400:], y[400:]), **RUN).run()
    assert not result.history[-1].failed
    assert result.history[-1].accuracies["trees"] > 0.6


def test_the_consensus_of_torch_modules_is_theirs(windows):
    torch = pytest.importorskip("torch")
    X, _ = windows
    modules = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(18, 3)) for _ in range(3)]
    clients = [Client(f"m{k}", module, X[:5], None) for k, module in enumerate(modules)]
    result = FedMD(clients, X[:50], classes=[0, 1, 2], rounds=1, temperature=2.0, dtype="float64").run()
    with torch.no_grad():
        said = [softmax(module(torch.from_numpy(X[:50])).numpy().astype(float), 2.0) for module in modules]
    np.testing.assert_allclose(result.consensus, np.mean(said, axis=0), atol=1e-6)
