"""FedMD when something goes wrong on the way: what is kept, who is named, and what is refused beforehand."""

import numpy as np
import pandas as pd
import pytest

from fastkd.federated import Client, ExpGuard, FederationError, FedMD, GaussianMechanism
from fastkd.models import MLPClassifier

QUICK = {"rounds": 3, "revisit_epochs": 1, "digest_epochs": 1, "initial_epochs": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(200, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
PUBLIC, TEST = X[100:150], (X[150:], Y[150:])


def networks(n=3, **options):
    models = [MLPClassifier((4 + i,), random_state=i, **options) for i in range(n)]
    return [Client(f"c{i}", model, X[i * 12 :][:12], Y[i * 12 :][:12]) for i, model in enumerate(models)]


# -- a client that raises ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:these clients failed in every round")
@pytest.mark.parametrize("calls", [0, 3])
def test_a_client_that_raises_while_it_is_scored_has_no_accuracy(calls):
    seen = []

    def breaks(rows):
        seen.append(len(rows))
        if len(seen) > calls:
            raise RuntimeError("connection lost")
        return np.column_stack([-rows[:, 0], rows[:, 0]])

    result = FedMD([*networks(), Client("bad", breaks, X[:5], None)], PUBLIC, eval_set=TEST, **QUICK).run()
    assert set(result.history[-1].accuracies) == {"c0", "c1", "c2"}
    assert result.history[-1].failed == {"bad": "RuntimeError: connection lost"}


# -- what is not a client's fault -------------------------------------------------------------------------------------


class Breaks:
    """Does what `first` does, until the round in which it raises."""

    def __init__(self, first, after):
        self.first, self.left = first, after

    def __call__(self, *arguments):
        self.left -= 1
        if self.left < 0:
            raise KeyError("gone")
        return self.first(*arguments)


@pytest.mark.parametrize("what", ["aggregator", "attacks", "schedule", "availability"])
def test_other_errors_end_the_run_and_keep_the_rounds_before(what):
    options = {
        "aggregator": Breaks(lambda tables: tables.mean(axis=0), 2),
        "attacks": {"c2": Breaks(lambda honest, rng: honest[0], 2)},
        "schedule": Breaks(lambda t: 2.0, 2),
        "availability": Breaks(lambda t, name: "answers", 6),
    }[what]
    with pytest.raises(FederationError, match="round 2: KeyError: 'gone'") as caught:
        FedMD(networks(), PUBLIC, **{what: options}, **QUICK).run()
    assert len(caught.value.result.history) == 2
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_server_model_or_schedule_that_breaks_before_the_first_round():
    class Server(MLPClassifier):
        def partial_fit(self, *args, **more):
            raise MemoryError("no room")

    with pytest.raises(FederationError, match="round 0: MemoryError") as caught:
        FedMD(networks(), PUBLIC, public_y=Y[100:150], server_model=Server((3,)), **QUICK).run()
    assert caught.value.result.history == []
    with pytest.raises(FederationError, match="round 0: ZeroDivisionError"):
        FedMD(networks(), PUBLIC, schedule=lambda t: 1 / t, **QUICK).run()


def test_an_interrupt_stays_one():
    def stop(t):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FedMD(networks(), PUBLIC, schedule=stop, **QUICK).run()


def test_what_a_failed_round_cost_is_counted():
    whole = FedMD(networks(), PUBLIC, privacy=GaussianMechanism(10.0, clip=3.0), **QUICK).run()
    with pytest.raises(FederationError) as caught:
        FedMD(networks(), PUBLIC, privacy=GaussianMechanism(10.0, clip=3.0), quorum=3, **QUICK,
              availability=lambda t, name: "late" if (t, name) == (2, "c0") else "answers").run()  # fmt: skip
    result = caught.value.result
    assert {spent.answers for spent in result.privacy.values()} == {3}
    assert (result.bytes_up, result.bytes_down) == (whole.bytes_up, whole.bytes_down)


# -- schedules --------------------------------------------------------------------------------------------------------


def test_a_schedule_is_asked_once_for_each_round():
    asked = []

    def schedule(t):
        asked.append(t)
        return [3.0, 2.0, 1.0][t]

    result = FedMD(networks(), PUBLIC, schedule=schedule, server_model=MLPClassifier((4,)), public_y=Y[100:150],
                   **QUICK).run()  # fmt: skip
    assert asked == [0, 1, 2]
    assert result.series("temperature") == [3.0, 2.0, 1.0]
    again = FedMD(networks(), PUBLIC, schedule=[3.0, 2.0, 1.0].__getitem__, **QUICK).run()
    assert again.series("temperature") == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("temperature", [1e300, 1e-300])
def test_temperatures_beyond_all_sense_are_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be between 1e-06 and 1e\\+06"):
        FedMD(networks(), PUBLIC, temperature=temperature)
    with pytest.raises(FederationError, match="the temperature of round 0 must be between"):
        FedMD(networks(), PUBLIC, schedule=lambda t: temperature, **QUICK).run()


def test_a_restart_without_a_server_learns_from_all_rows_agreed_on():
    class Step:
        temperature = 1.0

        def __init__(self, restart):
            self.restart = restart

    seen = []

    class Spy(MLPClassifier):
        def partial_fit(self, rows, y=None, **more):
            if "soft_labels" in more:
                seen.append(len(rows))
            return super().partial_fit(rows, y, **more)

    FedMD([*networks(), Client("spy", Spy((3,)), X[40:50], Y[40:50])], PUBLIC, public_rows=20,
          schedule=lambda t: Step(t == 2), **QUICK).run()  # fmt: skip
    assert seen[0] == 20
    assert min(seen[1:]) > 20


# -- rows without a label ---------------------------------------------------------------------------------------------


def test_public_rows_and_test_rows_may_lack_labels():
    some = np.where(np.arange(50) < 30, Y[100:150], -1)
    result = FedMD(networks(), PUBLIC, public_y=some, eval_set=TEST, **QUICK).run()
    assert not result.history[0].failed
    best = result.consensus[:30].argmax(axis=1)
    assert result.history[-1].consensus_accuracy == pytest.approx((best == some[:30]).mean())
    half = np.where(np.arange(50) < 25, TEST[1], -1)
    masked = FedMD(networks(), PUBLIC, public_y=some, eval_set=(TEST[0], half), **QUICK).run()
    model = result.clients[0].model
    assert masked.history[-1].accuracies["c0"] == model.score(TEST[0][:25], TEST[1][:25])


def test_minus_one_is_a_label_where_it_is_a_class():
    clients = [Client(c.name, c.model, c.X, 2 * c.y - 1) for c in networks()]
    signs = 2 * Y[150:] - 1
    result = FedMD(
        clients, PUBLIC, classes=[-1, 1], public_y=2 * Y[100:150] - 1, eval_set=(X[150:], signs), **QUICK
    ).run()
    assert result.history[-1].accuracies["c0"] == result.clients[0].model.score(X[150:], signs)


# -- refused beforehand -----------------------------------------------------------------------------------------------


def test_labels_and_rows_that_do_not_fit_are_named():
    a = networks(1)[0]

    def client(y):
        return [*networks(2), Client("odd", a.model, a.X, y)]

    for clients, options, text in [
        (client(a.y[:, None]), {}, r"client 'odd' must have shape \(n,\).* got \(12, 1\)"),
        (client(np.array(["a", "b"])[a.y]), {}, "text everywhere or nowhere; those of client 'c0' and client 'odd'"),
        (client(np.array([*a.y[:-1].tolist(), "a"], object)), {}, "client 'odd' mix text and numbers"),
        (client(np.where(a.y, np.nan, 1.0)), {}, "client 'odd' hold NaN"),
        (networks(), {"eval_set": (X[:9], Y[:8])}, r"eval_set needs as many labels as rows"),
        (networks(), {"eval_set": {"c0": (X[:9, :2], Y[:9])}}, r"eval_set of 'c0' has rows of shape \(2,\)"),
        (networks(), {"public_y": 5 * Y[100:150], "classes": [0, 1]}, r"public_y has labels \[5\]"),
    ]:
        with pytest.raises(ValueError, match=text):
            FedMD(clients, PUBLIC, **options)


def test_columns_in_another_order_are_refused():
    def frame(rows, names="abcd"):
        return pd.DataFrame(rows, columns=list(names))

    clients = [Client(c.name, c.model, frame(c.X), c.y) for c in networks()]
    FedMD(clients, frame(PUBLIC), eval_set=(frame(TEST[0]), TEST[1]))
    with pytest.raises(ValueError, match=r"the columns of public_X are .*'d', 'c', 'b', 'a'.* those of client 'c0'"):
        FedMD(clients, frame(PUBLIC, "dcba"))
    with pytest.raises(ValueError, match="the columns of eval_set"):
        FedMD(clients, frame(PUBLIC), eval_set=(frame(TEST[0], "abce"), TEST[1]))
    odd = [*clients[:2], Client("odd", clients[0].model, frame(X[:9], "bacd"), Y[:9])]
    with pytest.raises(ValueError, match="the columns of client 'odd'"):
        FedMD(odd, PUBLIC)


# -- the guard --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_a_rounding_error_costs_no_trust_where_most_say_the_same(scale):
    tables = scale * np.tile([[0.3, 0.7]], (5, 1))
    tables[4] *= 1 + 1e-12
    _, weights, scores = ExpGuard()(tables, list("abcde"), {})
    np.testing.assert_allclose(weights, 0.2)
    assert set(scores.values()) == {0.0}
    tables[4] *= 1.01
    assert ExpGuard()(tables, list("abcde"), {})[1][4] < 1e-3


def test_a_huge_value_is_no_overflow():
    tables = np.random.default_rng(0).normal(size=(5, 4, 3))
    tables[4] = 1.7e308
    with np.errstate(over="raise"):
        _, weights, _ = ExpGuard()(tables, list("abcde"), {})
    assert weights[4] < 1e-4
