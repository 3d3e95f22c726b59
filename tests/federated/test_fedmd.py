"""FedMD: the protocol, what it must not depend on, and what it gains."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from fastkd.federated import (
    Assignment,
    Client,
    ExpGuard,
    FederationError,
    FedMD,
    GaussianMechanism,
    LabelFlip,
    Predictions,
    RandomNoise,
    communication_cost,
)
from fastkd.losses import softmax
from fastkd.models import CNNClassifier, LSTMClassifier, MLPClassifier

HIDDEN = [(16,), (24,), (32,), (48,), (64,), (32, 16), (48, 24), (16, 16), (64, 32), ()]
QUICK = {"rounds": 3, "revisit_epochs": 1, "digest_epochs": 1, "initial_epochs": 3, "random_state": 0}


def student(k=0, **options):
    options = {"learning_rate": 0.005, "batch_size": 16, "random_state": k, **options}
    return MLPClassifier(hidden=HIDDEN[k % len(HIDDEN)], **options)


@pytest.fixture(scope="module")
def blobs():
    """Three classes in the plane of five features: private rows for six clients, public rows, test rows."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=600)
    X = (rng.normal(size=(600, 5)) + 2.0 * np.eye(3, 5)[y]).astype(np.float32)
    clients = [Client(f"c{k}", student(k), X[k * 20 : k * 20 + 20], y[k * 20 : k * 20 + 20]) for k in range(6)]
    return clients, X[200:300], y[200:300], X[300:], y[300:]


def assert_same(one, other):
    np.testing.assert_array_equal(one.consensus, other.consensus)
    assert one.history == other.history
    assert (one.bytes_up, one.bytes_down) == (other.bytes_up, other.bytes_down)
    for a, b in zip(one.clients, other.clients, strict=True):
        assert hasattr(a.model, "n_features_in_") == hasattr(b.model, "n_features_in_")
        if hasattr(a.model, "n_features_in_"):
            np.testing.assert_array_equal(a.model.parameters, b.model.parameters)


# -- what a round is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_consensus_is_the_mean_of_the_clients_softened_predictions(blobs, temperature):
    clients, public, *_ = blobs
    result = FedMD(clients, public, temperature=temperature, dtype="float64", **QUICK).run()
    said = [softmax(c.model.predict_logits(public).astype(np.float64), temperature) for c in result.clients]
    np.testing.assert_allclose(result.consensus, np.mean(said, axis=0), atol=1e-6)


def test_in_logit_space_it_is_the_softmax_of_the_mean_logits(blobs):
    clients, public, *_ = blobs
    result = FedMD(clients, public, space="logit", clip_logits=None, dtype="float64", **QUICK).run()
    logits = np.mean([c.model.predict_logits(public) for c in result.clients], axis=0)
    np.testing.assert_allclose(result.consensus, softmax(logits), atol=1e-6)


def test_a_client_trains_on_its_rows_and_then_on_the_consensus(blobs):
    """The round written out with partial_fit, for one client whose consensus is its own last answer."""
    clients, public, *_ = blobs
    one = clients[1]
    result = FedMD([one], public, rounds=2, temperature=2.0, revisit_epochs=2, digest_epochs=3, initial_epochs=4,
                   classes=[0, 1, 2], random_state=5).run()  # fmt: skip

    seeds = []

    class Spy(MLPClassifier):
        def partial_fit(self, X, y=None, **more):
            seeds.extend([(len(X), y is None, more.get("soft_labels"))] * more.get("passes", 1))
            return super().partial_fit(X, y, **more)

    spied = Spy(**one.model.get_params())
    again = FedMD([replace(one, model=spied)], public, rounds=2, temperature=2.0, revisit_epochs=2, digest_epochs=3,
                  initial_epochs=4, classes=[0, 1, 2], random_state=5).run()  # fmt: skip
    np.testing.assert_array_equal(again.clients[0].model.parameters, result.clients[0].model.parameters)
    assert [(n, soft is None) for n, _, soft in seeds] == [(20, True)] * 4 + [(20, True)] * 2 + [(100, False)] * 3
    np.testing.assert_allclose(seeds[-1][2].sum(axis=1), 1.0, atol=1e-5)


