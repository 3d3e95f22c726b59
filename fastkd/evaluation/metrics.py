"""How good are class probabilities? Metrics of a classifier, never accuracy alone.

`evaluate` gives all of them at once; each is also a function of its own. Classes are integers 0 .. n_classes - 1,
probabilities have one column a class, and everything is computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import to_array


@dataclass(frozen=True)
class Reliability:
    """How often forecasts of a given confidence come true; one entry a non-empty bin.

    Attributes
    ----------
    confidence : (bins,) mean probability that was forecast
    frequency : (bins,) share of rows in which the forecast came true
    count : (bins,) rows in the bin
    """

    confidence: np.ndarray
    frequency: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean |frequency - confidence|, weighted by rows (Naeini et al. 2015)."""
        return float(np.abs(self.frequency - self.confidence) @ self.count / self.count.sum())


@dataclass(frozen=True)
class Evaluation:
    """The figures of one classifier on one set of rows; `str()` shows accuracy beside the baselines it must beat.

    Attributes
    ----------
    n : rows
    shares : (n_classes,) share of each true class
    majority : accuracy of always answering the most frequent class of these rows
    accuracy, balanced_accuracy, mcc, log_loss, brier : see the functions of these names
    no_skill_log_loss : log-loss of always forecasting `shares`, in nats (the entropy of the classes)
    lead_error : standard error of `lead`, from the row by row difference to the majority answer
    reliability : of the winning class, 10 bins
    confusion : (n_classes, n_classes) rows by true class (axis 0) and answer (axis 1)
    """

    n: int
    shares: np.ndarray
    majority: float
    accuracy: float
    balanced_accuracy: float
    mcc: float
    log_loss: float
    no_skill_log_loss: float
    brier: float
    lead_error: float
    reliability: Reliability
    confusion: np.ndarray

    @property
    def lead(self) -> float:
        """Accuracy minus the majority baseline."""
        return self.accuracy - self.majority

    @property
    def beats_majority(self) -> bool:
        """Whether the lead is more than two standard errors above 0."""
        return self.lead > 2.0 * self.lead_error

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of the winning class."""
        return self.reliability.error

    def __str__(self) -> str:
        shares = " / ".join(f"{100 * share:.1f}" for share in self.shares)
        verdict = "beaten" if self.beats_majority else "not beaten"
        return (
            f"{self.n:,} rows, class shares {shares} %, majority {100 * self.majority:.1f} % ({verdict})\n"
            f"accuracy {100 * self.accuracy:.1f} % ({100 * self.lead:+.1f} ± {100 * self.lead_error:.1f} points), "
            f"balanced accuracy {100 * self.balanced_accuracy:.1f} %, MCC {self.mcc:.3f}\n"
            f"log-loss {self.log_loss:.4f} (no skill {self.no_skill_log_loss:.4f}), Brier {self.brier:.4f}, "
            f"calibration error {self.calibration_error:.4f}"
        )


def evaluate(y: Any, proba: Any, *, n_classes: int | None = None) -> Evaluation:
    """All figures of a classifier.

    Parameters
    ----------
    y : (n,) true classes, integers from 0
    proba : (n, n_classes) probabilities; the answer is the class with the greatest one
    n_classes : what `proba` must have as columns; by default whatever it has

    Raises
    ------
    ValueError
        No rows, different lengths, classes outside 0 .. n_classes - 1 (also -1, "unknown"), rows of `proba` that are
        not probabilities.
    TypeError
        Arrays that do not hold numbers.

    Examples
    --------
    >>> print(evaluate([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]))
    4 rows, class shares 25.0 / 75.0 %, majority 75.0 % (not beaten)
    accuracy 75.0 % (+0.0 ± 40.8 points), balanced accuracy 83.3 %, MCC 0.577
    log-loss 0.4004 (no skill 0.5623), Brier 0.2500, calibration error 0.3000
    """
    p = _as_proba(proba)
    if n_classes is not None and p.shape[1] != n_classes:
        raise ValueError(f"proba must have one column a class: n_classes={n_classes}, got shape {p.shape}")
    classes = p.shape[1]
    true = _as_classes(y, "y", classes, rows=len(p))
    answer = p.argmax(axis=1)
    shares = class_shares(true, classes)
    hit = (answer == true).astype(float)
    difference = hit - (true == shares.argmax())
    spread = float(difference.std(ddof=1)) if len(true) > 1 else float("nan")
    seen = shares[shares > 0]
    return Evaluation(
        n=len(true),
        shares=shares,
        majority=majority_baseline(true),
        accuracy=float(hit.mean()),
        balanced_accuracy=balanced_accuracy(true, answer),
        mcc=mcc(true, answer),
        log_loss=log_loss(true, p),
        no_skill_log_loss=float(-(seen @ np.log(seen))),
        brier=brier(true, p),
        lead_error=spread / len(true) ** 0.5,
        reliability=reliability(true, p),
        confusion=confusion_matrix(true, answer, classes),
    )


def class_shares(y: Any, n_classes: int | None = None) -> np.ndarray:
    """Share of each class: (n_classes,), summing to 1.

    >>> class_shares([0, 2, 2, 2], n_classes=4)
    array([0.25, 0.  , 0.75, 0.  ])
    """
    true = _as_classes(y, "y", n_classes)
    return np.bincount(true, minlength=n_classes or 0) / len(true)


def majority_baseline(y: Any) -> float:
    """Accuracy of the best constant answer: the greatest class share of `y` itself.

    >>> majority_baseline([0, 2, 2, 2])
    0.75
    """
    return float(class_shares(y).max())


def accuracy(y: Any, predicted: Any) -> float:
    """Share of rows answered rightly. Look at it beside `majority_baseline` only.

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    true, answer = _as_pair(y, predicted)
    return float((true == answer).mean())


