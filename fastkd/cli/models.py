"""`fastkd train`, `distill`, `evaluate`, `predict`: a forecaster made, judged and used."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from fastkd._defaults import KD_WEIGHT
from fastkd.cli.common import (
    STDIN,
    Files,
    Json,
    Output,
    Source,
    Widths,
    check,
    check_suffix,
    describe,
    read_all,
    say_steps,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from fastkd.forecast import Forecaster, Labels
    from fastkd.market import Candles

__all__ = ["distill", "evaluate", "load_forecaster", "predict", "train"]

KINDS = {"direction": "Direction", "barrier": "TripleBarrier", "regime": "RegimeAhead", "return": "Return"}


@Parameter(name="*")
@dataclass(frozen=True)
class Task:
    """What is forecast from what.

    Parameters
    ----------
    features
        Recipe of features: rich, ohlcv4, regime3 or condense6.
    labels
        What to forecast: the direction of the next move, the barrier touched first, the regime ahead, or the return.
    horizon
        Candles that a label looks ahead; by default 1, of barriers and regimes 12.
    threshold
        Of direction and regime: a larger move counts; volatility, quantile or a fraction of the price such as 0.001.
    quantile
        Of return: which quantile to forecast; the mean if not given.
    scale
        Scaling of the features: standard, minmax, robust or none.
    test_fraction
        Share of the rows, the latest ones, to judge by.
    seed
        Of everything random.
    """

    features: str = "rich"
    labels: Literal["direction", "barrier", "regime", "return"] = "direction"
    horizon: int | None = None
    threshold: str | None = None
    quantile: float | None = None
    scale: Literal["standard", "minmax", "robust", "none"] = "standard"
    test_fraction: float = 0.25
    seed: int = 0

    def definition(self) -> Labels:
        """The labels as a record; an error for a setting that they do not have."""
        from fastkd import forecast

        kind = getattr(forecast, KINDS[self.labels])
        given: dict[str, Any] = {"horizon": self.horizon, "quantile": self.quantile}
        if self.threshold is not None:
            given["threshold"] = _number_or_name(self.threshold)
        given = {name: value for name, value in given.items() if value is not None}
        known = set(kind.__dataclass_fields__)
        if stray := sorted(set(given) - known):
            raise ValueError(f"--{stray[0]} is not a setting of --labels {self.labels}")
        return kind(**given)

    @property
    def scaling(self) -> str | None:
        return None if self.scale == "none" else self.scale


def train(
    candles: Files,
    /,
    *,
    output: Path,
    task: Task = Task(),
    source: Source = Source(),  # noqa: B008
    hidden: Widths = (128, 64),
    epochs: int = 10,
    learning_rate: float = 1e-3,
    l2: float = 2e-3,
    json: Json = None,
    quiet: bool = False,
) -> int:
    """Train a large model on labels alone: a teacher for `fastkd distill --teacher`, or a forecaster by itself.

    Parameters
    ----------
    candles
        CSV, Parquet, a store of candles, or - for standard input; several are learned together.
    output
        The forecaster, .safetensors.
    hidden
        Hidden layers.
    epochs
        Passes over the rows.
    learning_rate
        Step size.
    l2
        Weight decay.
    json
        Also write the figures; - for standard output.
    quiet
        Print errors only.
    """
    check({"--output": output, "--json": json}, {"the candles": candles})
    check_model_names({"--output": output})
    model = _network(task, hidden, epochs=epochs, learning_rate=learning_rate, l2=l2)
    found = _forecaster(task, student=model, kd_weight=0.0)
    tables = _fit(found, candles, source, task, quiet)
    found.save(output)
    _report(found, {"trained": found}, tables, candles, output, json, quiet)
    return 0


def distill(
    candles: Files,
    /,
    *,
    output: Path,
    teacher: Annotated[list[Path] | None, Parameter(negative="")] = None,
    save_teacher: Path | None = None,
    task: Task = Task(),
    source: Source = Source(),  # noqa: B008
    temperature: float | None = None,
    kd_weight: float = KD_WEIGHT,
    student_hidden: Widths = (32, 16),
    student_epochs: int = 20,
    teacher_hidden: Widths | None = None,
    teacher_epochs: int | None = None,
    json: Json = None,
    quiet: bool = False,
) -> int:
    """Distill a large model into a small fast one, and judge both, and one without a teacher, on later candles.

    Parameters
    ----------
    candles
        CSV, Parquet, a store of candles, or - for standard input; several are learned together.
    output
        The forecaster, .safetensors: features, labels, scaler, student and dates in one file.
    teacher
        A forecaster of `fastkd train` or `distill` with the same features and labels, or a model of raw features; may
        be given several times. If not given, one is trained.
    save_teacher
        Also write the teacher that was trained, as a forecaster.
    temperature
        Of the soft labels; by default 2. Not for returns.
    kd_weight
        Of the soft labels, against the hard ones.
    student_hidden
        Hidden layers of the student.
    student_epochs
        Passes of the student over the rows.
    teacher_hidden
        Hidden layers of the teacher that is trained; by default 128,64.
    teacher_epochs
        Its passes over the rows; by default 10.
    json
        Also write the figures; - for standard output.
    quiet
        Print errors only.
    """
    import fastkd

    if teacher and save_teacher is not None:
        raise ValueError("--save-teacher writes the teacher that is trained; --teacher gives one")
    for flag, value in {"--teacher-hidden": teacher_hidden, "--teacher-epochs": teacher_epochs}.items():
        if teacher and value is not None:
            raise ValueError(f"{flag} is of a teacher that is trained; --teacher gives a finished one")
    if kd_weight == 0 and teacher:
        raise ValueError("--teacher is not asked with --kd-weight 0")
    if temperature is not None and (task.labels == "return" or kd_weight == 0):
        why = "--kd-weight 0" if kd_weight == 0 else "--labels return"
        raise ValueError(f"--temperature is of soft labels; with {why} there are none")
    check(
        {"--output": output, "--save-teacher": save_teacher, "--json": json},
        {"the candles": candles, "the teacher": teacher or []},
    )
    check_model_names({"--output": output, "--save-teacher": save_teacher})
    student = _network(task, student_hidden, epochs=student_epochs, learning_rate=3e-3)
    if teacher:
        teachers: Any = [fastkd.load(path) for path in teacher]
    else:
        hidden, epochs = teacher_hidden or (128, 64), 10 if teacher_epochs is None else teacher_epochs
        large = _network(task, hidden, epochs=epochs, learning_rate=1e-3, l2=2e-3)
        teachers = [_forecaster(task, student=large, kd_weight=0.0)]
        tables = _fit(teachers[0], candles, source, task, quiet, "teacher")
    options: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    one = teachers[0] if len(teachers) == 1 else teachers
    found = _forecaster(task, student=student, teacher=one, kd_weight=kd_weight, **options)
    tables = _fit(found, candles, source, task, quiet)
    alone = _forecaster(task, student=student, kd_weight=0.0)
    _fit(alone, candles, source, task, quiet, "the same student from labels alone", tables)
    if not teacher:
        found.teacher = large  # how it was made, for training anew
    found.save(output)
    if save_teacher is not None:
        teachers[0].save(save_teacher)
    known = [t for t in teachers if hasattr(t, "metrics_")] if not teacher else []
    shown = {"teacher": known[0]} if known else {}
    _report(found, {**shown, "labels only": alone, "distilled": found}, tables, candles, output, json, quiet)
    return 0


def evaluate(
    model: Path,
    candles: Files,
    /,
    *,
    source: Source = Source(),  # noqa: B008 - frozen
    walk_forward: int | None = None,
    any_symbol: bool = False,
    plot: Path | None = None,
    json: Json = None,
    quiet: bool = False,
) -> int:
    """Judge a forecaster on candles later than those it was trained on.

    Parameters
    ----------
    model
        A file of `fastkd train` or `distill`.
    candles
        CSV, Parquet, a store of candles, or - for standard input.
    walk_forward
        Train it afresh for that many periods, each on what came before, and judge all of them.
    any_symbol
        Take candles of another symbol too.
    plot
        Also draw calibration, confusion and lead (.png, .svg, .pdf).
    json
        Also write the figures; - for standard output.
    quiet
        Print errors only.
    """
    from fastkd.cli.outputs import check_plot

    check({"--plot": plot, "--json": json}, {"the candles": candles, "the model": [model]})
    check_plot(plot)
    found = load_forecaster(model)
    tables = read_all(candles, source)
    report = found.evaluate(tables, walk_forward=walk_forward, any_symbol=any_symbol, progress=say_steps(quiet))
    _end_steps(quiet)
    if plot is not None:
        if not hasattr(report, "plot"):
            raise ValueError("--plot draws forecasts of classes; this forecaster gives returns")
        report.plot(plot)
    write_json(json, report.to_dict())
    if not quiet and str(json) != STDIN:
        print(report)
    return 0


def predict(
    model: Path,
    candles: Files,
    /,
    *,
    source: Source = Source(),  # noqa: B008 - frozen
    output: Output = Path(STDIN),
    threshold: float = 0.0,
    any_symbol: bool = False,
    json: Json = None,
) -> int:
    """Forecasts of every candle as a table: when it is known, close, probabilities, forecast and position.

    Parameters
    ----------
    model
        A file of `fastkd train` or `distill`.
    candles
        CSV, Parquet, a store of candles, or - for standard input; one market.
    output
        CSV, or Parquet if the name ends in .parquet; standard output if not given.
    threshold
        A position needs at least this probability.
    any_symbol
        Take candles of another symbol too.
    json
        Also write what the model is and how many forecasts there are; - for standard output.
    """
    from fastkd.forecast.signals import signal_columns

    check({"--output": output, "--json": json}, {"the candles": candles, "the model": [model]})
    check_suffix("--output", output, (".csv", ".parquet"), "forecasts are written as CSV or Parquet")
    if not 0 <= threshold <= 1:
        raise ValueError(f"--threshold must lie in [0, 1]; got {threshold}")
    found = load_forecaster(model)
    if len(candles) > 1:
        raise ValueError("forecasts are of one market: give one file of candles")
    (table,) = read_all(candles, source)
    X, known = found._features(table, None, any_symbol)
    columns = signal_columns(found._answers(X), known, table.close[len(table) - len(X) :], found.labels, threshold)
    if output.suffix.lower() == ".parquet":
        import pyarrow
        import pyarrow.parquet

        from fastkd._files import whole_file

        with whole_file(output) as name:
            pyarrow.parquet.write_table(pyarrow.table(columns), name)
    else:
        text = io.StringIO()
        print(*columns, sep=",", file=text)
        shown = [np.datetime_as_string(c, timezone="UTC") if c.dtype.kind == "M" else c for c in columns.values()]
        for row in zip(*(column.tolist() for column in shown), strict=True):
            print(*row, sep=",", file=text)
        write_text(output, text.getvalue())
    write_json(json, {"model": repr(found), "forecasts": len(known), "metrics": found.metrics_})
    return 0


def check_model_names(outputs: dict[str, Path | None]) -> None:
    for flag, path in outputs.items():
        if path is not None:
            check_suffix(flag, path, (".safetensors",), "a model is written as safetensors")


# -- inside -----------------------------------------------------------------------------------------------------------


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _network(task: Task, hidden: tuple[int, ...], **settings: Any) -> Any:
    from fastkd.forecast.learning import network_for

    return network_for(task.definition(), hidden=hidden, batch_size=128, **settings)


def _forecaster(task: Task, **settings: Any) -> Forecaster:
    from fastkd.forecast import Forecaster

    return Forecaster(task.features, task.definition(), scale=task.scaling, random_state=task.seed, **settings)


def _fit(
    found: Forecaster,
    files: list[Path],
    source: Source,
    task: Task,
    quiet: bool,
    what: str = "",
    tables: list[Candles] | None = None,
) -> list[Candles]:
    import warnings

    say = say_steps(quiet)
    once = tables is not None
    tables = read_all(files, source) if tables is None else tables
    with warnings.catch_warnings():
        if once or what:  # what there is to warn of is said with the student
            warnings.simplefilter("ignore", UserWarning)
        one = tables[0] if len(tables) == 1 else tables
        found.fit(
            one,
            test_fraction=task.test_fraction,
            category=_category(files, source),
            progress=lambda text: say(f"{what}: {text}" if what else text),
        )
    _end_steps(quiet)
    return tables


def _category(files: list[Path], source: Source) -> str | None:
    """Category of the candles, as the stores say it; None of other files."""
    from fastkd.market.reading import stored_category

    wanted = {"symbol": source.symbol, "interval": source.interval, "category": source.category}
    kinds = {stored_category(path, **wanted) for path in files} - {None}
    if len(kinds) > 1:
        raise ValueError(f"candles of {' and '.join(sorted(map(str, kinds)))}: say --category, or train on one of them")
    return next(iter(kinds), None)


def _end_steps(quiet: bool) -> None:
    if not quiet and sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def load_forecaster(path: Path) -> Forecaster:
    import fastkd
    from fastkd.forecast import Forecaster

    found = fastkd.load(path)
    if not isinstance(found, Forecaster):
        raise ValueError(
            f"{path} holds an {type(found).__name__} without features and labels; make a forecaster with "
            f"fastkd distill CANDLES --teacher {path} --output NEW.safetensors"
        )
    return found


def _report(
    found: Forecaster,
    models: dict[str, Forecaster],
    tables: list[Candles],
    files: list[Path],
    output: Path,
    json: Json,
    quiet: bool,
) -> None:
    """Tables and sentences on standard output, all within 80 columns; figures as JSON."""
    from fastkd.experiments.latency import forecast_microseconds
    from fastkd.forecast.parts import span_text

    figures = {name: model.metrics_ for name, model in models.items()}
    p50 = forecast_microseconds(found.predictor())
    write_json(
        json,
        {
            "model": repr(found),
            "file": str(output),
            "trained_span": found.trained_span,
            "test_span": found.test_span,
            "parameters": {name: model.student_.n_parameters for name, model in models.items()},
            "metrics": figures,
            "microseconds": p50,
        },
    )
    if quiet or str(json) == STDIN:
        return
    for table, path in zip(tables, files, strict=True):
        print(describe(table, path))
    columns, warm = len(found.feature_names_), found.features.n_warmup
    print(f"Features  {found.features!r}: {columns} columns, {warm} candles to warm up")
    print(f"Labels    {found.labels}")
    print(f"Trained   {span_text(found.trained_span)}")
    print(f"Judged    {span_text(found.test_span)}, {found.metrics_['n']:,} rows\n")
    print(_table(models))
    print(f"\n{found.report_}\n")
    print(f"One forecast takes {p50:.2f} µs. Written: {output}")
    print(f"Next: fastkd live {output}")
    print(f"  or  fastkd predict {output} CANDLES")


def _table(models: dict[str, Forecaster]) -> str:
    first = next(iter(models.values()))
    if not first.labels.names:
        lines = [f"{'':14}{'parameters':>11}{'loss':>12}{'skill, %':>10}"]
        for name, model in models.items():
            m = model.metrics_
            lines.append(f"{name:14}{model.student_.n_parameters:>11,}{m['loss']:>12.4g}{100 * m['skill']:>10.2f}")
        return "\n".join(lines)
    lines = [f"{'':14}{'parameters':>11}{'accuracy, %':>13}{'balanced, %':>13}{'MCC':>8}{'log-loss':>10}"]
    for name, model in models.items():
        m = model.metrics_
        lines.append(
            f"{name:14}{model.student_.n_parameters:>11,}{100 * m['accuracy']:>13.1f}"
            f"{100 * m['balanced_accuracy']:>13.1f}{m['mcc']:>8.3f}{m['log_loss']:>10.4f}"
        )
    m = first.metrics_
    lines.append(f"{'majority':14}{'':>11}{100 * m['majority']:>13.1f}{'':>21}{m['no_skill_log_loss']:>10.4f}")
    return "\n".join(lines)