def test_a_server_model_learns_from_the_consensus_and_teaches(blobs):
    clients, public, _, X_test, y_test = blobs
    run = {**QUICK, "rounds": 6, "revisit_epochs": 3, "digest_epochs": 5, "initial_epochs": 40}
    result = FedMD(clients, public, server_model=student(4), eval_set=(X_test, y_test), **run).run()
    assert result.server_model.score(X_test, y_test) == result.history[-1].server_accuracy > 0.7
    agreed = result.consensus.argmax(axis=1)
    assert (result.server_model.predict(public) == agreed).mean() > 0.9
    assert not hasattr(blobs[0][0].model, "n_features_in_")  # what was given is not changed


def test_a_fitted_server_model_teaches_from_the_first_round(blobs):
    clients, public, public_y, *_ = blobs
    teacher = student(4, epochs=30).fit(public, public_y)
    blank = [replace(c, y=np.full(20, -1)) for c in clients]  # no labels of their own
    result = FedMD(blank, public, server_model=teacher, **{**QUICK, "rounds": 2, "digest_epochs": 25}).run()
    agreement = [(c.model.predict(public) == teacher.predict(public)).mean() for c in result.clients]
    assert min(agreement) > 0.8
    taught = FedMD(clients, public, public_y=public_y, server_model=student(4), **QUICK).run()
    assert taught.bytes_down == taught.bytes_up  # it could train on the public labels before the first round


def test_models_of_other_makers_take_part(blobs):
    clients, public, _, X_test, y_test = blobs
    others = [LogisticRegression(), RandomForestClassifier(20, random_state=0), KNeighborsClassifier(3)]
    foreign = [Client(f"f{i}", m, c.X, c.y) for i, (m, c) in enumerate(zip(others, clients, strict=False))]
    fixed = Client("rule", lambda X: 3.0 * X[:, :3], clients[5].X, None)
    result = FedMD([*clients[3:5], *foreign, fixed], public, eval_set=(X_test, y_test), **QUICK).run()
    before, after = result.history[0].accuracies, result.history[-1].accuracies
    assert set(after) == {"c3", "c4", "f0", "f1", "f2", "rule"}
    assert after["rule"] == before["rule"]
    assert np.mean(list(after.values())) > np.mean(list(before.values()))
    assert not result.history[-1].failed


def test_a_foreign_model_that_knows_fewer_classes_is_read_by_their_names(blobs):
    clients, public, *_ = blobs
    two = clients[0].y != 1
    poor = Client("poor", LogisticRegression(), clients[0].X[two], clients[0].y[two])
    result = FedMD([poor], public, classes=[0, 1, 2], **{**QUICK, "rounds": 1}).run()
    assert result.consensus[:, 1].max() < 0.01
    assert set(result.consensus.argmax(axis=1)) == {0, 2}


def test_sessions_and_the_like_are_not_copied(blobs):
    clients, public, *_ = blobs

    class Session:
        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

        def predict_proba(self, X):
            return np.full((len(X), 3), 1 / 3)

    session = Session()
    result = FedMD([*clients, Client("s", session, clients[0].X, None)], public, **QUICK).run()
    assert result.clients[-1].model is session
    assert not result.history[0].failed


def test_a_weight_of_zero_is_learning_alone(blobs):
    clients, public, *_ = blobs
    none = FedMD(clients, public, **{**QUICK, "kd_weight": 0.0}).run()
    alone = FedMD(clients, public, **{**QUICK, "digest_epochs": 0}).run()
    for one, other in zip(none.clients, alone.clients, strict=True):
        np.testing.assert_array_equal(one.model.parameters, other.model.parameters)


