"""as_model: other people's models."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastkd.losses import softmax
from fastkd.models import MLPClassifier, as_model

X = np.random.default_rng(0).normal(size=(6, 2))


def logits_of(X):
    return np.column_stack([X[:, 0], X[:, 1], -X[:, 0]])


def test_a_callable_returns_logits_unless_it_says_otherwise():
    model = as_model(logits_of)
    np.testing.assert_array_equal(model.predict_logits(X), logits_of(X))
    np.testing.assert_array_equal(model.predict_proba(X), softmax(logits_of(X)))
    proba = as_model(lambda X: softmax(logits_of(X)), returns="proba")
    np.testing.assert_allclose(proba.predict_proba(X), softmax(logits_of(X)))
    np.testing.assert_allclose(softmax(proba.predict_logits(X)), softmax(logits_of(X)), rtol=1e-12)


def test_probability_zero_has_a_finite_logit():
    model = as_model(lambda X: np.array([[1.0, 0.0]] * len(X)), returns="proba")
    assert model.predict_logits(X)[0].tolist() == [0.0, np.log(1e-10)]


def test_own_models_keep_their_logits():
    student = MLPClassifier(random_state=0).initialize(2, 3)
    model = as_model(student)
    np.testing.assert_array_equal(model.predict_logits(X), student.predict_logits(X))
    np.testing.assert_array_equal(model.predict_proba(X), student.predict_proba(X))
    assert model.classes_.tolist() == [0, 1, 2]
    assert as_model(model) is model
    assert model.model is student


def test_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    foreign = linear_model.LogisticRegression().fit(X, ["a", "b"] * 3)
    model = as_model(foreign)
    np.testing.assert_array_equal(model.predict_proba(X), foreign.predict_proba(X))
    np.testing.assert_allclose(model.predict_logits(X), np.log(foreign.predict_proba(X)))
    assert model.classes_.tolist() == ["a", "b"]


def test_torch_runs_in_eval_mode_and_is_left_as_it_was():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Dropout(0.9), torch.nn.Dropout(0.9).eval())
    module[0].train()
    got = as_model(module).predict_logits(X)
    assert [part.training for part in module] == [True, True, False]
    other = X.astype(">f8")
    other.flags.writeable = False
    np.testing.assert_array_equal(as_model(module).predict_logits(other), got)
    weight, bias = (p.detach().numpy() for p in module.parameters())
    np.testing.assert_allclose(got, X @ weight.T + bias, atol=1e-5)
    assert got.dtype == np.float32
    assert as_model(module.double()).predict_logits(X).dtype == np.float64


def test_torch_is_not_imported_for_others():
    if "torch" not in sys.modules:
        as_model(logits_of).predict_proba(X)
        assert "torch" not in sys.modules


def session(dtype="tensor(float)", outputs=("logits",), inputs=("features",)):
    def run(names, feed):
        assert feed["features"].dtype == {"tensor(float)": np.float32, "tensor(double)": np.float64}[dtype]
        return [logits_of(feed["features"]) if name == "logits" else np.zeros(len(X)) for name in names]

    def named(names):
        return [SimpleNamespace(name=name, type=dtype) for name in names]

    return SimpleNamespace(get_inputs=lambda: named(inputs), get_outputs=lambda: named(outputs), run=run)


def test_an_onnx_session_by_its_interface():
    np.testing.assert_allclose(as_model(session()).predict_logits(X), logits_of(X), rtol=1e-6)
    np.testing.assert_array_equal(as_model(session("tensor(double)")).predict_logits(X), logits_of(X))
    two = session(outputs=("label", "logits"))
    assert as_model(two, output="logits").predict_proba(X).shape == (6, 3)


@pytest.mark.parametrize(
    ("foreign", "options", "message"),
    [
        (session(outputs=("label", "logits")), {}, "say which"),
        (session(), {"output": "scores"}, "no output 'scores'"),
        (session(inputs=("a", "b")), {}, "one input"),
        (session("tensor(int64)"), {}, "tensor"),
        (logits_of, {"output": "logits"}, "output="),
        (logits_of, {"returns": "odds"}, "returns"),
        (SimpleNamespace(predict_proba=None), {"returns": "proba"}, "returns= is for callables"),
    ],
)
def test_options_that_do_not_fit(foreign, options, message):
    with pytest.raises(ValueError, match=message):
        as_model(foreign, **options)


@pytest.mark.parametrize("foreign", [5, "model", None, MLPClassifier, object()])
def test_what_is_no_model(foreign):
    with pytest.raises(TypeError, match="as_model needs"):
        as_model(foreign)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros(6), "one column for each class"),
        (np.zeros((5, 2)), "one column for each class"),
        (np.zeros((6, 2, 1)), "one column for each class"),
        (np.full((6, 2), np.nan), "NaN"),
        (np.full((6, 2), np.inf), "inf"),
    ],
)
def test_bad_logits_from_the_model(returned, message):
    with pytest.raises(ValueError, match=message):
        as_model(lambda X: returned).predict_logits(X)


@pytest.mark.parametrize("returned", [np.zeros((6, 2)), np.full((6, 2), np.nan), [[1.5, -0.5]] * 6, logits_of(X)])
def test_bad_probabilities_from_the_model(returned):
    with pytest.raises(ValueError, match="probabilities"):
        as_model(lambda X: returned, returns="proba").predict_proba(X)


def test_columns_must_match_the_classes():
    foreign = SimpleNamespace(predict_logits=logits_of, classes_=[0, 1])
    with pytest.raises(ValueError, match="2 classes_"):
        as_model(foreign).predict_logits(X)


def test_strings_from_the_model():
    with pytest.raises(TypeError, match="real numbers"):
        as_model(lambda X: [["a", "b"]] * 6).predict_logits(X)
