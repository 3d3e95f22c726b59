"""Attacks on the attacker's own data: it follows the protocol, but with rows it has falsified.

Each has ``poison(X, y, rng) -> (X, y)``, which a federation calls once, before training, and which leaves its arguments
as they are. The update computed on those rows then goes through ``attack(updates, rng)``, which multiplies it by
`boost`: above 1 the attacker tries to outweigh the others (Bhagoji et al. 2019). Called with several updates, it boosts
their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_array, as_labels
from fastkd.federated.attacks import as_updates

__all__ = ["Backdoor", "LabelFlip", "Targeted"]


def _boosted(updates: Any, boost: float) -> np.ndarray:
    array = as_updates(updates)
    with np.errstate(over="ignore"):
        return (boost * array.mean(axis=0, dtype=np.float64)).astype(array.dtype)


@dataclass(frozen=True)
class LabelFlip:
    """Labels y become n_classes - 1 - y: up for down, 9 for 0 (Yin et al. 2018, section 7).

    Without `n_classes` a federation fills in that of the model, and `poison` takes the largest label it sees plus 1.

    Examples
    --------
    >>> LabelFlip(n_classes=3).poison([[0.0]] * 3, [0, 1, 2], None)[1]
    array([2, 1, 0])
    """

    n_classes: int | None = None
    boost: float = 1.0

    def poison(self, X: Any, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = as_labels(y)
        last = (int(labels.max()) + 1 if self.n_classes is None else self.n_classes) - 1
        if labels.max() > last:
            raise ValueError(f"LabelFlip(n_classes={self.n_classes}) met the label {labels.max()}")
        return as_array(X, "X"), np.where(labels >= 0, last - labels, labels)

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        return _boosted(honest_updates, self.boost)


@dataclass(frozen=True)
class Targeted:
    """Rows of class `source` are labeled `target`; all other rows stay true (Tolpegin et al. 2020).

    Examples
    --------
    >>> Targeted(source=2, target=0).poison([[0.0]] * 3, [0, 1, 2], None)[1]
    array([0, 1, 0])
    """

    source: int = 0
    target: int = 1
    boost: float = 1.0

    def poison(self, X: Any, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = as_labels(y)
        return as_array(X, "X"), np.where(labels == self.source, self.target, labels)

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        return _boosted(honest_updates, self.boost)


@dataclass(frozen=True)
class Backdoor:
    """A trigger that the model is to obey: some rows get it stamped on and are labeled `target`.

    On all other rows the model stays good, so accuracy does not tell (Gu et al. 2017; Bagdasaryan et al. 2020). Judge
    it by the share of ``stamp(X_test)`` that the trained model calls `target`.

    Attributes
    ----------
    target : int
    columns : tuple of int
        Features (of the last axis) that the trigger sets.
    value : float
        What it sets them to.
    share : float
        Share of the attacker's rows, in (0, 1].

    Examples
    --------
    >>> Backdoor(target=2, columns=(1,), value=9.0).stamp([[1.0, 1.0]])
    array([[1., 9.]])
    """

    target: int = 0
    columns: tuple[int, ...] = (0,)
    value: float = 3.0
    share: float = 0.5
    boost: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share must lie in (0, 1]; got {self.share!r}")

    def stamp(self, X: Any) -> np.ndarray:
        """A copy of X with the trigger on every row."""
        rows = as_array(X, "X")
        rows = rows.astype(rows.dtype if rows.dtype.kind == "f" else np.float64)
        rows[..., list(self.columns)] = self.value
        return rows

    def poison(self, X: Any, y: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = as_labels(y).copy()
        rows = as_array(X, "X")
        rows = rows.astype(rows.dtype if rows.dtype.kind == "f" else np.float64)
        chosen = rng.choice(len(labels), max(1, round(self.share * len(labels))), replace=False)
        rows[chosen] = self.stamp(rows[chosen])
        labels[chosen] = self.target
        return rows, labels

    def __call__(self, honest_updates: Any, rng: np.random.Generator) -> np.ndarray:
        return _boosted(honest_updates, self.boost)