def test_labels_outside_the_classes_are_an_error(blobs):
    clients, public, *_ = blobs
    with pytest.raises(ValueError, match=r"client 'c0': labels \[2\] are not among the classes \[0, 1\]"):
        FedMD(clients, public, classes=[0, 1], **QUICK).run()
    signs = [replace(c, y=c.y - 1) for c in clients]
    result = FedMD(signs, public, classes=[-1, 0, 1], **QUICK).run()
    assert set(result.clients[0].model.classes_) == {-1, 0, 1}


def test_text_labels_and_windows(blobs):
    """Networks of plain features see a window of candles as one long row."""
    clients, public, *_ = blobs
    names = np.array(["down", "flat", "up"])
    windows = [replace(c, X=np.repeat(c.X[:, None, :], 2, axis=1), y=names[c.y]) for c in clients[:3]]
    result = FedMD(windows, np.repeat(public[:, None, :], 2, axis=1), **QUICK).run()
    assert result.clients[0].model.n_features_in_ == 10
    assert set(result.clients[0].model.predict(public.repeat(2, axis=1))) <= set(names)


def test_perceptrons_lstms_and_cnns_learn_together():
    """Each knows which of two events came first from 24 windows of its own; together they hear of 120 more."""
    rng = np.random.default_rng(0)
    n = 500
    X, y = rng.normal(scale=0.1, size=(n, 8, 2)), rng.integers(2, size=n)
    X[np.arange(n), rng.integers(0, 4, n), y] += 1.0
    X[np.arange(n), rng.integers(4, 8, n), 1 - y] += 1.0
    options = {"learning_rate": 0.01, "batch_size": 8}
    models = [
        MLPClassifier((16,), random_state=0, **options),
        LSTMClassifier(16, random_state=1, **options),
        CNNClassifier((16,), pooling="mean", random_state=2, **options),
        LSTMClassifier(8, layers=2, random_state=3, **options),
    ]
    clients = [Client(f"c{k}", m, X[24 * k :][:24], y[24 * k :][:24]) for k, m in enumerate(models)]
    public, test = slice(100, 220), slice(220, None)
    rounds = {"rounds": 8, "initial_epochs": 20, "random_state": 0}
    together = FedMD(clients, X[public], public_y=y[public], **rounds).run()
    alone = FedMD(clients, X[public], digest_epochs=0, **rounds).run()
    assert [type(c.model) for c in together.clients] == [type(m) for m in models]

    def accuracy(result):
        flat = X[test].reshape(-1, 16)
        return [c.model.score(flat if isinstance(c.model, MLPClassifier) else X[test], y[test]) for c in result.clients]

    assert np.mean(accuracy(together)) > np.mean(accuracy(alone)) + 0.05


def test_without_public_rows_clients_speak_of_classes(blobs):
    clients, _, _, X_test, y_test = blobs
    narrow = [replace(c, X=c.X[c.y != k % 3], y=c.y[c.y != k % 3]) for k, c in enumerate(clients)]
    run = {**QUICK, "rounds": 10, "revisit_epochs": 2, "eval_set": (X_test, y_test), "classes": [0, 1, 2]}
    result = FedMD(narrow, None, **run).run()
    assert result.consensus.shape == (3, 3)
    assert (result.consensus.argmax(axis=1) == [0, 1, 2]).all()
    np.testing.assert_allclose(result.consensus.sum(axis=1), 1.0)
    assert result.bytes_up == 10 * 6 * 9 * 4
    with pytest.raises(TypeError, match=r"client 'x': without a public set"):
        FedMD([Client("x", LogisticRegression(), clients[0].X, clients[0].y)], None)


# -- rows, bytes, temperatures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float64", 8)])
def test_measured_bytes_are_those_predicted(blobs, dtype, size):
    clients, public, *_ = blobs
    result = FedMD(clients, public, dtype=dtype, **QUICK).run()
    cost = communication_cost(6, 3, 1000, 100, 3, itemsize=size)
    assert (result.bytes_up, result.bytes_down) == (cost.fedmd_up, cost.fedmd_down)
    result = FedMD(clients, public, public_rows=40, dtype=dtype, **QUICK).run()
    cost = communication_cost(6, 3, 1000, 40, 3, itemsize=size, row_ids=True)
    assert (result.bytes_up, result.bytes_down) == (cost.fedmd_up, cost.fedmd_down)


