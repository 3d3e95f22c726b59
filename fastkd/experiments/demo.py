"""The demo's steps, from candles to latency; `run_demo` is the whole road in one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fastkd.evaluation import EvaluationReport, agreement, class_shares, evaluation_report
from fastkd.experiments.distilling_desks import distilling_desks
from fastkd.experiments.exported import measure_export
from fastkd.experiments.federation import robust_federation
from fastkd.experiments.few_rows import few_rows
from fastkd.experiments.generations import generations_on_candles
from fastkd.experiments.latency import Latency, measure_pair, numpy_forward
from fastkd.experiments.result import CLASS_NAMES, Comparison, CurvePoint, DemoResult, Market, Settings, Trained

if TYPE_CHECKING:
    from fastkd.distill import GenerationReport

STEPS = (
    "Candles, features, labels",
    "Teacher",
    "Student from hard labels",
    "Distilled student",
    "Students with few labels",
    "More labels, other draws",
    "Self-distillation",
    "Walking forward",
    "Federation with hostile clients",
    "Federation that shares forecasts",
    "Condensation",
    "Latency",
)
CLASSES = (0, 1, 2)  # DOWN, FLAT, UP
MIN_CANDLES = 500


@dataclass(frozen=True)
class Data:
    """Standardized rows in time order; the test part lies after the training part."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Teacher:
    """What students need of the teacher: its logits of the training part, and its answers on the test part."""

    logits: np.ndarray
    answers: np.ndarray


def run_demo(
    candles: Any = None, *, settings: Settings | None = None, progress: Callable[[str, int, int], None] | None = None
) -> DemoResult:
    """Teach a large network, distil it, compare and time: the whole road.

    Parameters
    ----------
    candles : Candles, optional
        Sorted, without duplicates. By default `settings.rows` candles of the synthetic market.
    settings : Settings, optional
    progress : callable, optional
        Called as (title, steps done, steps in all) when a step begins.

    Raises
    ------
    ValueError
        Too few candles, or candles that are unsorted, duplicated or impossible.
    """
    from fastkd import __version__, isa

    settings = settings or Settings()
    began = perf_counter()
    steps = iter(range(len(STEPS)))

    def step() -> None:
        done = next(steps)
        if progress is not None:
            progress(STEPS[done], done, len(STEPS))

    step()
    candles = synthetic(settings) if candles is None else candles
    market, data = prepare(candles, settings)
    step()
    teacher, teacher_figures = fit_teacher(data, settings)
    step()
    _, hard = fit_student(data, settings, teacher, labels=len(data.y_train), distilled=False)
    step()
    student, distilled = fit_student(data, settings, teacher, labels=len(data.y_train), distilled=True)
    step()
    few = min(settings.few_labels, len(data.y_train))
    pair = [fit_student(data, settings, teacher, labels=few, distilled=way)[1] for way in (False, True)]
    step()
    curve = label_curve(data, settings, teacher)
    step()
    generations = teach_themselves(candles, data, settings)
    step()
    walk = walk_forward_student(candles, settings)
    step()
    federation = robust_federation(data, settings)
    step()
    distillation = distilling_desks(data, settings)
    step()
    condensed = few_rows(data, settings)
    step()
    latency = time_student(student, data, settings)
    return DemoResult(
        settings=settings,
        version=__version__,
        isa=isa(),
        market=market,
        teacher=teacher_figures,
        full=Comparison(hard, distilled),
        few=Comparison(*pair),
        curve=curve,
        generations=generations,
        walk=walk,
        federation=federation,
        distillation=distillation,
        condensed=condensed,
        latency=latency,
        exported=measure_export(student, data.X_test, data.X_train),
        seconds=perf_counter() - began,
    )


def synthetic(settings: Settings) -> Any:
    """Candles of which the best forecast is known."""
    from fastkd.market import synthetic_market

    return synthetic_market(
        settings.rows, random_state=settings.seed, threshold=settings.threshold, symbol="synthetic market"
    )