def balanced_accuracy(y: Any, predicted: Any) -> float:
    """Mean recall of the classes that occur in `y`; any constant answer gets 1 / (number of them).

    >>> balanced_accuracy([0, 1, 1, 1], [1, 1, 1, 1])
    0.5
    """
    confusion = confusion_matrix(y, predicted).astype(float)
    rows = confusion.sum(axis=1)
    return float((np.diag(confusion)[rows > 0] / rows[rows > 0]).mean())


def mcc(y: Any, predicted: Any) -> float:
    """Matthews correlation of truth and answer for any number of classes (Gorodkin 2004, eq. 8); 0 for a constant.

    >>> mcc([0, 1, 2], [0, 1, 2]), mcc([0, 1, 2], [1, 1, 1])
    (1.0, 0.0)
    """
    confusion = confusion_matrix(y, predicted).astype(float)
    truths, answers, n = confusion.sum(axis=1), confusion.sum(axis=0), confusion.sum()
    covariance = n * np.trace(confusion) - truths @ answers
    variances = (n * n - truths @ truths) * (n * n - answers @ answers)
    return float(covariance / np.sqrt(variances)) if variances > 0 else 0.0


def log_loss(y: Any, proba: Any) -> float:
    """Mean of -ln(probability of the true class), in nats; inf if a class that came true had probability 0.

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.25, 0.75]]), 4)
    0.4904
    """
    p = _as_proba(proba)
    true = _as_classes(y, "y", p.shape[1], rows=len(p))
    with np.errstate(divide="ignore"):
        return float(-np.log(p[np.arange(len(p)), true]).mean())


def brier(y: Any, proba: Any) -> float:
    """Mean squared distance of the probabilities from the true class, summed over classes: 0 .. 2 (Brier 1950).

    >>> brier([0, 1], [[1.0, 0.0], [0.5, 0.5]])
    0.25
    """
    p = _as_proba(proba).copy()
    true = _as_classes(y, "y", p.shape[1], rows=len(p))
    p[np.arange(len(p)), true] -= 1.0
    return float((p * p).sum(axis=1).mean())