def test_a_fresh_subset_each_round_fills_the_consensus_bit_by_bit(blobs):
    clients, public, *_ = blobs
    known = []
    result = FedMD(clients, public, public_rows=30, **QUICK, callbacks=[
        lambda record, result: known.append(~np.isnan(result.consensus[:, 0]))
    ]).run()  # fmt: skip
    assert known[0].sum() == 30
    assert known[0].sum() < known[1].sum() < known[2].sum() < 100
    np.testing.assert_allclose(result.consensus[known[-1]].sum(axis=1), 1.0)


def test_the_schedule_sets_the_temperature_and_restarts(blobs):
    clients, public, *_ = blobs

    class Step:
        def __init__(self, temperature, restart=False):
            self.temperature, self.restart = temperature, restart

    steps = [Step(4.0), Step(2.0), Step(1.0, True), Step(1.0)]
    result = FedMD(clients, public, schedule=lambda t: steps[min(t, 3)], **QUICK).run()
    assert result.series("temperature") == [4.0, 2.0, 1.0]
    assert result.series("restart") == [False, False, True]
    flat = FedMD(clients, public, schedule=lambda t: 50.0, **QUICK).run().consensus
    assert flat.max() < 0.4 < result.consensus.max()


def test_a_restart_forgets_the_weights_but_not_what_was_agreed_on(blobs):
    clients, public, _, X_test, y_test = blobs

    class Step:
        temperature = 1.0

        def __init__(self, restart):
            self.restart = restart

    blank = replace(clients[0], y=np.full(20, -1))  # knows nothing but the consensus
    run = {**QUICK, "rounds": 4, "digest_epochs": 5, "initial_epochs": 30, "eval_set": (X_test, y_test)}
    result = FedMD([blank, *clients[1:]], public, schedule=lambda t: Step(t == 3), **run).run()
    kept = FedMD([blank, *clients[1:]], public, schedule=lambda t: 1.0, **run).run()
    assert result.history[:3] == kept.history[:3]
    assert result.history[3].accuracies["c0"] > 0.75
    assert result.history[3].accuracies != kept.history[3].accuracies


# -- who answers ------------------------------------------------------------------------------------------------------


def test_sampling_absence_and_lateness(blobs):
    clients, public, *_ = blobs
    behavior = {"c0": "absent", "c1": "late"}
    result = FedMD(clients, public, availability=lambda t, name: behavior.get(name, "answers"), **QUICK).run()
    assert result.history[0].absent == ("c0",)
    assert result.history[0].late == ("c1",)
    assert not hasattr(result.clients[0].model, "n_features_in_")  # it was never reached
    assert hasattr(result.clients[1].model, "n_features_in_")  # it learned, and spoke too late
    trained = [softmax(c.model.predict_logits(public).astype(float), 3.0) for c in result.clients[2:]]
    np.testing.assert_allclose(result.consensus, np.mean(trained, axis=0), atol=1e-5)
    assert result.bytes_up == 3 * 5 * 100 * 3 * 4

    sampled = FedMD(clients, public, client_fraction=0.5, **QUICK).run()
    assert {len(p) for p in sampled.series("participants")} == {3}
    assert len(set(sampled.series("participants"))) > 1
    some = FedMD(clients, public, availability=0.5, **{**QUICK, "rounds": 8}).run()
    assert 0 < sum(len(a) for a in some.series("absent")) < 48


def test_fewer_than_a_quorum_is_an_error_that_keeps_the_rounds_before(blobs):
    clients, public, *_ = blobs
    federation = FedMD(
        clients, public, quorum=4, **QUICK,
        availability=lambda t, name: "absent" if t == 2 and name in ("c0", "c1", "c2") else "answers",
    )  # fmt: skip
    with pytest.raises(FederationError, match=r"round 2: 3 usable answers, quorum=4") as caught:
        federation.run()
    assert len(caught.value.result.history) == 2


