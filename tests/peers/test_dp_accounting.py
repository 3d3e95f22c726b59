"""The account of privacy against Google's differential privacy library."""

import pytest

from fastkd.federated.privacy import gaussian_delta, gaussian_epsilon, zcdp_epsilon

accounting = pytest.importorskip("dp_accounting")
rdp = pytest.importorskip("dp_accounting.rdp")

pytestmark = pytest.mark.peers
CASES = [(1.0, 1, 1e-5), (2.0, 10, 1e-5), (5.0, 100, 1e-6), (0.7, 3, 1e-4), (30.0, 50, 1e-5)]


@pytest.mark.parametrize(("noise", "answers", "delta"), CASES)
def test_epsilon_by_renyi_orders(noise, answers, delta):
    """Theirs takes the best of some fixed orders, ours the best of all."""
    account = rdp.RdpAccountant()
    account.compose(accounting.GaussianDpEvent(noise), answers)
    theirs = account.get_epsilon(delta)
    ours = zcdp_epsilon(answers / (2 * noise**2), delta)
    assert ours <= theirs * (1 + 1e-9)
    assert ours == pytest.approx(theirs, rel=0.02)


@pytest.mark.parametrize(("noise", "answers", "delta"), CASES)
def test_the_exact_values(noise, answers, delta):
    sigma = noise / answers**0.5
    epsilon = accounting.get_epsilon_gaussian(sigma, delta)
    assert gaussian_epsilon(noise, answers, delta) == pytest.approx(epsilon, rel=1e-6)
    assert gaussian_delta(noise, answers, epsilon) == pytest.approx(delta, rel=1e-5)
