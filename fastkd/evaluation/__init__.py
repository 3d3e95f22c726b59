"""How good are class probabilities? Metrics of a classifier, never accuracy alone. And the risk in losses.

`evaluate` gives all figures of one set of rows, `evaluation_report` adds confidence intervals, folds and regimes, and
`walk_forward_report` fits a model fold after fold and reports on all of them. Each metric is also a function of its
own. Classes are integers 0 .. n_classes - 1, probabilities have one column a class, all is computed in float64.
`value_at_risk`, `expected_shortfall` and `coverage` are about losses and forecasts of them.
"""

from fastkd.evaluation.bootstrap import Interval
from fastkd.evaluation.calibration import fit_temperature
from fastkd.evaluation.metrics import (
    Evaluation,
    Reliability,
    accuracy,
    agreement,
    balanced_accuracy,
    brier,
    calibration_error,
    class_shares,
    confusion_matrix,
    evaluate,
    log_loss,
    majority_baseline,
    mcc,
    reliability,
)
from fastkd.evaluation.report import EvaluationReport, Part, evaluation_report
from fastkd.evaluation.risk import Coverage, coverage, expected_shortfall, value_at_risk
from fastkd.evaluation.selective import SelectiveCurve, selective_curve
from fastkd.evaluation.walk import walk_forward_report

__all__ = [
    "Coverage",
    "Evaluation",
    "EvaluationReport",
    "Interval",
    "Part",
    "Reliability",
    "SelectiveCurve",
    "accuracy",
    "agreement",
    "balanced_accuracy",
    "brier",
    "calibration_error",
    "class_shares",
    "confusion_matrix",
    "coverage",
    "evaluate",
    "evaluation_report",
    "expected_shortfall",
    "fit_temperature",
    "log_loss",
    "majority_baseline",
    "mcc",
    "reliability",
    "selective_curve",
    "value_at_risk",
    "walk_forward_report",
]