def test_a_client_that_breaks_down_is_a_dropout(blobs):
    clients, public, *_ = blobs

    def broken(X):
        raise RuntimeError("out of memory")

    with pytest.warns(UserWarning, match="failed in every round .bad: RuntimeError: out of memory"):
        result = FedMD([*clients, Client("bad", broken, clients[0].X, None)], public, **QUICK).run()
    assert result.history[0].failed == {"bad": "RuntimeError: out of memory"}
    assert not result.history[0].rejected


def test_workers_do_not_change_the_result(blobs):
    clients, public, _, X_test, y_test = blobs
    options = {
        **QUICK, "eval_set": (X_test, y_test), "public_rows": 50, "attacks": {"c0": RandomNoise(), "c5": LabelFlip()},
        "aggregator": "trimmed_mean", "f": 2, "privacy": GaussianMechanism(50.0, clip=5.0), "server_model": student(3),
    }  # fmt: skip
    assert_same(FedMD(clients, public, workers=3, **options).run(), FedMD(clients, public, **options).run())


# -- checkpoints ------------------------------------------------------------------------------------------------------


class PowerCut(Exception):
    pass


def cut_after(number):
    def callback(record, result):
        if record.round == number:
            raise PowerCut

    return callback


VARIANTS = {
    "consensus only": {},
    "server": {"server_model": student(3), "public_rows": 40},
    "guarded, noisy": {"aggregator": ExpGuard(), "privacy": GaussianMechanism(80.0, clip=5.0), "space": "logit"},
    "clipping, attacked": {
        "aggregator": ("centered_clipping", {"radius": 1.0}), "client_fraction": 0.7, "attacks": {"c0": RandomNoise()},
    },
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_equals_one_that_was_not_interrupted(blobs, tmp_path, variant):
    clients, public, _, X_test, y_test = blobs
    options = {**QUICK, "rounds": 4, "eval_set": (X_test, y_test), **VARIANTS[variant]}
    path = tmp_path / "run.safetensors"
    whole = FedMD(clients, public, **options).run()
    with pytest.raises(PowerCut):
        FedMD(clients, public, checkpoint=path, checkpoint_every=2, callbacks=[cut_after(2)], **options).run()
    asked = []
    again = FedMD(clients, public, checkpoint=path, callbacks=[lambda r, _: asked.append(r.round)], **options).run()
    assert asked == [3]
    assert_same(again, whole)
    assert_same(FedMD(clients, public, checkpoint=path, **options).run(), whole)
    if "privacy" not in options:  # whose noise depends on the number of rounds
        more = FedMD(clients, public, **{**options, "rounds": 6}).run()
        assert_same(FedMD(clients, public, checkpoint=path, **{**options, "rounds": 6}).run(), more)


def test_a_model_that_only_predicts_is_known_again_though_it_lies_elsewhere_in_memory(blobs, tmp_path):
    clients, public, *_ = blobs
    path = tmp_path / "run.safetensors"
    rules = [lambda X: 3.0 * X[:, :3] for _ in range(2)]  # as another process would make it anew
    first, again = ([Client("rule", rule, clients[5].X, None), *clients[:2]] for rule in rules)
    result = FedMD(first, public, checkpoint=path, **QUICK).run()
    assert_same(FedMD(again, public, checkpoint=path, **QUICK).run(), result)


def test_a_checkpoint_of_another_federation_is_refused(blobs, tmp_path):
    clients, public, *_ = blobs
    path = tmp_path / "run.safetensors"
    FedMD(clients, public, checkpoint=path, **QUICK).run()
    with pytest.raises(ValueError, match="other space"):
        FedMD(clients, public, checkpoint=path, space="logit", **QUICK).run()
    with pytest.raises(ValueError, match="another random_state"):
        FedMD(clients, public, checkpoint=path, **{**QUICK, "random_state": 1}).run()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match="damaged"):
        FedMD(clients, public, checkpoint=path, **QUICK).run()
    with pytest.raises(TypeError, match="run without checkpoint"):
        FedMD([Client("f", LogisticRegression(), clients[0].X, clients[0].y)], public, checkpoint=path).run()


