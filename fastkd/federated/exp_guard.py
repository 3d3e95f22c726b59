"""A rule with a memory: clients whose predictions keep standing out lose their say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastkd._check import as_positive

__all__ = ["ExpGuard"]

NEGLIGIBLE = 1e-6  # of the median's own size: where more than half say the same, rounding must not cost a say


@dataclass(frozen=True)
class ExpGuard:
    r"""Weighted mean of predictions, with weights that fall exponentially with the outlier scores gathered so far.

    The score of client i in a round is how far its distance from the coordinate-wise median exceeds what is usual:

    .. math:: s_i = \min(\max(d_i / \mathrm{median}(d) - tolerance, 0), 10), \qquad d_i = \|p_i - median(p)\|_1

    and its weight :math:`w_i \propto \exp(-rate \sum_{rounds} s_i)`, after the history-weighted defense of Roux et al.
    (2025). The median of d counts as at least a millionth of the size of the median prediction. What lies farther from
    the median than the tolerance is first pulled in to it, for against a huge value no weight is small enough. Honest
    clients with unequal data stay within and keep equal weights, so unlike the median the rule costs nothing where
    nobody attacks; an attacker fades within a few rounds and stays faded.

    Parameters
    ----------
    rate : float
        How fast trust is lost, > 0.
    tolerance : float
        Multiple of the usual distance that is not held against a client, > 0.

    Examples
    --------
    >>> import numpy as np
    >>> guard, scores = ExpGuard(), {}
    >>> tables = np.array([[0.5, 0.5], [0.4, 0.6], [0.6, 0.4], [0.0, 1.0]])
    >>> for _ in range(3):
    ...     mean, weights, scores = guard(tables, ["a", "b", "c", "d"], scores)
    >>> weights.round(3)
    array([0.333, 0.333, 0.333, 0.   ])
    """

    rate: float = 1.0
    tolerance: float = 1.5

    def __post_init__(self) -> None:
        as_positive(self.rate, "rate")
        as_positive(self.tolerance, "tolerance")

    def __call__(
        self, tables: np.ndarray, names: Sequence[str], scores: Mapping[str, float]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """The mean of predictions (n, ...), the weights (n,), and the scores with this round's added."""
        flat = tables.reshape(len(tables), -1)
        unit = min(max(float(np.abs(flat).max()), 1e-300), 1e200)  # sums of distances stay finite
        center = np.median(flat / unit, axis=0)
        away = flat / unit - center
        distances = np.abs(away).sum(axis=1)
        usual = max(float(np.median(distances)), NEGLIGIBLE * float(np.abs(center).sum()))
        if usual > 0.0:
            with np.errstate(over="ignore"):  # beside a huge value all the others are close to nothing
                excess = np.clip(distances / usual - self.tolerance, 0.0, 10.0)
        else:  # more than half say nothing at all: whoever says something stands out
            excess = np.where(distances > 0.0, 10.0, 0.0)
        after = {**scores, **{name: scores.get(name, 0.0) + float(e) for name, e in zip(names, excess, strict=True)}}
        gathered = np.array([after[name] for name in names])
        weights = np.exp(-self.rate * (gathered - gathered.min()))
        weights /= weights.sum()
        near = np.minimum(1.0, self.tolerance * usual / np.maximum(distances, 1e-300))
        mean = (center + (weights * near) @ away) * unit
        return mean.reshape(tables.shape[1:]), weights, after
