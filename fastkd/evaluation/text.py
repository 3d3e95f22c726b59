"""The report on class probabilities as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastkd.evaluation.bootstrap import Interval

if TYPE_CHECKING:
    from fastkd.evaluation.report import EvaluationReport, Part

__all__ = ["report_text"]

PERCENT = ("accuracy", "lead", "balanced_accuracy")
TITLES = {
    "accuracy": "accuracy",
    "lead": "lead over majority",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "MCC",
    "log_loss": "log-loss",
    "skill": "skill (nats)",
    "brier": "Brier score",
}


def report_text(report: EvaluationReport) -> str:
    """Figures of all rows, the verdict, confusion, and one line a fold and a regime."""
    figures = report.overall.evaluation
    shares = ", ".join(f"{name} {100 * share:z.1f} %" for name, share in zip(report.class_names, figures.shares))
    lines = [
        f"{figures.n:,} rows: {shares}; majority {100 * figures.majority:z.1f} %",
        f"{100 * report.confidence:g} % intervals by {report.resamples:,} resamples of blocks of {report.block} rows",
        "",
    ]
    for metric, title in TITLES.items():
        extra = f"   no skill {figures.no_skill_log_loss:z.4f}" if metric == "log_loss" else ""
        lines.append(f"  {title:20}{_value(report.overall, metric):>9}   {_interval(report.overall, metric)}{extra}")
    lines += [f"  {'calibration error':20}{figures.calibration_error:9.4f}", "", *_verdict(report), ""]
    lines += _confusion(report)
    for title, parts in (("fold", report.folds), ("regime", report.regimes)):
        if parts:
            lines += ["", *_table(title, parts)]
    return "\n".join(lines)


def _verdict(report: EvaluationReport) -> list[str]:
    if report.beats_majority:
        majority = "beats the majority baseline"
    elif report.overall.intervals["lead"].high < 0:
        majority = "is measurably worse than the majority baseline"
    else:
        majority = "does not measurably beat the majority baseline"
    shares = "knows more than the class shares" if report.has_skill else "does not know more than the class shares"
    return [f"The model {majority};", f"by log-loss it {shares}."]


def _confusion(report: EvaluationReport) -> list[str]:
    names, confusion = report.class_names, report.overall.evaluation.confusion
    width = max(9, *(len(name) + 2 for name in names), len(f"{confusion.max():,}") + 2)
    lines = [f"  {'truth / answer':16}" + "".join(f"{name:>{width}}" for name in names)]
    for name, row in zip(names, confusion):
        lines.append(f"  {name:16}" + "".join(f"{count:>{width},}" for count in row.tolist()))
    return lines


def _table(title: str, parts: tuple[Part, ...]) -> list[str]:
    width = max(9, *(len(part.name) + 1 for part in parts))
    head = f"{title:{width}}{'rows':>8}{'majority':>9}{'accuracy':>9}{'lead':>6}  {'interval':13}"
    lines = [head + f"{'balanced':>9}{'MCC':>6}{'log-loss':>9}"]
    for part in parts:
        figures = part.evaluation
        lines.append(
            f"{part.name:{width}}{figures.n:8,}{100 * figures.majority:z7.1f} %{_value(part, 'accuracy'):>9}"
            f"{100 * figures.lead:+z6.1f}  {_interval(part, 'lead'):13}"
            f"{_value(part, 'balanced_accuracy'):>9}{figures.mcc:z6.2f}{figures.log_loss:z9.4f}"
        )
    return lines


def _value(part: Part, metric: str) -> str:
    value = part.value(metric)
    if metric in PERCENT:
        return f"{100 * value:{'+' if metric == 'lead' else ''}z.1f} %"
    return f"{value:z.4f}" if metric != "mcc" else f"{value:z.3f}"


def _interval(part: Part, metric: str) -> str:
    low, high = part.intervals[metric]
    ends = Interval(100 * low, 100 * high) if metric in PERCENT else Interval(low, high)
    digits = 1 if metric in PERCENT else 3 if metric == "mcc" else 4
    return f"[{ends.low:z.{digits}f}, {ends.high:z.{digits}f}]"
