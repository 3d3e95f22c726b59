"""How good are class probabilities? Metrics of a classifier, never accuracy alone.

`evaluate` gives all figures of one set of rows, `evaluation_report` adds confidence intervals, folds and regimes, and
`walk_forward_report` fits a model fold after fold and reports on all of them. Each metric is also a function of its
own. Classes are integers 0 .. n_classes - 1, probabilities have one column a class, all is computed in float64.
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
from fastkd.evaluation.selective import SelectiveCurve, selective_curve
from fastkd.evaluation.walk import walk_forward_report

__all__ = [
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
    "evaluate",
    "evaluation_report",
    "fit_temperature",
    "log_loss",
    "majority_baseline",
    "mcc",
    "reliability",
    "selective_curve",
    "walk_forward_report",
]
