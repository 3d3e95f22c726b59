"""How good forecasts of returns are, beside the best constant."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd._check import as_rng
from fastkd.evaluation.bootstrap import default_block

__all__ = ["ReturnReport", "return_report"]


@dataclass(frozen=True)
class ReturnReport:
    """Figures of forecasts of a return or of one of its quantiles.

    Attributes
    ----------
    n : rows
    quantile : what was forecast; None for the mean
    loss : mean loss of the forecasts: half the squared error, or the pinball loss of the quantile
    constant_loss : the same of the training part's mean or quantile, the best constant that was known
    skill, skill_low, skill_high : 1 - loss / constant_loss, above 0 the forecasts know something; its interval
    coverage : share of returns at or below the forecast; `quantile` if the forecasts are calibrated
    confidence : of the interval
    block, resamples : rows of a block, and number of resamples, of the moving-block bootstrap
    """

    n: int
    quantile: float | None
    loss: float
    constant_loss: float
    skill: float
    skill_low: float
    skill_high: float
    coverage: float
    confidence: float
    block: int
    resamples: int

    @property
    def has_skill(self) -> bool:
        """Whether the whole interval of `skill` lies above 0."""
        return self.skill_low > 0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "has_skill": self.has_skill}

    def __str__(self) -> str:
        what = "mean return" if self.quantile is None else f"{100 * self.quantile:g} % quantile of the return"
        verdict = "better than" if self.has_skill else "worse than" if self.skill_high < 0 else "not measurably unlike"
        lines = [
            f"{self.n:,} rows, forecasts of the {what}",
            f"  loss       {self.loss:.4g}, of the best constant {self.constant_loss:.4g}",
            f"  skill      {100 * self.skill:+.2f} % [{100 * self.skill_low:+.2f}, {100 * self.skill_high:+.2f}] "
            f"({100 * self.confidence:g} % interval, {self.resamples:,} resamples of blocks of {self.block} rows)",
        ]
        if self.quantile is not None:
            lines.append(f"  coverage   {100 * self.coverage:.2f} % of the returns lie at or below the forecast")
        return "\n".join([*lines, f"The forecasts are {verdict} the best constant."])


def return_report(
    y: NDArray[np.float64],
    forecast: NDArray[np.float64],
    constant: float,
    quantile: float | None,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    block: int | None = None,
    random_state: Any = 0,
) -> ReturnReport:
    """Judge forecasts of returns `y`, (n,) each, beside the forecast `constant`."""

    def losses(f: Any) -> NDArray[np.float64]:
        error = y - f
        return 0.5 * error**2 if quantile is None else np.maximum(quantile * error, (quantile - 1.0) * error)

    own, base = losses(forecast.astype(np.float64)), losses(constant)
    n, length = len(y), min(block or default_block(len(y)), len(y))
    starts = as_rng(random_state).integers(0, n - length + 1, (resamples, -(-n // length)))
    sums = [np.concatenate([[0.0], np.cumsum(loss)]) for loss in (own, base)]  # sum over a block in two look-ups
    mine, theirs = ((total[starts + length] - total[starts]).sum(axis=1) for total in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        skills = 1.0 - mine / theirs
        skill = float(1.0 - own.mean() / base.mean())
    low, high = np.quantile(skills, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return ReturnReport(
        n, quantile, float(own.mean()), float(base.mean()), skill, float(low), float(high),
        float((y <= forecast).mean()), confidence, length, resamples,
    )  # fmt: skip