def reliability(y: Any, proba: Any, bins: int = 10, *, class_index: int | None = None) -> Reliability:
    """Forecast against outcome in `bins` equal intervals of probability.

    Without `class_index` the forecast of a row is its greatest probability and it comes true if that class does; with
    it, the forecast is that class's probability. Intervals are (0, 1/bins], (1/bins, 2/bins], ...; 0 is in the first.

    >>> reliability([0, 1], [[0.9, 0.1], [0.85, 0.15]]).frequency
    array([0.5])
    """
    p = _as_proba(proba)
    true = _as_classes(y, "y", p.shape[1], rows=len(p))
    if int(bins) != bins or bins < 1:
        raise ValueError(f"bins must be a whole number of at least 1; got {bins}")
    if class_index is None:
        forecast, outcome = p.max(axis=1), p.argmax(axis=1) == true
    elif 0 <= class_index < p.shape[1]:
        forecast, outcome = p[:, class_index], true == class_index
    else:
        raise ValueError(f"class_index must lie in 0 .. {p.shape[1] - 1}; got {class_index}")
    index = np.clip(np.ceil(forecast * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    some = count > 0
    return Reliability(
        confidence=np.bincount(index, forecast, minlength=bins)[some] / count[some],
        frequency=np.bincount(index, outcome, minlength=bins)[some] / count[some],
        count=count[some],
    )


def calibration_error(y: Any, proba: Any, bins: int = 10) -> float:
    """Expected calibration error of the winning class (Naeini et al. 2015): see `reliability`.

    >>> calibration_error([0, 0, 0, 1], [[0.75, 0.25]] * 4)
    0.0
    """
    return reliability(y, proba, bins).error


def confusion_matrix(y: Any, predicted: Any, n_classes: int | None = None) -> np.ndarray:
    """Rows counted by true class (axis 0) and answer (axis 1).

    >>> confusion_matrix([0, 1, 1], [0, 0, 1])
    array([[1, 0],
           [1, 1]])
    """
    true, answer = _as_pair(y, predicted, n_classes)
    size = n_classes or int(max(true.max(), answer.max())) + 1
    return np.bincount(true * size + answer, minlength=size * size).reshape(size, size)


def agreement(first: Any, second: Any) -> float:
    """Share of rows on which two models give the same answer; each is classes (n,) or probabilities (n, n_classes).

    >>> agreement([0, 1, 1], [[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    0.6666666666666666
    """
    answers = []
    for name, value in (("first", first), ("second", second)):
        array = to_array(value, name)
        answers.append(_as_proba(array, name).argmax(axis=1) if array.ndim == 2 else _as_classes(array, name))
    if len(answers[0]) != len(answers[1]):
        raise ValueError(f"both models must answer the same rows; got {len(answers[0])} and {len(answers[1])}")
    return float((answers[0] == answers[1]).mean())


def _as_classes(values: Any, name: str, n_classes: int | None = None, rows: int | None = None) -> np.ndarray:
    array = to_array(values, name)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty 1-D array of classes; got shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold classes as integers; got dtype {array.dtype}")
    if rows is not None and len(array) != rows:
        raise ValueError(f"{name} has {len(array)} rows, proba has {rows}: they must describe the same rows")
    if array.dtype.kind == "f" and not (whole := np.isfinite(array) & (array == np.floor(array))).all():
        raise ValueError(f"{name} must hold whole numbers; got {array[~whole][0]}")
    classes = array.astype(np.int64)
    if (unknown := int((classes == -1).sum())) > 0:
        raise ValueError(f"{name} has {unknown} rows of unknown class (-1); leave them out, as in y[y >= 0]")
    if classes.min() < 0 or (n_classes is not None and classes.max() >= n_classes):
        bad = classes[(classes < 0) | (classes >= (n_classes or classes.max() + 1))][0]
        raise ValueError(f"{name} must lie in 0 .. {'' if n_classes is None else n_classes - 1}; got {bad}")
    return classes


def _as_pair(y: Any, predicted: Any, n_classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    true, answer = _as_classes(y, "y", n_classes), _as_classes(predicted, "predicted", n_classes)
    if len(true) != len(answer):
        raise ValueError(f"y and predicted must have the same length; got {len(true)} and {len(answer)}")
    return true, answer


def _as_proba(proba: Any, name: str = "proba") -> np.ndarray:
    array = to_array(proba, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] < 2:
        raise ValueError(f"{name} must be (rows, classes) with at least 1 row and 2 classes; got shape {array.shape}")
    p = array.astype(np.float64)
    bad = ~(np.isfinite(p).all(axis=1) & (p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1.0) < 1e-3))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{name} must hold probabilities (>= 0, each row summing to 1); row {row} is {p[row]}, "
            f"{int(bad.sum())} such rows. Logits go through fastkd.losses.softmax first"
        )
    return p
