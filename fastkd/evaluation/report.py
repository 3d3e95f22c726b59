"""The report on class probabilities: all figures with intervals, over all rows, by fold and by regime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import to_array
from fastkd.evaluation.bootstrap import METRICS, Interval, block_bootstrap, default_block
from fastkd.evaluation.metrics import Evaluation, _as_classes, _as_proba, evaluate

__all__ = ["EvaluationReport", "Part", "evaluation_report"]


@dataclass(frozen=True)
class Part:
    """Figures of some rows.

    Attributes
    ----------
    name : str
    evaluation : Evaluation
    intervals : dict of str to Interval
        For accuracy, lead, balanced_accuracy, mcc, log_loss, skill and brier.
    """

    name: str
    evaluation: Evaluation
    intervals: dict[str, Interval]

    @property
    def skill(self) -> float:
        """Log-loss of forecasting the class shares minus that of the model, in nats; above 0 it knows something."""
        return self.evaluation.no_skill_log_loss - self.evaluation.log_loss

    def value(self, metric: str) -> float:
        """A figure by the name that it has in `intervals`."""
        return self.skill if metric == "skill" else getattr(self.evaluation, metric)

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain numbers and lists."""
        figures = self.evaluation
        metrics = {name: {"value": self.value(name), **self.intervals[name]._asdict()} for name in METRICS}
        bins = figures.reliability
        return {
            "name": self.name,
            "rows": figures.n,
            "shares": figures.shares.tolist(),
            "majority": figures.majority,
            "no_skill_log_loss": figures.no_skill_log_loss,
            "calibration_error": figures.calibration_error,
            **metrics,
            "confusion": figures.confusion.tolist(),
            "reliability": {key: getattr(bins, key).tolist() for key in ("confidence", "frequency", "count")},
        }


@dataclass(frozen=True)
class EvaluationReport:
    """What `evaluation_report` found; `str()` shows it as text.

    Attributes
    ----------
    overall : Part
    folds, regimes : tuple of Part
        In order of their ids; empty if no folds or regimes were given.
    class_names : tuple of str
    confidence : float
        Of all intervals.
    block, resamples : int
        Rows of a block and number of resamples of the bootstrap over all rows.
    """

    overall: Part
    folds: tuple[Part, ...]
    regimes: tuple[Part, ...]
    class_names: tuple[str, ...]
    confidence: float
    block: int
    resamples: int

    @property
    def beats_majority(self) -> bool:
        """Whether the whole interval of the lead over the majority baseline lies above 0."""
        return self.overall.intervals["lead"].low > 0

    @property
    def has_skill(self) -> bool:
        """Whether the whole interval of `skill` lies above 0."""
        return self.overall.intervals["skill"].low > 0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain numbers, lists and dicts, as JSON takes them (an infinite log-loss as inf)."""
        return {
            "class_names": list(self.class_names),
            "confidence": self.confidence,
            "block": self.block,
            "resamples": self.resamples,
            "beats_majority": self.beats_majority,
            "has_skill": self.has_skill,
            "overall": self.overall.to_dict(),
            "folds": [part.to_dict() for part in self.folds],
            "regimes": [part.to_dict() for part in self.regimes],
        }

    def plot(self, path: Any = None) -> Any:
        """A matplotlib Figure of calibration, confusion and the lead over the majority; saved if a path is given."""
        from fastkd.evaluation.plots import plot_report

        return plot_report(self, path)

    def __str__(self) -> str:
        from fastkd.evaluation.text import report_text

        return report_text(self)


def evaluation_report(
    y: Any,
    proba: Any,
    *,
    folds: Any = None,
    regimes: Any = None,
    class_names: Sequence[str] | None = None,
    regime_names: Mapping[int, str] | Sequence[str] | None = None,
    block: int | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    random_state: int | np.random.Generator | None = 0,
) -> EvaluationReport:
    """Judge forecasts: class shares and majority beside every accuracy, intervals, folds and regimes.

    Parameters
    ----------
    y : (n,) true classes in time order, integers from 0
    proba : (n, n_classes) probabilities
    folds, regimes : (n,) integers, optional
        Fold and regime of each row; rows with -1 belong to none.
    class_names : sequence of str, optional
        By default DOWN, FLAT, UP for three classes, else the numbers.
    regime_names : sequence or mapping of int to str, optional
        By default the numbers.
    block : int, optional
        Consecutive rows that the bootstrap keeps together, at least the horizon of the labels; by default
        2 n^(1/3), in a part of n rows, and never more than n / 4: a single block would have no spread.
    resamples : int
        At least 2.
    confidence : float
        Between 0 and 1.
    random_state : int, numpy.random.Generator or None

    Returns
    -------
    EvaluationReport

    Raises
    ------
    ValueError
        See `fastkd.evaluation.evaluate`; also folds or regimes of another length.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 500)
    >>> proba = np.where((y == 0)[:, None], [0.6, 0.4], [0.45, 0.55])
    >>> report = evaluation_report(y, proba, folds=np.arange(500) // 250)
    >>> report.has_skill, report.overall.evaluation.accuracy, [part.name for part in report.folds]
    (True, 1.0, ['fold 1', 'fold 2'])
    """
    p = _as_proba(proba)
    true = _as_classes(y, "y", p.shape[1], rows=len(p))
    if int(resamples) != resamples or resamples < 2:
        raise ValueError(f"resamples must be a whole number of at least 2; got {resamples!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence!r}")
    if block is not None and (int(block) != block or block < 1):
        raise ValueError(f"block must be a whole number of rows, at least 1; got {block!r}")
    names = _class_names(class_names, p.shape[1])
    rng = np.random.default_rng(random_state)

    def part(name: str, rows: np.ndarray | slice) -> Part:
        some, few = true[rows], p[rows]
        length = default_block(len(some)) if block is None else max(1, min(int(block), len(some) // 4))
        ends = block_bootstrap(some, few, resamples=int(resamples), block=length, confidence=confidence, rng=rng)
        return Part(name, evaluate(some, few), ends)

    by_fold, by_regime = _groups(folds, "folds", len(p)), _groups(regimes, "regimes", len(p))
    labels = dict(enumerate(regime_names)) if isinstance(regime_names, Sequence) else dict(regime_names or {})
    return EvaluationReport(
        overall=part("all rows", slice(None)),
        folds=tuple(part(f"fold {key + 1}", rows) for key, rows in by_fold),
        regimes=tuple(part(labels.get(key, f"regime {key}"), rows) for key, rows in by_regime),
        class_names=names,
        confidence=float(confidence),
        block=default_block(len(p)) if block is None else max(1, min(int(block), len(p) // 4)),
        resamples=int(resamples),
    )


def _class_names(names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    if names is None:
        return ("DOWN", "FLAT", "UP") if classes == 3 else tuple(str(k) for k in range(classes))
    if len(names) != classes:
        raise ValueError(f"class_names must name the {classes} classes; got {tuple(names)!r}")
    return tuple(map(str, names))


def _groups(ids: Any, name: str, n: int) -> list[tuple[int, np.ndarray]]:
    if ids is None:
        return []
    array = to_array(ids, name)
    if array.shape != (n,) or array.dtype.kind not in "biu":
        got = f"{array.dtype} {array.shape}"
        raise ValueError(f"{name} must be one integer a row, shape ({n},); got {got}")
    return [(int(key), np.flatnonzero(array == key)) for key in np.unique(array[array >= 0])]
