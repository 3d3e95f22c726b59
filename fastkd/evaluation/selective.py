"""What a classifier gains by leaving out the rows it is least sure of."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_real
from fastkd.evaluation.metrics import _as_classes, _as_proba


@dataclass(frozen=True, eq=False)
class SelectiveCurve:
    """Accuracy against coverage (El-Yaniv and Wiener 2010), one entry for each distinct uncertainty, ascending.

    Attributes
    ----------
    coverage : array
        Share of the rows that are answered: those whose uncertainty is at most `threshold`. The last is 1.
    accuracy : array
        Over the answered rows.
    threshold : array
        Uncertainty.
    """

    coverage: np.ndarray
    accuracy: np.ndarray
    threshold: np.ndarray

    @property
    def area(self) -> float:
        """Mean accuracy over all coverages; the accuracy over all rows if the uncertainty says nothing."""
        steps = np.diff(self.coverage, prepend=0.0)
        return float((steps * self.accuracy).sum())

    @property
    def gain(self) -> float:
        """`area` less the accuracy over all rows: above 0 if the uncertain rows are the wrong ones."""
        return self.area - float(self.accuracy[-1])

    def at(self, coverage: float) -> float:
        """Accuracy when at least this share of the rows is answered, the surest first."""
        if not 0.0 < coverage <= 1.0:
            raise ValueError(f"coverage must lie in (0, 1]; got {coverage}")
        return float(self.accuracy[np.searchsorted(self.coverage, coverage - 1e-12)])


def selective_curve(y: Any, proba: Any, uncertainty: Any = None) -> SelectiveCurve:
    """Accuracy over the surest rows, for every share of them; rows of equal uncertainty enter together.

    Parameters
    ----------
    y : (n,)
        Classes 0 .. n_classes - 1.
    proba : (n, n_classes)
        Whose most probable class is the answer.
    uncertainty : (n,), optional
        Any score that is higher for less sure rows; by default 1 less the greatest probability.

    Examples
    --------
    >>> from fastkd.evaluation import selective_curve
    >>> curve = selective_curve([0, 0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    >>> curve.coverage.tolist(), curve.at(0.5), curve.at(1.0)
    ([0.25, 0.5, 0.75, 1.0], 1.0, 0.75)
    """
    p = _as_proba(proba)
    true = _as_classes(y, "y", p.shape[1], rows=len(p))
    unsure = 1.0 - p.max(axis=1) if uncertainty is None else as_real(uncertainty, "uncertainty", np.float64)
    if unsure.shape != (len(p),) or np.isnan(unsure).any():
        raise ValueError(f"uncertainty must be ({len(p)},) numbers, one a row, no NaN; got shape {unsure.shape}")
    order = np.argsort(unsure, kind="stable")
    hits = np.cumsum((p.argmax(axis=1) == true)[order])
    last = np.append(np.flatnonzero(np.diff(unsure[order])), len(p) - 1)  # of the rows of equal uncertainty
    return SelectiveCurve((last + 1) / len(p), hits[last] / (last + 1), unsure[order][last])
