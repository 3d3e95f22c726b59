"""What the figures of a run say, in sentences: the same in the terminal and in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastkd.evaluation import Evaluation
from fastkd.experiments.result import CLASS_NAMES, Comparison, DemoResult, Distillation, Trained
from fastkd.experiments.venues import FEDMD, LOCAL, POOLED

if TYPE_CHECKING:
    from fastkd.condense import CondenseReport

CONDENSED_COLUMNS = ("rows from", "rows", "balanced accuracy", "accuracy", "made in")


def headline(result: DemoResult) -> str:
    """One sentence on the distilled student."""
    student = result.full.distilled
    kept = result.kept(student)
    if kept is None:
        return "On these candles no model has a measurable lead over always answering the most frequent class."
    return (
        f"With 1/{result.compression:.0f} of the parameters the distilled student keeps {100 * kept:.0f} % of the "
        "teacher's lead over the majority baseline."
    )


def findings(result: DemoResult) -> list[str]:
    """Sentences on the market, the teacher, both comparisons and the latency, whatever came out."""
    return [
        *_on_labels(result),
        *_on_teacher(result),
        _on_comparison(result, result.full),
        _on_comparison(result, result.few),
        *_on_curve(result),
        *_on_generations(result),
        _on_walk(result),
        _on_federation(result),
        *_on_distillation(result),
        *_on_condensation(result),
        *_on_latency(result),
        *_on_export(result),
    ]


def _on_labels(result: DemoResult) -> list[str]:
    shares, threshold = result.market.test_shares, result.settings.threshold
    top = int(shares.argmax())
    text = (
        f"{100 * shares[top]:.1f} % of the test rows are {CLASS_NAMES[top]}: who always answers "
        f"{CLASS_NAMES[top]} is right that often."
    )
    if CLASS_NAMES[top] == "FLAT" and shares[top] > 0.6:
        text += (
            f" Moves beyond ±{100 * threshold:g} % are rare on this interval; a wider interval, or labels by "
            "volatility, would balance the classes."
        )
    return [text]


def _on_teacher(result: DemoResult) -> list[str]:
    figures = result.teacher.evaluation
    said = [f"Teacher: accuracy {_percent(figures.accuracy)} against a majority of {_percent(figures.majority)}"]
    lead = f"{_points(figures.lead)} ± {100 * figures.lead_error:.1f} points"
    answers = figures.confusion.sum(axis=0)
    if figures.beats_majority:
        said[0] += f", {lead}."
    elif answers.max() == figures.n:
        only = CLASS_NAMES[int(answers.argmax())]
        said[0] += f": it always answers {only} and so does not beat the majority baseline."
    else:
        said[0] += f", {lead}: it does not beat the majority baseline."
    if figures.log_loss >= figures.no_skill_log_loss:
        said.append(
            f"Its log-loss {figures.log_loss:.4f} is not below {figures.no_skill_log_loss:.4f}, that of forecasting "
            "the class shares: the features say nothing that lasted into the test part."
        )
    elif not figures.beats_majority:
        said.append(
            f"Its log-loss {figures.log_loss:.4f} is below {figures.no_skill_log_loss:.4f}, that of forecasting the "
            "class shares: the probabilities know something (how far prices move), the answers do not."
        )
    said += _on_direction(figures)
    bayes = result.market.bayes_accuracy
    if bayes is not None:
        said.append(
            f"Nobody can be right more often than {_percent(bayes)} of the time on this market (Bayes accuracy, "
            "known because the market is synthetic)."
        )
    else:
        said.append("A lead in accuracy is no profit: no fees, spreads or slippage are counted here.")
    return said


def _on_direction(figures: Evaluation) -> list[str]:
    """Telling up from down is another thing than telling that there will be a move."""
    confusion = figures.confusion
    right, wrong = int(confusion[0, 0] + confusion[2, 2]), int(confusion[0, 2] + confusion[2, 0])
    moved = right + wrong
    if moved == 0:
        return []
    share = right / moved
    error = (share * (1 - share) / moved) ** 0.5
    return [
        f"On the {moved:,} test rows where it called UP or DOWN and the price did move, it had the direction right "
        f"{_percent(share)} ± {100 * error:.1f} of the time (a coin: 50 %)."
    ]


def _on_comparison(result: DemoResult, pair: Comparison) -> str:
    hard, distilled, labels = pair.hard.evaluation, pair.distilled.evaluation, pair.hard.labels
    gain, unlabelled = distilled.accuracy - hard.accuracy, result.market.train_rows - labels
    rows = f"{labels:,} labels and {unlabelled:,} unlabelled rows" if unlabelled else f"all {labels:,} labels"
    return (
        f"Student with {rows}: accuracy {_percent(hard.accuracy)} from labels alone, {_percent(distilled.accuracy)} "
        f"distilled ({_points(gain)} points); log-loss {hard.log_loss:.4f} and {distilled.log_loss:.4f}; answers as "
        f"the teacher does on {_percent(pair.hard.agreement)} and {_percent(pair.distilled.agreement)} of the rows"
        f"{_kept(result, pair)}."
    )


def _on_curve(result: DemoResult) -> list[str]:
    if not result.curve:
        return []
    gains = ", ".join(f"{_points(point.gain)} with {point.labels:,} labels" for point in result.curve)
    return [f"Points that the teacher adds to the student's accuracy, mean of {result.settings.draws} draws: {gains}."]


def _on_generations(result: DemoResult) -> list[str]:
    found = result.generations
    return [] if found is None else [f"{len(found.by_generation)} generations of the student: {found.verdict()}"]


def _on_walk(result: DemoResult) -> str:
    part = result.walk.overall
    low, high = part.intervals["lead"]
    return (
        f"Walking forward over {len(result.walk.folds)} folds, with moves measured against volatility, the student "
        f"alone leads the majority by {_points(part.value('lead'))} points [{_points(low)}, {_points(high)}]; by "
        f"log-loss it knows {'more' if result.walk.has_skill else 'no more'} than the class shares."
    )


def _on_federation(result: DemoResult) -> str:
    found = result.federation
    worst = found.accuracy.min(axis=0)
    best = int(worst.argmax())
    mean = found.rules.index("mean")
    return (
        f"Trained by {found.clients} desks of which {found.hostile} attack, the mean falls to "
        f"{_percent(worst[mean])} under its worst attack, {found.rules[best].replace('_', ' ')} to "
        f"{_percent(worst[best])}; nobody attacking, they reach {_percent(found.accuracy[0, mean])} and "
        f"{_percent(found.accuracy[0, best])}."
    )


def _on_distillation(result: DemoResult) -> list[str]:
    found = result.distillation
    if found is None:
        return []
    gain, error = found.difference(FEDMD, LOCAL)
    bound, _ = found.difference(POOLED, LOCAL)
    size = f"{_points(gain)} ± {100 * error:.1f} points of accuracy"
    if abs(gain) <= 2 * error:
        said = f"changes nothing that could be told from chance ({size})"
    else:
        said = f"{'helps' if gain > 0 else 'harms'}: {size}"
    lied_to = {way.rpartition(" ")[2]: found.difference(way, LOCAL)[0] for way in found.ways if "liar" in way}
    attacked = ", ".join(f"{_points(change)} by the {rule}" for rule, change in lied_to.items())
    lead = found.accuracy[found.ways.index(FEDMD)].mean() - found.majority
    return [
        f"To share forecasts (FedMD) instead of learning alone {said}; all rows in one place give {_points(bound)}. "
        f"With one liar among the {found.desks} desks it is {attacked}. When nobody lies, they lead the majority by "
        f"{_points(lead)} points."
    ]


def _on_condensation(result: DemoResult) -> list[str]:
    return [] if result.condensed is None else [f"Condensation. {_first_upper(result.condensed.verdict)}"]


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def distillation_rows(found: Distillation) -> list[tuple[str, ...]]:
    """(way to learn, mean, lowest, highest accuracy over the draws), then the majority: the table, as text."""
    rows = [
        (way, *(f"{100 * share:.1f}" for share in (draws.mean(), draws.min(), draws.max())))
        for way, draws in zip(found.ways, found.accuracy)
    ]
    return [*rows, ("majority baseline", f"{100 * found.majority:.1f}", "", "")]


def condensed_rows(report: CondenseReport) -> list[tuple[str, ...]]:
    """A row for each of `CONDENSED_COLUMNS`: the table, as text."""
    return [
        (
            "all rows" if trial.full else trial.name.replace("_", " "),
            f"{trial.rows:,}",
            f"{100 * report.score(trial):.1f}",
            f"{100 * report.accuracy(trial):.1f}",
            "-" if trial.full else f"{trial.condense_seconds:.2f} s",
        )
        for trial in report.trials
    ]


def _kept(result: DemoResult, pair: Comparison) -> str:
    if result.kept(pair.hard) is None:
        return ""
    first, second = kept_text(result, pair.hard), kept_text(result, pair.distilled)
    return f"; keeps {first} and {second} of the teacher's lead over the majority"


def kept_text(result: DemoResult, model: Trained) -> str:
    """Share of the teacher's lead that a model keeps, for a table: "-" without a lead, "none" below the majority."""
    kept = result.kept(model)
    return "-" if kept is None else f"{100 * kept:.0f} %" if kept > 0 else "none"


