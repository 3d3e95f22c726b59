r"""Differential privacy of what clients say: clipped predictions plus Gaussian noise, and an account over the rounds.

One answer is a table p of predictions. The client shrinks it towards "knows nothing" until it lies within `clip` of
that (Euclidean), and adds N(0, sigma^2) to every entry. Whatever changes in its data - one row or all of them - the
table moves by at most 2 clip, so with sigma = noise_multiplier * 2 clip an answer is rho-zCDP with

.. math:: \rho = \frac{1}{2\, noise\_multiplier^2}

(Bun and Steinke 2016, Prop. 1.6), and k answers together k rho. Subsampling is not counted as a gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastkd._check import as_float, as_positive
from fastkd.models._hyperparameters import integer

__all__ = ["GaussianMechanism", "PrivacySpent", "gaussian_delta", "gaussian_epsilon", "zcdp_epsilon"]


@dataclass(frozen=True)
class PrivacySpent:
    """What a client's answers have cost: it is (epsilon, delta)-differentially private, and rho-zCDP."""

    epsilon: float
    delta: float
    rho: float
    answers: int


@dataclass(frozen=True)
class GaussianMechanism:
    """Noise on predictions, for `FedMD(privacy=)`.

    Attributes
    ----------
    epsilon, delta : float
        The budget of each client over the whole run; epsilon at most 1e9, delta in (0, 1), well below
        1 / (rows of a client).
    clip : float
        Euclidean bound on a table of predictions less the uniform one (in logit space: less 0). In probability space
        a table of m rows is never longer than sqrt(m). From 1e-12 to 1e12.
    noise_multiplier : float or None
        Standard deviation of the noise over the sensitivity 2 clip. None takes the least that lets a client answer in
        all rounds. With a given one, from 1e-12 to 1e12, a client falls silent before the answer that would exceed its
        budget.

    Raises
    ------
    ValueError
        For values outside their domain.

    Examples
    --------
    >>> mechanism = GaussianMechanism(epsilon=8.0, delta=1e-5).calibrated(rounds=10)
    >>> round(mechanism.noise_multiplier, 2), mechanism.spent(10).epsilon <= 8.0
    (2.02, True)
    """

    epsilon: float
    delta: float = 1e-5
    clip: float = 1.0
    noise_multiplier: float | None = None

    def __post_init__(self) -> None:
        if as_positive(self.epsilon, "epsilon") > 1e9:
            raise ValueError(f"epsilon must be at most 1e9, far beyond any protection; got {self.epsilon!r}")
        _between("clip", self.clip, 1e-12, 1e12)
        if not 0.0 < as_float(self.delta, "delta") < 1.0:
            raise ValueError(f"delta must lie between 0 and 1; got {self.delta!r}")
        if self.noise_multiplier is not None:
            _between("noise_multiplier", self.noise_multiplier, 1e-12, 1e12)

    @property
    def rho(self) -> float:
        """zCDP cost of one answer."""
        if self.noise_multiplier is None:
            raise ValueError("noise_multiplier is None: call calibrated(rounds) first")
        return 0.5 / self.noise_multiplier**2

    def calibrated(self, rounds: int) -> GaussianMechanism:
        """The same with the noise multiplier that spends the budget in that many answers, unless one is given."""
        if self.noise_multiplier is not None:
            return self
        integer("rounds", rounds, low=1)
        from scipy.optimize import brentq

        def excess(log_rho: float) -> float:
            return zcdp_epsilon(math.exp(log_rho), self.delta) - self.epsilon

        low, high = math.log(1e-12), 0.0
        if excess(low) > 0.0:
            raise ValueError(f"epsilon={self.epsilon} with delta={self.delta} allows no answer at all")
        while excess(high) < 0.0:
            high += 1.0
        rho = math.exp(brentq(excess, low, high, xtol=1e-12)) * (1.0 - 1e-9)  # on the safe side of the root
        return replace(self, noise_multiplier=math.sqrt(0.5 * rounds / rho))

    def spent(self, answers: int) -> PrivacySpent:
        """The cost of that many answers."""
        rho = answers * self.rho
        return PrivacySpent(zcdp_epsilon(rho, self.delta), self.delta, rho, answers)

    def allows(self, answers: int) -> bool:
        """Whether the budget covers that many answers."""
        return zcdp_epsilon(answers * self.rho, self.delta) <= self.epsilon * (1.0 + 1e-9)

    def silence(self) -> str:
        """Why a client that `allows` no further answer gives none."""
        return f"its privacy budget epsilon={self.epsilon} is spent"

    def bound(self) -> float:
        """What an entry of an honest answer differs from knowing nothing by: more has a chance below 1e-15."""
        return self.clip * (1.0 + 16.0 * float(self.noise_multiplier or 0.0))

    def release(self, values: np.ndarray, space: str, rng: np.random.Generator) -> np.ndarray:
        """The clipped table with noise, (m, n_classes); rows of NaN (classes unknown to the client) say nothing first.

        The noise is drawn from `rng`: whoever knows its seed can take the noise off again.
        """
        neutral = 1.0 / values.shape[1] if space == "probability" else 0.0
        known = np.where(np.isnan(values), neutral, values).astype(np.float64) - neutral
        length = float(np.linalg.norm(known))
        shrunk = known * min(1.0, self.clip / length) if length > 0.0 else known
        sigma = 2.0 * self.clip * float(self.noise_multiplier or 0.0)
        return (neutral + shrunk + sigma * rng.standard_normal(known.shape)).astype(values.dtype)