def recipe(candles: Any) -> Any:
    """Four numbers hold all that there is to know of the synthetic market; real candles get the rich set."""
    from fastkd.features import FeatureSet

    return FeatureSet("ohlcv4" if hasattr(candles, "bayes_proba") else "rich")


def prepare(candles: Any, settings: Settings) -> tuple[Market, Data]:
    """Features and labels of the candles, split in time order, scaled by the first part."""
    from fastkd.features import Standardizer, direction_labels, time_split

    if len(candles) < MIN_CANDLES:
        raise ValueError(f"{len(candles)} candles are too few: the demo needs at least {MIN_CANDLES}")
    features = recipe(candles)
    X, _ = features.transform(candles)
    y = direction_labels(candles, settings.threshold)[features.n_warmup :]
    X, y = X[y >= 0], y[y >= 0]  # the move after the last candle is not known yet
    train, test = time_split(len(y), test_fraction=settings.test_fraction, purge=1)
    scaler = Standardizer().fit(X[train])
    X = scaler.transform(X).astype(np.float32)
    data = Data(X[train], y[train], X[test], y[test])
    test_candles = test + features.n_warmup
    bayes = getattr(candles, "bayes_proba", None)
    thin = slice(None, None, max(1, len(candles) // 1000))
    market = Market(
        source=candles.symbol or "candles",
        interval=candles.interval,
        candles=len(candles),
        gaps=len(candles.check().gaps),
        first_ms=int(candles.start_ms[0]),
        last_ms=int(candles.start_ms[-1]),
        features=X.shape[1],
        train_rows=len(train),
        test_rows=len(test),
        train_shares=class_shares(data.y_train, len(CLASSES)),
        test_shares=class_shares(data.y_test, len(CLASSES)),
        test_from_ms=int(candles.start_ms[test_candles[0]]),
        bayes_accuracy=None if bayes is None else float(bayes[test_candles].max(axis=1).mean()),
        close_ms=candles.start_ms[thin],
        close=candles.close[thin],
    )
    return market, data


def fit_teacher(data: Data, settings: Settings) -> tuple[Teacher, Trained]:
    """The large network on hard labels; the latest tenth of the training part tells it when to stop."""
    model = _network(settings.teacher_hidden, settings.teacher_epochs, settings.teacher_learning_rate, settings)
    model.set_params(early_stopping=True, l2=settings.teacher_l2)
    began = perf_counter()
    model.fit(data.X_train, data.y_train, classes=CLASSES)
    seconds = perf_counter() - began
    teacher = Teacher(model.predict_logits(data.X_train), model.predict(data.X_test))
    return teacher, _trained("teacher", len(data.y_train), model, teacher, data, seconds)


def fit_student(
    data: Data, settings: Settings, teacher: Teacher, *, labels: int, distilled: bool, draw: int = 0
) -> tuple[Any, Trained]:
    """The small network on `labels` hard labels; if `distilled`, on the teacher's view of every training row besides.

    The labelled rows are drawn at random, the same ones for both ways of teaching; each `draw` has its own and its own
    initial weights. Where labels are few, labels alone get many passes and weight decay, which serves them best.
    """
    from fastkd.distill import distill

    y = np.full_like(data.y_train, -1)
    chosen = np.sort(np.random.default_rng((settings.seed, draw)).choice(len(y), labels, replace=False))
    y[chosen] = data.y_train[chosen]
    model = _network(settings.student_hidden, settings.student_epochs, settings.student_learning_rate, settings)
    model.set_params(random_state=settings.seed + draw)
    began = perf_counter()
    if distilled:
        distill(teacher.logits, model, data.X_train, y, temperature=settings.temperature, kd_weight=settings.kd_weight)
    else:
        if labels < len(y):
            epochs = max(200, settings.student_epochs)
            model.set_params(epochs=epochs, learning_rate=0.003, batch_size=32, l2=2.0 / labels)
        model.fit(data.X_train[chosen], y[chosen], classes=CLASSES)
    seconds = perf_counter() - began
    name = "student, distilled" if distilled else "student, labels only"
    return model, _trained(name, labels, model, teacher, data, seconds)


def label_curve(data: Data, settings: Settings, teacher: Teacher) -> tuple[CurvePoint, ...]:
    """Both students with a quarter of the few labels, all of them, 5 and 25 times as many, as far as there are rows."""
    few, points = settings.few_labels, []
    for labels in (few // 4, few, 5 * few, 25 * few):
        if 0 < labels < len(data.y_train):
            hard, distilled = (
                tuple(
                    fit_student(data, settings, teacher, labels=labels, distilled=way, draw=draw)[1].evaluation.accuracy
                    for draw in range(settings.draws)
                )
                for way in (False, True)
            )
            points.append(CurvePoint(labels, hard, distilled))
    return tuple(points)


def teach_themselves(candles: Any, data: Data, settings: Settings) -> GenerationReport | None:
    """Generations of the student that learn from one another, three seeds; None where there is but one class."""
    if len(np.unique(data.y_train)) < 2:
        return None
    return generations_on_candles(
        candles[-settings.generation_rows :],
        features=recipe(candles).name,
        generations=settings.generations,
        hidden=settings.student_hidden,
        epochs=settings.student_epochs,
        seeds=range(settings.seed, settings.seed + 3),
    )


def walk_forward_student(candles: Any, settings: Settings) -> EvaluationReport:
    """The student alone, fitted anew on a growing past, on moves larger than the volatility before them.

    Regimes are what the last 48 candles were, known when the forecast is made.
    """
    from fastkd.evaluation import walk_forward_report
    from fastkd.features import Regime, Standardizer, direction_labels, regime_labels, walk_forward

    features = recipe(candles)
    X, _ = features.transform(candles)
    y = direction_labels(candles, "volatility")[features.n_warmup :]
    trailing = regime_labels(candles, "trailing", window=48)[features.n_warmup :]
    known = np.flatnonzero(y >= 0)  # neither the first rows, without a volatility yet, nor the last, without a future
    X, y, trailing = X[known], y[known], trailing[known]
    model = _network(settings.student_hidden, settings.student_epochs, settings.student_learning_rate, settings)
    return walk_forward_report(
        model,
        X,
        y,
        walk_forward(len(y), settings.folds, purge=1, embargo=12),
        scaler=Standardizer(),
        regimes=trailing,
        class_names=CLASS_NAMES,
        regime_names={int(regime): regime.name for regime in Regime},
    )


def time_student(model: Any, data: Data, settings: Settings) -> tuple[tuple[Latency, Latency], ...]:
    """One row and a batch of 32, fastkd and NumPy; see `latency.measure_pair`."""
    predictor = model.predictor()
    sizes = (data.X_train.shape[1], *settings.student_hidden, len(CLASSES))
    plain = numpy_forward(sizes, model.parameters)
    rows = np.ascontiguousarray(data.X_test[:32], dtype=np.float32)
    calls = settings.latency_calls
    return (
        measure_pair(predictor, plain, rows[0].copy(), calls=calls),
        measure_pair(predictor, plain, rows, calls=max(1, calls // 4)),
    )


def _network(hidden: tuple[int, ...], epochs: int, learning_rate: float, settings: Settings) -> Any:
    from fastkd.models import MLPClassifier

    return MLPClassifier(
        hidden,
        epochs=epochs,
        learning_rate=learning_rate,
        lr_schedule="cosine",
        batch_size=settings.batch_size,
        random_state=settings.seed,
    )


def _trained(name: str, labels: int, model: Any, teacher: Teacher, data: Data, seconds: float) -> Trained:
    proba = model.predict_proba(data.X_test)
    return Trained(
        name=name,
        labels=labels,
        report=evaluation_report(data.y_test, proba, class_names=CLASS_NAMES, resamples=200),
        agreement=agreement(proba, teacher.answers),
        parameters=model.n_parameters,
        bytes=model.parameters.nbytes,
        seconds=seconds,
    )
