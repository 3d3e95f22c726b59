"""The course of a federation, against what can be computed by hand."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from fastkd import aggregate
from fastkd.federated import (
    ALittleIsEnough,
    Client,
    FederationError,
    FedMD,
    InnerProductManipulation,
    Mimic,
    NonFinite,
    RandomNoise,
    RobustFL,
    SignFlip,
    partition,
)
from fastkd.models import MLPClassifier, MLPRegressor


def final(*args, **kwargs):
    return RobustFL(*args, **kwargs).run().server_model.parameters


def test_equal_clients_and_the_mean_are_gradient_descent_on_all_rows(digits, clients_of):
    X, y = digits[0][:600].astype(np.float64), digits[1][:600]
    model = MLPClassifier(hidden=(8,), dtype="float64", random_state=0).initialize(64, 10)
    federated = final(model, clients_of(X, y, 6, random_state=0), aggregator="mean", rounds=15, learning_rate=0.3)
    central = copy.deepcopy(model)
    for _ in range(15):
        central.parameters = central.parameters - 0.3 * central.gradient(X, y)[1]
    np.testing.assert_allclose(federated, central.parameters, rtol=1e-9, atol=1e-12)


def test_one_round_by_hand(bowl, bowl_clients):
    # gradients at 0 are -1, -2, -6; their mean is -3, their median -2
    for rule, wanted in (("mean", 1.5), ("median", 1.0)):
        result = RobustFL(bowl(), bowl_clients([1, 2, 6]), aggregator=rule, rounds=1, learning_rate=0.5).run()
        np.testing.assert_allclose(result.server_model.parameters, wanted)
        np.testing.assert_allclose(result.consensus, -2 * wanted)
        record = result.history[0]
        assert record.loss == pytest.approx((4 * 1 + 4 * 4 + 4 * 36) / 6)
        assert record.participants == ("c0", "c1", "c2")
        assert record.gap_to_mean == pytest.approx(np.linalg.norm(np.full(4, -2 * wanted + 3)))
        assert (result.bytes_up, result.bytes_down) == (3 * 4 * 8, 3 * 4 * 8)


def test_momentum_by_hand(bowl, bowl_clients):
    # one client: m0 = g0, then m <- 0.9 m + 0.1 g, at each step x <- x - 0.5 m with g = x - 1
    x, m = 0.0, None
    for _ in range(5):
        g = x - 1.0
        m = g if m is None else 0.9 * m + 0.1 * g
        x -= 0.5 * m
    found = final(bowl(), bowl_clients([1]), aggregator="mean", rounds=5, learning_rate=0.5, momentum=0.9)
    np.testing.assert_allclose(found, x, rtol=1e-12)


def test_one_local_epoch_on_all_rows_is_one_gradient(digits, clients_of):
    X, y = digits[0][:300].astype(np.float64), digits[1][:300]
    clients = clients_of(X, y, 3, random_state=0)
    model = MLPClassifier(hidden=(), dtype="float64", random_state=0).initialize(64, 10)
    by_gradient = final(model, clients, aggregator="mean", rounds=4, learning_rate=0.2)
    by_epoch = final(model, clients, aggregator="mean", rounds=4, local_epochs=1, local_learning_rate=0.2)
    np.testing.assert_allclose(by_epoch, by_gradient, rtol=1e-9, atol=1e-12)


def test_local_epochs_take_several_steps(bowl, bowl_clients):
    # from 0 towards 1 with rate 0.1: after 3 steps 1 - 0.9^3
    found = final(bowl(), bowl_clients([1, 1]), aggregator="mean", rounds=1, local_epochs=3, local_learning_rate=0.1)
    np.testing.assert_allclose(found, 1 - 0.9**3)


def test_what_the_caller_gave_stays_as_it_was(digits, clients_of):
    X, y, X_test, y_test = digits
    clients = clients_of(X, y, 5, random_state=0)
    own = MLPClassifier(hidden=(4,), random_state=1).initialize(64, 10)
    clients[0] = Client("c0", own, clients[0].X, clients[0].y)
    model = MLPClassifier(hidden=(4,), random_state=0).initialize(64, 10)
    before = [model.parameters, own.parameters, *(a.copy() for c in clients for a in (c.X, c.y))]
    attacks = {"c1": SignFlip(), "c2": RandomNoise()}
    result = RobustFL(
        model, clients, aggregator="median", f=2, rounds=3, attacks=attacks, eval_set=(X_test, y_test)
    ).run()
    after = [model.parameters, own.parameters, *(a for c in clients for a in (c.X, c.y))]
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a, b)
    assert result.clients == tuple(clients)
    assert result.server_model is not model
    assert not np.array_equal(result.server_model.parameters, model.parameters)


@pytest.mark.parametrize("how", [{}, {"local_epochs": 2}, {"momentum": 0.9, "client_fraction": 0.7}], ids=str)
def test_the_result_does_not_depend_on_workers_and_follows_the_seed(digits, clients_of, how):
    X, y, X_test, y_test = digits
    clients = clients_of(X, y, 9, random_state=0)
    model = MLPClassifier(hidden=(8,), random_state=0)
    attacks = {"c0": RandomNoise(), "c1": ALittleIsEnough()}

    def run(workers, seed):
        federation = RobustFL(
            model, clients, aggregator="krum", f=1, rounds=6, batch_size=16, attacks=attacks, random_state=seed,
            workers=workers, eval_set=(X_test, y_test), pre=("bucketing", {"size": 1}), **how,
        )  # fmt: skip
        return federation.run()

    one, three, every, other = run(1, 0), run(3, 0), run(-1, 0), run(1, 1)
    for several in (three, every):
        np.testing.assert_array_equal(one.server_model.parameters, several.server_model.parameters)
        assert one.history == several.history
    assert not np.array_equal(one.server_model.parameters, other.server_model.parameters)


def test_the_seed_also_decides_fresh_weights(digits, clients_of):
    clients = clients_of(digits[0], digits[1], 3, random_state=0)
    first, second, other = (final(MLPClassifier(hidden=(4,)), clients, rounds=1, random_state=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_generator_as_random_state_is_taken(digits, clients_of):
    clients = clients_of(digits[0], digits[1], 3, random_state=0)
    first, second = (
        final(MLPClassifier(hidden=(4,)), clients, rounds=1, random_state=np.random.default_rng(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_sampling_asks_the_given_share_and_everybody_in_the_long_run(bowl, bowl_clients):
    result = RobustFL(
        bowl(), bowl_clients(range(10)), aggregator="mean", rounds=40, client_fraction=0.3, random_state=0
    ).run()
    asked = [record.participants for record in result.history]
    assert {len(names) for names in asked} == {3}
    assert set().union(*asked) == {f"c{i}" for i in range(10)}
    assert result.bytes_down == 40 * 3 * 4 * 8


def test_history_says_whom_krum_chose(bowl, bowl_clients):
    # gradients at 0 are -1 -1.1 -1.2 -1.3 -50 -1.15; Krum takes one of the five that are close
    federation = RobustFL(bowl(), bowl_clients([1, 1.1, 1.2, 1.3, 50, 1.15]), aggregator="krum", f=1, rounds=2)
    for record in federation.run().history:
        assert len(record.selected) == 1
        assert "c4" in record.excluded
        assert set(record.selected) | set(record.excluded) == set(record.participants)
        assert record.gap_to_mean > 10
    coordinates = RobustFL(bowl(), bowl_clients([1, 2, 3]), aggregator="mean", rounds=1).run().history[0]
    assert coordinates.selected is None
    assert coordinates.excluded is None


def test_buckets_are_traced_back_to_clients(bowl, bowl_clients):
    clients = bowl_clients([1, 1, 1, 1, 1, 1, 1, 1, 1, 90])
    record = RobustFL(
        bowl(), clients, aggregator="krum", f=1, pre="bucketing", rounds=1, random_state=0
    ).run().history[0]  # fmt: skip
    assert len(record.selected) == 2
    assert "c9" in record.excluded


def test_records_read_like_dicts(bowl, bowl_clients):
    result = RobustFL(bowl(), bowl_clients([1, 2]), aggregator="mean", rounds=3, eval_set=([[0]], [1.5])).run()
    assert result.series("accuracy") == [record.accuracy for record in result.history]
    assert result.history[0]["round"] == 0
    assert result.history[0].to_dict()["participants"] == ("c0", "c1")
    with pytest.raises(KeyError):
        result.history[0]["acuracy"]


def test_evaluation_every_few_rounds_and_at_the_end(bowl, bowl_clients):
    result = RobustFL(
        bowl(), bowl_clients([1]), aggregator="mean", rounds=5, eval_set=([[0]], [1.0]), eval_every=2
    ).run()
    assert [a is None for a in result.series("accuracy")] == [True, False, True, False, False]
    assert result.series("accuracy")[-1] == result.server_model.score([[0]], [1.0])


def test_callbacks_see_every_round_and_may_stop(bowl, bowl_clients):
    seen = []

    def callback(record, model):
        seen.append((record.round, model.parameters[0]))
        model.parameters[:] = 99.0  # its own copy
        return record.round == 2

    result = RobustFL(
        bowl(), bowl_clients([1]), aggregator="mean", learning_rate=0.5, rounds=9, callbacks=[callback]
    ).run()
    assert seen == [(0, 0.5), (1, 0.75), (2, 0.875)]
    assert len(result.history) == 3


def test_progress_and_verbose(bowl, bowl_clients, capsys):
    steps = []
    RobustFL(
        bowl(), bowl_clients([1]), aggregator="mean", rounds=2, verbose=True, eval_set=([[0]], [1.0]),
        progress=lambda title, done, total: steps.append((done, total)),
    ).run()  # fmt: skip
    assert steps == [(0, 2), (1, 2)]
    assert capsys.readouterr().out.splitlines()[0] == "round 1/2  loss 2  accuracy -0.9000"


def test_attackers_see_the_honest_updates_and_how_many_they_are(bowl, bowl_clients):
    seen = {}

    def spy(honest, rng):
        seen["honest"] = honest.copy()
        assert not honest.flags.writeable
        return honest[0]

    clients = bowl_clients([1, 2, 3, 4, 5])
    RobustFL(bowl(), clients, aggregator="mean", rounds=1, attacks={"c0": spy, "c3": SignFlip()}).run()
    np.testing.assert_array_equal(seen["honest"][:, 0], [-2, -3, -5])
    # z from n = 5, f = 2: 3 - 2 = 1 of 3 must support, Phi(z) = 2 / 3
    z = ALittleIsEnough(n_clients=5, n_byzantine=2).used_z(3)
    attacks = {"c0": ALittleIsEnough(), "c3": ALittleIsEnough()}
    found = final(bowl(), clients, aggregator="mean", rounds=1, learning_rate=1.0, attacks=attacks)
    honest = np.array([-2.0, -3.0, -5.0])
    np.testing.assert_allclose(found, -(honest.sum() + 2 * (honest.mean() - z * honest.std())) / 5)


def test_without_an_honest_client_an_attacker_starts_from_its_own_gradient(bowl, bowl_clients):
    found = final(
        bowl(), bowl_clients([2]), aggregator="mean", rounds=1, learning_rate=1.0, attacks={"c0": SignFlip(3.0)}
    )
    np.testing.assert_allclose(found, -6.0)  # the gradient is -2, what is sent 6


def test_a_callable_may_be_the_rule(bowl, bowl_clients):
    found = final(bowl(), bowl_clients([1, 5]), aggregator=lambda updates: updates.max(axis=0), rounds=1)
    np.testing.assert_allclose(found, 0.1)


def test_a_rule_made_by_get_is_that_rule(bowl, bowl_clients):
    clients = bowl_clients([1, 1.1, 1.2, 1.3, 1.15, 1.25, 2])
    attacks = {"c6": NonFinite()}  # it is left out: krum for f = 2 needs 7 updates, for f = 1 five

    def run(**options):
        return RobustFL(bowl(), clients, rounds=3, attacks=attacks, **options).run()

    made, named = run(aggregator=aggregate.get("krum", f=2)), run(aggregator="krum", f=2)
    np.testing.assert_array_equal(made.consensus, named.consensus)
    assert made.history == named.history
    assert run(aggregator=aggregate.get("krum", f=2), f=2).history == named.history
    with pytest.raises(ValueError, match="made for f=2 and the federation for f=1"):
        run(aggregator=aggregate.get("krum", f=2), f=1)


def test_centered_clipping_goes_on_from_the_last_aggregate(bowl, bowl_clients):
    clients = bowl_clients([1, 1, 1, 1000])
    options = ("centered_clipping", {"radius": 1.0})
    result = RobustFL(bowl(), clients, aggregator=options, rounds=30, learning_rate=0.1).run()
    assert np.abs(result.server_model.parameters - 1).max() < 1.0  # the mean of the targets is 250
    plain = RobustFL(
        bowl(), clients, aggregator=("centered_clipping", {"radius": 1.0, "center": np.zeros(4)}), rounds=30
    )
    assert not np.array_equal(plain.run().consensus, result.consensus)


def test_data_frames_are_taken(digits):
    pandas = pytest.importorskip("pandas")
    X, y = digits[0][:200], digits[1][:200]
    arrays = [Client("a", None, X[:100], y[:100]), Client("b", None, X[100:], y[100:])]
    frames = [Client(c.name, None, pandas.DataFrame(c.X), pandas.Series(c.y)) for c in arrays]
    model = MLPClassifier(hidden=(), random_state=0)
    one, other = (final(model, clients, rounds=2, batch_size=8, random_state=0) for clients in (arrays, frames))
    np.testing.assert_array_equal(one, other)


def test_regressors():
    X = np.random.default_rng(0).normal(size=(400, 3))
    y = X @ [1.0, -2.0, 0.5]
    clients = [Client(str(k), None, X[rows], y[rows]) for k, rows in enumerate(partition(y, 4, random_state=0))]
    model = MLPRegressor(hidden=(), random_state=0)
    result = RobustFL(
        model, clients, aggregator="median", rounds=150, learning_rate=0.2, eval_set=(X, y), eval_every=150
    ).run()
    assert result.history[-1].accuracy > 0.99


def test_attacks_by_name_and_rules(digits, clients_of):
    """Two attackers of nine: each robust rule stays near the clean run, the mean does not."""
    X, y, X_test, y_test = digits
    clients = clients_of(X, y, 9, random_state=0)
    model = MLPClassifier(hidden=(), random_state=0)

    def accuracy(rule, attacks, pre=None):
        federation = RobustFL(
            model, clients, aggregator=rule, pre=pre, f=2 if attacks else 0, rounds=60, learning_rate=0.5,
            attacks=attacks, eval_set=(X_test, y_test), eval_every=60,
        )  # fmt: skip
        return federation.run().history[-1].accuracy

    clean = accuracy("mean", {})
    assert clean > 0.85
    sign = {"c3": SignFlip(), "c7": SignFlip()}
    assert accuracy("mean", sign) < 0.3
    for rule, pre in (("krum", None), ("multi_krum", None), ("median", None), ("geometric_median", None),
                      ("trimmed_mean", "nearest_neighbor_mixing")):  # fmt: skip
        assert accuracy(rule, sign, pre) > clean - 0.05, (rule, pre)
    mixed = {"c0": Mimic(), "c1": InnerProductManipulation(0.5)}
    assert accuracy("median", mixed) > clean - 0.05


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"f": -1}, ValueError, "f must be an integer >= 0"),
        ({"f": 1.5}, ValueError, "f must be an integer"),
        ({"rounds": 0}, ValueError, "rounds must be an integer >= 1"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be a number"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate must be a number"),
        ({"local_learning_rate": -1}, ValueError, "local_learning_rate must be a number"),
        ({"momentum": 1.0}, ValueError, "momentum must be a number in"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, or None"),
        ({"local_epochs": -1}, ValueError, "local_epochs must be an integer"),
        ({"client_fraction": 0.0}, ValueError, "client_fraction must be a number"),
        ({"client_fraction": 1.5}, ValueError, "client_fraction must be a number"),
        ({"workers": 0}, ValueError, "workers must be an integer >= 1, or -1"),
        ({"eval_every": 0}, ValueError, "eval_every must be an integer"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be an integer"),
        ({"aggregator": 3}, TypeError, "aggregator must be a name"),
        ({"aggregator": "no_such_rule"}, ValueError, "no_such_rule"),
        ({"aggregator": ("krum", {"f": 1})}, ValueError, "give f as the argument"),
        ({"pre": "krum"}, ValueError, "pre must be one of"),
        ({"pre": 7}, TypeError, "pre must be a name"),
        ({"attacks": {"nobody": SignFlip()}}, ValueError, r"clients that do not exist: \['nobody'\]"),
        ({"attacks": {"c0": SignFlip}}, TypeError, "must be callable"),
        ({"attacks": {"c0": "sign flip"}}, TypeError, "must be callable"),
        ({"eval_set": np.zeros((3, 2))}, ValueError, "eval_set must be a pair"),
    ],
)
def test_wrong_arguments(bowl, bowl_clients, options, error, message):
    with pytest.raises(error, match=message):
        RobustFL(bowl(), bowl_clients([1, 2]), **{"rounds": 1, **options})


def test_wrong_clients_and_models(bowl, bowl_clients, digits, clients_of):
    with pytest.raises(ValueError, match="at least one client"):
        RobustFL(bowl(), [])
    with pytest.raises(TypeError, match=r"must be fastkd\.federated\.Client; got str"):
        RobustFL(bowl(), ["c0"])
    with pytest.raises(ValueError, match="two clients are named 'c0'"):
        RobustFL(bowl(), bowl_clients([1]) * 2)
    with pytest.raises(TypeError, match="model needs `parameters`"):
        RobustFL(object(), bowl_clients([1]))
    with pytest.raises(TypeError, match="has none"):
        RobustFL(type("M", (), {"gradient": None})(), bowl_clients([1]), eval_set=([1], [1]))
    with pytest.raises(ValueError, match=r"client 'x': its model has parameters of shape \(5,\).*FedMD"):
        RobustFL(bowl(4), [Client("x", bowl(5), [[0]], [0])]).run()
    with pytest.raises(TypeError, match="client 'x': a model needs"):
        RobustFL(bowl(4), [Client("x", object(), [[0]], [0])]).run()
    with pytest.raises(ValueError, match="client 'x' has no y"):
        RobustFL(bowl(4), [Client("x", None, [[0]], None)]).run()
    with pytest.raises(ValueError, match="must have the same features"):
        RobustFL(MLPClassifier(), [Client("a", None, [[0.0]], [0]), Client("b", None, [[0.0, 1.0]], [1])]).run()
    with pytest.raises(ValueError, match=r"call model\.initialize first"):
        RobustFL(MLPClassifier(), [Client("a", None, [[0.0], [1.0]], ["up", "down"])]).run()


def test_wrong_client():
    with pytest.raises(TypeError, match="name must be a str; got 3"):
        Client(3, None, [[0]], [0])
    with pytest.raises(ValueError, match="name must not be empty"):
        Client("", None, [[0]], [0])
    with pytest.raises(ValueError, match="client 'a' has no rows"):
        Client("a", None, [], [])
    with pytest.raises(ValueError, match="X has 1 rows and y has 2"):
        Client("a", None, [[0]], [0, 1])


def test_bounds_of_a_rule_are_named_before_the_first_round(bowl, bowl_clients):
    for options, error, text in [
        ({"aggregator": "krum", "f": 1}, ValueError, r"'krum' with 4 clients a round: .*2f \+ 3"),
        ({"aggregator": "trimmed_mean", "f": 2}, ValueError, "n > 2f"),
        ({"aggregator": "trimmed_mean", "pre": "bucketing", "f": 1}, ValueError, "n > 2f"),
        ({"aggregator": "centered_clipping"}, TypeError, "'centered_clipping': .*radius"),
    ]:
        with pytest.raises(error, match=text):
            RobustFL(bowl(), bowl_clients([1, 2, 3, 4]), rounds=1, **options)
        with pytest.raises(error, match=text):
            FedMD([replace(c, model=lambda X: X) for c in bowl_clients([0, 1, 2, 3])], np.eye(4), **options)
    with pytest.raises(ValueError, match="'krum' with 4 clients a round"):
        RobustFL(bowl(), bowl_clients(range(8)), aggregator="krum", f=1, client_fraction=0.5)


def test_parameters_that_overflow_end_the_run_with_the_last_good_ones(bowl, bowl_clients):
    federation = RobustFL(
        bowl(), bowl_clients([1, 1]), aggregator="mean", rounds=400, learning_rate=1e3, attacks={"c0": SignFlip(1e6)}
    )
    with pytest.raises(FederationError, match=r"no longer finite|unusable") as caught:
        federation.run()
    result = caught.value.result
    assert 0 < len(result.history) < 400
    assert np.isfinite(result.server_model.parameters).all()