def _between(name: str, value: Any, low: float, high: float) -> None:
    if not low <= as_float(value, name) <= high:
        raise ValueError(f"{name} must lie between {low:g} and {high:g}; got {value!r}")


def zcdp_epsilon(rho: float, delta: float) -> float:
    r"""Smallest epsilon that rho-zCDP gives at delta, by way of Renyi differential privacy.

    .. math:: \epsilon = \min_{\alpha > 1} \rho\alpha + \frac{\ln(1/\delta) + (\alpha - 1)\ln(1 - 1/\alpha)
              - \ln\alpha}{\alpha - 1}

    (Canonne, Kamath and Steinke 2020, Prop. 12); below Bun and Steinke's rho + 2 sqrt(rho ln(1/delta)).

    Examples
    --------
    >>> round(zcdp_epsilon(0.5, 1e-5), 3)
    4.728
    """
    if not 0.0 < delta < 1.0 or not rho >= 0.0:
        raise ValueError(f"rho must be >= 0 and delta between 0 and 1; got {rho!r}, {delta!r}")
    if rho == 0.0:
        return 0.0
    from scipy.optimize import minimize_scalar

    def at(log_excess: float) -> float:
        excess = math.exp(log_excess)  # alpha - 1, which may be far below the spacing of floats at 1
        rest = math.log(1.0 / delta) - excess * math.log1p(1.0 / excess) - math.log1p(excess)
        return rho * (1.0 + excess) + rest / excess

    guess = 0.5 * math.log(math.log(1.0 / delta) / rho)
    found = minimize_scalar(at, bounds=(guess - 8.0, guess + 8.0), method="bounded", options={"xatol": 1e-10})
    return max(0.0, float(min(found.fun, at(guess))))


def gaussian_delta(noise_multiplier: float, answers: int, epsilon: float) -> float:
    r"""The exact delta of `answers` Gaussian releases at epsilon.

    .. math:: \delta = \Phi(\mu/2 - \epsilon/\mu) - e^\epsilon\,\Phi(-\mu/2 - \epsilon/\mu), \qquad
              \mu = \sqrt{answers} / noise\_multiplier

    (Balle and Wang 2018, Theorem 8; Dong, Roth and Su 2022, Corollary 3.3): what the account above approaches from
    the safe side.
    """
    from scipy.special import log_ndtr

    mu = math.sqrt(answers) / as_positive(noise_multiplier, "noise_multiplier")
    if mu == 0.0:
        return 0.0
    first = math.exp(log_ndtr(mu / 2.0 - epsilon / mu))
    return max(0.0, first - math.exp(epsilon + log_ndtr(-mu / 2.0 - epsilon / mu)))


def gaussian_epsilon(noise_multiplier: float, answers: int, delta: float) -> float:
    """The exact epsilon of `answers` Gaussian releases at delta; never above `zcdp_epsilon`."""
    low, high = 0.0, 1.0
    if gaussian_delta(noise_multiplier, answers, 0.0) <= delta:
        return 0.0
    while gaussian_delta(noise_multiplier, answers, high) > delta:
        high *= 2.0
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if gaussian_delta(noise_multiplier, answers, middle) > delta else (low, middle)
    return high


def checked_mechanism(privacy: Any) -> GaussianMechanism | None:
    """`privacy` of a federation."""
    if privacy is None or isinstance(privacy, GaussianMechanism):
        return privacy
    raise TypeError(f"privacy must be a fastkd.federated.GaussianMechanism or None; got {type(privacy).__name__}")
