"""What a client's model learns from, and what it may say: scalers, foreign logits, nothing learned yet."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from fastkd.features import Standardizer
from fastkd.federated import Client, FedMD, RobustFL
from fastkd.models import MLPClassifier

QUICK = {"rounds": 2, "revisit_epochs": 1, "digest_epochs": 1, "initial_epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def plain():
    """Rows of four features and two classes."""
    X = np.random.default_rng(0).normal(size=(300, 4))
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def networks(X, y, n=3):
    models = [MLPClassifier((4 + i,), random_state=i) for i in range(n)]
    return [Client(f"c{i}", model, X[i * 12 :][:12], y[i * 12 :][:12]) for i, model in enumerate(models)]


# -- scalers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_scaler(plain):
    """Rows far from 0, their scaler, and one network that has it and one that has not."""
    X, y = plain
    raw = 100.0 * X + 500.0
    scaler = Standardizer().fit(raw[:100])
    bare = MLPClassifier((8,), random_state=0, learning_rate=0.01, epochs=30, dtype="float64")
    bare.fit(scaler.transform(raw[:100]), y[:100])
    carries = MLPClassifier(**bare.get_params()).initialize(4, 2)
    carries.parameters, carries.scaler = bare.parameters, scaler
    bare = MLPClassifier(**bare.get_params()).initialize(4, 2)
    bare.parameters = carries.parameters
    return raw, scaler.transform(raw), y, bare, carries


def test_a_scaler_is_applied_to_what_a_client_trains_on(with_scaler):
    raw, rows, y, bare, carries = with_scaler
    said = [
        FedMD([Client(f"c{i}", m, X[50 * i :][:50], y[50 * i :][:50]) for i in range(3)], X[150:200], **QUICK).run()
        for m, X in ((bare, rows), (carries, raw))
    ]
    np.testing.assert_allclose(said[1].consensus, said[0].consensus, atol=1e-6)
    np.testing.assert_allclose(said[1].clients[0].model.parameters, said[0].clients[0].model.parameters, atol=1e-6)


@pytest.mark.parametrize("own", [False, True])
def test_a_scaler_is_applied_to_gradients(with_scaler, own):
    raw, rows, y, bare, carries = with_scaler
    learned = [
        RobustFL(m, [Client(f"c{i}", m if own else None, X[50 * i :][:50], y[50 * i :][:50]) for i in range(3)],
                 rounds=3, learning_rate=0.1, random_state=0).run().server_model.parameters
        for m, X in ((bare, rows), (carries, raw))
    ]  # fmt: skip
    np.testing.assert_allclose(learned[1], learned[0], atol=1e-9)


# -- foreign logits ---------------------------------------------------------------------------------------------------


def heard(model, X, space="probability", classes=(0, 1)):
    """What the model alone says of the rows at temperature 1, as the consensus, and who was rejected."""
    federation = FedMD([Client("f", model, X[:5], None)], X, space=space, classes=classes, temperature=1.0,
                       **{**QUICK, "rounds": 1})  # fmt: skip
    return federation.run().consensus


class Knows:
    """A model of some classes with given logits."""

    def __init__(self, classes, logits):
        self.classes_, self._logits = np.array(classes), logits

    def predict_logits(self, X):
        return self._logits(X)


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_a_common_shift_of_logits_says_nothing(plain, space):
    X, _ = plain

    def logits(Z, shift):
        return np.column_stack([-Z[:, 0], Z[:, 0]]) + shift

    here = heard(lambda Z: logits(Z, 0.0), X, space)
    np.testing.assert_allclose(heard(lambda Z: logits(Z, -60.0), X, space), here, atol=1e-5)
    np.testing.assert_allclose(heard(Knows([0, 2], lambda Z: logits(Z, -60.0)), X, space, (0, 2)), here, atol=1e-5)


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_a_class_that_a_model_does_not_know_never_wins(plain, space):
    X, _ = plain
    for shift in (-60.0, -1e30, -np.inf):
        said = heard(Knows([0, 1], lambda Z, s=shift: np.zeros((len(Z), 2)) + s), X, space, (0, 1, 2))
        assert (said[:, 2] < 1e-6).all()


def test_minus_infinity_is_an_answer_as_any_other(plain):
    X, _ = plain
    never = Knows([0, 1], lambda Z: np.column_stack([np.full(len(Z), -np.inf), Z[:, 0]]))
    assert (heard(never, X, "logit", (0, 1, 2)).argmax(axis=1) == 1).all()


# -- estimators that are fitted anew ----------------------------------------------------------------------------------


def test_an_estimator_that_has_learned_nothing_does_not_vote(plain):
    X, y = plain
    blank = Client("blank", LogisticRegression(), X[:10], None)
    result = FedMD([*networks(X, y), blank], X[100:150], **QUICK).run()
    assert result.history[0].failed == {"blank": "nothing learned yet"}
    alone = FedMD(networks(X, y), X[100:150], **{**QUICK, "rounds": 1}).run()
    with pytest.warns(UserWarning, match=r"failed in every round \(blank: nothing learned yet\)"):
        first = FedMD([*networks(X, y), blank], X[100:150], **{**QUICK, "rounds": 1}).run()
    np.testing.assert_array_equal(first.consensus, alone.consensus)
    assert not result.history[1].failed  # by then it has heard the others


@pytest.mark.parametrize("alone", [{"kd_weight": 0.0}, {"digest_epochs": 0}])
def test_learning_alone_takes_no_public_rows(plain, alone):
    X, y = plain
    own = Client("k", KNeighborsClassifier(3), X[:12], y[:12])
    result = FedMD([own, *networks(X, y)], X[100:150], **{**QUICK, **alone}).run()
    assert result.clients[0].model.n_samples_fit_ == 12


def test_estimators_without_a_seed_have_that_of_the_run(plain):
    X, y = plain
    forests = [
        Client("forest", RandomForestClassifier(5), X[:30], y[:30]),
        Client("piped", Pipeline([("forest", RandomForestClassifier(5))]), X[30:60], y[30:60]),
    ]

    def run(seed):
        return FedMD([*networks(X, y), *forests], X[100:150], **{**QUICK, "random_state": seed}).run()

    first, again, other = run(0), run(0), run(1)
    np.testing.assert_array_equal(again.consensus, first.consensus)
    for k in (3, 4):
        said = [r.clients[k].model.predict_proba(X) for r in (first, again, other)]
        np.testing.assert_array_equal(said[0], said[1])
        assert not np.array_equal(said[0], said[2])
    assert first.clients[3].model.random_state is None


def test_hyper_parameters_come_back_as_they_were(plain):
    X, y = plain
    own = Client("own", MLPClassifier((4,), temperature=7.0, kd_weight=0.2), X[:12], y[:12])
    model = FedMD([own, *networks(X, y)], X[100:150], **QUICK).run().clients[0].model
    assert (model.temperature, model.kd_weight, model.random_state) == (7.0, 0.2, None)


def test_what_is_too_large_for_the_wire_becomes_the_largest_number(plain):
    """An unclipped mean with one huge client: the others learn from it instead of meeting infinity."""
    X, y = plain
    loud = {"c0": lambda honest, rng: np.where(np.arange(2) == 0, 1e300, -1e300) + 0.0 * honest[0]}
    result = FedMD(networks(X, y), X[100:150], space="logit", clip_logits=None, attacks=loud, **QUICK).run()
    assert not result.history[1].failed
