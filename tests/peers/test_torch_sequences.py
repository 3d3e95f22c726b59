"""LSTMs and convolutions against torch: forward and gradients, parameters mapped; a Transformer as teacher."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastkd.distill import distill  # noqa: E402
from fastkd.models import CNNClassifier, LSTMClassifier, as_model  # noqa: E402

pytestmark = pytest.mark.peers
STEPS, FEATURES, CLASSES = 7, 5, 3


def windows(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, STEPS, FEATURES)), rng.integers(0, CLASSES, n)


def take(flat, *shape):
    """(array of that shape, the rest of the flat parameters)"""
    size = int(np.prod(shape))
    return torch.tensor(flat[:size].reshape(shape), requires_grad=True), flat[size:]


def head(h, rest):
    n = h.shape[1]
    weight, rest = take(rest, n, CLASSES)
    bias, rest = take(rest, CLASSES)
    assert len(rest) == 0
    return h @ weight + bias, [weight, bias]


def pooled(h, pooling):
    return {"last": h[:, -1], "mean": h.mean(dim=1), "max": h.max(dim=1).values}[pooling]


def flat_gradient(logits, y, parts):
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))
    loss.backward()
    return loss.item(), np.concatenate([p.grad.numpy().ravel() for p in parts])


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_lstm_is_torchs(pooling):
    X, y = windows()
    units, layers = 9, 2
    model = LSTMClassifier(units, layers=layers, pooling=pooling, dtype="float64", random_state=0)
    model.initialize((STEPS, FEATURES), CLASSES)
    lstm = torch.nn.LSTM(FEATURES, units, layers, batch_first=True, dtype=torch.float64)
    rest, n_in = model.parameters, FEATURES
    with torch.no_grad():  # torch's gates come in the order i, f, g, o as well, with two biases that add
        for k in range(layers):
            weight, rest = take(rest, n_in + units, 4 * units)
            bias, rest = take(rest, 4 * units)
            getattr(lstm, f"weight_ih_l{k}").copy_(weight[:n_in].T)
            getattr(lstm, f"weight_hh_l{k}").copy_(weight[n_in:].T)
            getattr(lstm, f"bias_ih_l{k}").copy_(bias)
            getattr(lstm, f"bias_hh_l{k}").zero_()
            n_in = units
    logits, parts = head(pooled(lstm(torch.from_numpy(X))[0], pooling), rest)
    np.testing.assert_allclose(model.predict_logits(X), logits.detach(), atol=1e-12)
    loss, head_grad = flat_gradient(logits, y, parts)
    body = []
    for k in range(layers):
        w = [getattr(lstm, f"weight_{part}_l{k}").grad.numpy().T for part in ("ih", "hh")]
        body += [np.concatenate(w).ravel(), getattr(lstm, f"bias_ih_l{k}").grad.numpy()]
    got_loss, grad = model.gradient(X, y)
    assert got_loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(grad, np.concatenate([*body, head_grad]), atol=1e-12)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize("kernel_size", [1, 3, 4])
def test_convolutions_are_torchs(pooling, kernel_size):
    X, y = windows()
    channels = (6, 10)
    model = CNNClassifier(channels, kernel_size=kernel_size, pooling=pooling, dtype="float64", random_state=0)
    model.initialize((STEPS, FEATURES), CLASSES)
    rest, n_in, parts = model.parameters, FEATURES, []
    h = torch.from_numpy(X).transpose(1, 2)
    for n_out in channels:
        weight, rest = take(rest, kernel_size, n_in, n_out)
        bias, rest = take(rest, n_out)
        parts += [weight, bias]
        h = torch.nn.functional.conv1d(h, weight.permute(2, 1, 0), bias, padding="same").relu()
        n_in = n_out
    logits, head_parts = head(pooled(h.transpose(1, 2), pooling), rest)
    np.testing.assert_allclose(model.predict_logits(X), logits.detach(), atol=1e-12)
    loss, want = flat_gradient(logits, y, parts + head_parts)
    got_loss, grad = model.gradient(X, y)
    assert got_loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(grad, want, atol=1e-12)


class Transformer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Linear(FEATURES, 16)
        self.position = torch.nn.Parameter(0.1 * torch.randn(STEPS, 16))
        layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 1)
        self.out = torch.nn.Linear(16, 2)

    def forward(self, x):
        return self.out(self.encoder(self.embed(x) + self.position).mean(dim=1))


@pytest.mark.parametrize(
    "student",
    [
        LSTMClassifier(16, learning_rate=0.01, epochs=30, random_state=0),
        CNNClassifier((16,), learning_rate=0.01, epochs=30, random_state=0),
    ],
    ids=["lstm", "cnn"],
)
def test_a_transformer_teaches_without_labels(student):
    torch.manual_seed(0)
    X, _ = windows(500)
    y = (X[:, :, 0].mean(axis=1) > 0).astype(np.int64)
    module = Transformer()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    inputs, labels = torch.tensor(X, dtype=torch.float32), torch.from_numpy(y)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(inputs), labels).backward()
        optimizer.step()
    teacher = as_model(module)
    logits = teacher.predict_logits(X)
    assert module.training
    np.testing.assert_array_equal(logits, teacher.predict_logits(X))  # eval mode: no dropout
    distill(teacher, student, X)
    assert (student.predict(X) == logits.argmax(axis=1)).mean() > 0.9