def test_callbacks_see_the_result_so_far_and_can_stop(blobs, capsys):
    clients, public, *_ = blobs
    seen = []

    def stop(record, result):
        seen.append((record.round, len(result.history)))
        return record.round == 1

    result = FedMD(clients, public, callbacks=[stop], verbose=True, **QUICK).run()
    assert seen == [(0, 1), (1, 2)]
    assert len(result.history) == 2
    assert "round 2/3  agreement" in capsys.readouterr().out


# -- what it is good for ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few_labels(digits):
    """Ten clients of ten architectures with two labels of each class, public rows without labels, test rows."""
    X, y, X_test, y_test = digits
    rng = np.random.default_rng(0)
    mine = [rng.permutation(800 + np.flatnonzero(y[800:1437] == c)) for c in range(10)]
    parts = [np.concatenate([rows[2 * k : 2 * k + 2] for rows in mine]) for k in range(10)]
    clients = [Client(f"c{k}", student(k, learning_rate=0.003, batch_size=10), X[p], y[p]) for k, p in enumerate(parts)]
    pooled = np.concatenate(parts)
    return clients, X[:800], (X_test, y_test), (X[pooled], y[pooled])


FEW = {"rounds": 5, "revisit_epochs": 3, "digest_epochs": 3, "initial_epochs": 40, "random_state": 0}


def test_few_labels_gain_fifteen_points(few_labels):
    clients, public, test, pooled = few_labels
    local = FedMD(clients, public, eval_set=test, **{**FEW, "digest_epochs": 0}).run().history[-1].accuracy
    together = FedMD(clients, public, eval_set=test, **FEW).run().history[-1].accuracy
    bound = student(2, learning_rate=0.003, epochs=60).fit(*pooled).score(*test)
    assert together - local >= 0.15
    assert together >= bound - 0.1  # what all labels in one place would give


def test_messages_are_frozen_and_tell_their_size():
    task = Assignment(0, "probability", 3.0, np.zeros(4, np.int32), np.zeros((4, 3), np.float32), None, 3.0)
    assert task.nbytes == 4 * 4 + 4 * 3 * 4
    answer = Predictions("a", 0, None, np.zeros((4, 3)), 10)
    with pytest.raises(FrozenInstanceError):
        answer.count = 5


def test_bad_arguments_are_named(blobs):
    clients, public, public_y, *_ = blobs
    for options, text in [
        ({"space": "gradients"}, "space must be one of"),
        ({"temperature": 0.0}, "temperature must be finite and > 0"),
        ({"kd_weight": 1.5}, "kd_weight"),
        ({"rounds": 0}, "rounds"),
        ({"quorum": 7}, "quorum=7 is more"),
        ({"public_rows": 101}, "public_rows=101"),
        ({"public_y": public_y[:5]}, "public_y must have shape"),
        ({"attacks": {"nobody": RandomNoise()}}, "nobody"),
        ({"eval_set": {"nobody": (public, public_y)}}, "nobody"),
        ({"aggregator": "best"}, "unknown rule 'best'"),
        ({"classes": [1]}, "at least two classes"),
        ({"dtype": "float16"}, "dtype must be"),
        ({"clip_logits": -1.0}, "clip_logits"),
    ]:
        with pytest.raises(ValueError, match=text):
            FedMD(clients, public, **options)
    with pytest.raises(ValueError, match="public_X is None"):
        FedMD(clients, None, public_y=public_y)
    with pytest.raises(ValueError, match="client 'x' has no model"):
        FedMD([Client("x", None, public, public_y)], public)
    with pytest.raises(TypeError, match="client 'x'"):
        FedMD([Client("x", 3, public, public_y)], public)
    with pytest.raises(TypeError, match="GaussianMechanism"):
        FedMD(clients, public, privacy=1.0)