def metric_rows(result: DemoResult) -> list[tuple[str, list[str]]]:
    """(what, its value for each of `result.models()`): the one table of models, as text."""
    models = result.models()
    figures = [model.evaluation for model in models]
    return [
        ("hard labels", [f"{model.labels:,}" for model in models]),
        ("parameters", [f"{model.parameters:,}" for model in models]),
        ("size", [f"{model.bytes / 1024:.1f} KiB" for model in models]),
        ("accuracy", [_percent(f.accuracy) for f in figures]),
        ("95 % interval", [_between(model, "accuracy", 100.0, 1) for model in models]),
        ("majority baseline", [_percent(f.majority) for f in figures]),
        ("balanced accuracy", [_percent(f.balanced_accuracy) for f in figures]),
        ("MCC", [f"{f.mcc:.3f}" for f in figures]),
        ("log-loss", [f"{f.log_loss:.4f}" for f in figures]),
        ("95 % interval", [_between(model, "log_loss", 1.0, 3) for model in models]),
        ("Brier score", [f"{f.brier:.4f}" for f in figures]),
        ("calibration error", [f"{f.calibration_error:.3f}" for f in figures]),
        ("answers as teacher", [_percent(model.agreement) for model in models]),
        ("lead kept", [kept_text(result, model) for model in models]),
        ("fitted in", [f"{model.seconds:.1f} s" for model in models]),
    ]


def _on_latency(result: DemoResult) -> list[str]:
    said = []
    for ours, theirs in result.latency:
        what = "One forecast" if ours.rows == 1 else f"A batch of {ours.rows} forecasts"
        ratio = theirs.p50 / ours.p50
        compared = f"{ratio:.1f} times faster than" if ratio >= 1 else f"{1 / ratio:.1f} times slower than"
        said.append(
            f"{what} takes {ours.p50:.2f} µs (median), {ours.p99:.2f} µs (p99) from Python, {compared} the same "
            f"network in NumPy ({theirs.p50:.2f} µs)."
        )
    return said


def _on_export(result: DemoResult) -> list[str]:
    said = []
    for c in result.exported:
        text = f"As C of its own (fastkd export), {c.name}, the student has {c.constant_bytes:,} bytes of weights"
        if c.ns is not None and c.agreement is not None:
            text += f", takes {c.ns:.0f} ns a row, and gives {100 * c.agreement:.2f} % of the test rows Python's class"
        said.append(f"{text}.")
    return said


def _between(model: Trained, metric: str, unit: float, digits: int) -> str:
    low, high = model.report.overall.intervals[metric]
    return f"{unit * low:.{digits}f} to {unit * high:.{digits}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+z.1f}"
