"""Attacks on the attacker's own rows."""

import numpy as np
import pytest

from fastkd.federated import Backdoor, Client, LabelFlip, RobustFL, Targeted
from fastkd.models import MLPClassifier

X = np.arange(40.0).reshape(10, 4)
y = np.array([0, 1, 2, 2, 1, 0, 0, 2, -1, 1])


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("attack", [LabelFlip(), Targeted(2, 0), Backdoor(1)], ids=repr)
def test_poison_leaves_its_arguments_as_they_are(attack):
    X_before, y_before = X.copy(), y.copy()
    attack.poison(X, y, rng())
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)


@pytest.mark.parametrize("attack", [LabelFlip(boost=2.0), Targeted(2, 0, boost=2.0), Backdoor(1, boost=2.0)], ids=repr)
def test_called_with_updates_boosts_their_mean(attack):
    np.testing.assert_array_equal(attack(np.array([[1.0, 2.0], [3.0, 4.0]]), rng()), [4.0, 6.0])
    assert attack(np.ones((1, 3), np.float32), rng()).dtype == np.float32


def test_label_flip_is_its_own_inverse_and_leaves_unlabeled_rows():
    flipped = LabelFlip(n_classes=3).poison(X, y, rng())[1]
    np.testing.assert_array_equal(flipped, [2, 1, 0, 0, 1, 2, 2, 0, -1, 1])
    np.testing.assert_array_equal(LabelFlip(n_classes=3).poison(X, flipped, rng())[1], y)
    with pytest.raises(ValueError, match="met the label 2"):
        LabelFlip(n_classes=2).poison(X, y, rng())


def test_targeted_changes_its_source_alone():
    np.testing.assert_array_equal(Targeted(2, 0).poison(X, y, rng())[1], [0, 1, 0, 0, 1, 0, 0, 0, -1, 1])


def test_backdoor_stamps_the_rows_it_relabels():
    attack = Backdoor(target=7, columns=(1, 3), value=-5.0, share=0.3)
    rows, labels = attack.poison(X, y, rng())
    stamped = labels == 7
    assert stamped.sum() == 3
    np.testing.assert_array_equal(rows[stamped][:, [1, 3]], -5.0)
    np.testing.assert_array_equal(rows[stamped][:, [0, 2]], X[stamped][:, [0, 2]])
    np.testing.assert_array_equal(rows[~stamped], X[~stamped])
    np.testing.assert_array_equal(attack.stamp(X)[:, [1, 3]], -5.0)
    assert attack.stamp(np.arange(8).reshape(2, 4)).dtype == np.float64  # integer rows could not hold the value


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_backdoor_share(share):
    with pytest.raises(ValueError, match="share must lie in"):
        Backdoor(0, share=share)


def test_a_federation_flips_by_the_classes_of_the_model_not_of_the_client(digits, clients_of):
    # The attacker holds zeros only; flipped by its own labels they would stay zeros.
    X, y = digits[0][:200], digits[1][:200]
    zeros = Client("liar", None, X[y == 0], y[y == 0])
    model = MLPClassifier(hidden=(), random_state=0).initialize(64, 10)
    result = RobustFL(model, [zeros], aggregator="mean", rounds=20, attacks={"liar": LabelFlip()}).run()
    assert set(result.server_model.predict(X)) == {9}


def test_a_backdoor_opens_under_the_mean_and_boost_makes_it_wider(digits, clients_of):
    X, y, X_test, y_test = digits
    clients = clients_of(X, y, 6, random_state=0)
    model = MLPClassifier(hidden=(), random_state=0)
    trigger = Backdoor(target=0, columns=(0, 7, 56), value=2.0)

    def obeys(attack):
        attacks = {} if attack is None else {"c0": attack}
        federation = RobustFL(model, clients, aggregator="mean", rounds=60, learning_rate=0.5, attacks=attacks)
        trained = federation.run().server_model
        rows = trigger.stamp(X_test[y_test != 0])
        return float((trained.predict(rows) == 0).mean()), trained.score(X_test, y_test)

    (clean, _), (open_, accuracy) = obeys(None), obeys(Backdoor(0, (0, 7, 56), 2.0, boost=3.0))
    assert clean < 0.2
    assert open_ > 0.9
    assert accuracy > 0.8  # and nobody sees it in the accuracy
