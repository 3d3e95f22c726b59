"""What is sent, counted beforehand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.federated import communication_cost

SIZES = st.integers(1, 10_000)


def test_the_numbers_of_the_chapter():
    cost = communication_cost(10, 100, 50_000, 200, 3)
    assert (cost.fedavg_up, cost.fedmd_up) == (200_000_000, 4_800_000)
    assert cost.uplink_savings == pytest.approx(0.976)
    assert cost.fedavg == 400_000_000
    assert cost.fedmd == 4_800_000 + 99 * 10 * 200 * 3 * 8
    assert cost.cheaper == "FedMD"


def test_a_student_of_500_parameters_is_cheaper_to_send_itself():
    cost = communication_cost(10, 100, 500, 200, 3, itemsize=4)
    assert cost.fedmd_up > cost.fedavg_up
    assert cost.cheaper == "FedAvg"
    assert cost.savings < 0
    assert 500 < cost.break_even <= 600
    assert "sends more by" in str(cost)


def test_the_public_set_counts():
    free, sent = (communication_cost(10, 20, 1000, 100, 3, 4, n_features=n) for n in (0, 50))
    assert sent.fedmd - free.fedmd == 10 * 100 * 50 * 4
    assert (free.cheaper, sent.cheaper) == ("FedMD", "FedMD")
    assert communication_cost(10, 2, 1000, 100, 3, 4, n_features=50).cheaper == "FedAvg"


@given(SIZES, st.integers(1, 500), SIZES, SIZES, st.integers(2, 20), st.booleans(), st.integers(0, 100))
def test_break_even_is_where_the_cheaper_one_changes(clients, rounds, parameters, rows, classes, ids, features):
    def at(n):
        return communication_cost(clients, rounds, n, rows, classes, n_features=features, row_ids=ids)

    edge = at(parameters).break_even
    assert at(edge).cheaper == "FedMD"
    assert edge == 1 or at(edge - 1).cheaper == "FedAvg"


def test_bad_arguments():
    one = (1, 1, 1, 1, 2)
    for args, text in [((0, 1, 1, 1, 2), "n_clients"), ((*one, 0), "itemsize"), ((*one, (4,)), "pair")]:
        with pytest.raises(ValueError, match=text):
            communication_cost(*args)
