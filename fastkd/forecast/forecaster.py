"""Forecaster: what is trained is what runs, because features, labels, scaler, models and dates are one object."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastkd._defaults import KD_WEIGHT, TEMPERATURE
from fastkd._io import save
from fastkd.deploy import Predictor
from fastkd.evaluation import EvaluationReport, evaluation_report
from fastkd.features import FeatureSet
from fastkd.forecast.labels import Direction, Labels, Return
from fastkd.forecast.learning import (
    Learned,
    check_teachers,
    learn,
    require_settings,
    spans_of_teachers,
)
from fastkd.forecast.live import LiveForecaster, reader_of
from fastkd.forecast.parts import Rows, as_markets, check_parts, cut, join, rows_of, span_text
from fastkd.forecast.signals import signal_frame
from fastkd.forecast.values import ReturnReport, return_report
from fastkd.forecast.walking import walk
from fastkd.market import Candles
from fastkd.models._base import NotFittedError

__all__ = ["Forecaster"]

Report = EvaluationReport | ReturnReport


class Forecaster:
    """From candles to a small fast student that forecasts them: features, labels, scaler, teacher and dates as one.

    `fit` computes features and labels, cuts them in time order so that no training label reaches into the test part,
    trains the teacher or asks a finished one, distils the student, and judges it on the held-out part. What is saved,
    loaded and pushed live candle by candle is that object; candles of another interval or symbol, and dates it was
    trained on, are errors.

    Parameters
    ----------
    features : str or FeatureSet
        A recipe's name, or an unfitted `FeatureSet` with options; scaling is the student's affair.
    labels : Direction, TripleBarrier, RegimeAhead or Return, of fastkd.forecast
        What to forecast; the last makes it a regression.
    student : MLPClassifier or MLPRegressor, optional
        Unfitted; a copy is trained. By default one of 32 and 16 hidden units.
    teacher : estimator, fitted model, callable, Forecaster, or a list of these, optional
        An estimator that is not fitted is trained on the same rows; whatever else predicts is asked. It gets raw
        features. By default a perceptron of 128 and 64 hidden units.
    temperature : float or callable
        Of the soft labels.
    kd_weight : float
        Weight of the teacher against the labels, in [0, 1]; with 0 there is no teacher.
    scale : {"standard", "minmax", "robust"} or None
        `scale` of student and teachers that are networks of this package and have none of their own.
    teacher_weights : sequence of float, optional
        Of a list of teachers.
    random_state : int, Generator or None
        Of student and teachers that have none of their own.

    Attributes
    ----------
    student_, teacher_ : the fitted models; the teacher is None with kd_weight=0 and after loading, a list if several
    classes_ : (n_classes,) array of int, names by `labels.names`; not for `Return`
    feature_names_ : tuple of str
    interval, symbol, category : of the candles it was trained on; the symbol is a tuple if there were several
    trained_span, test_span : (first_ms, last_ms) from the first row to the last label, UTC
    teacher_spans : tuple of the same of each teacher that is a forecaster; its dates count as trained on
    metrics_ : dict of the figures on the held-out part
    report_ : report on the held-out part; None after loading

    Examples
    --------
    >>> from fastkd import Forecaster
    >>> from fastkd.market import synthetic_market
    >>> candles = synthetic_market(4000, random_state=0)
    >>> forecaster = Forecaster(random_state=0).fit(candles[:3000])
    >>> proba, known_at_ms = forecaster.predict_proba(candles[3000:])
    >>> proba.shape, forecaster.labels.names
    ((952, 3), ('DOWN', 'FLAT', 'UP'))
    >>> forecaster.evaluate(candles[3000:]).has_skill
    True
    """

    student_: Any
    teacher_: Any
    classes_: NDArray[np.int64]
    feature_names_: tuple[str, ...]
    interval: str
    symbol: str | tuple[str | None, ...] | None
    category: str | None
    trained_span: tuple[int, int]
    test_span: tuple[int, int]
    teacher_spans: tuple[tuple[int, int], ...]
    metrics_: dict[str, Any]
    report_: Report | None
    version_: str

    def __init__(
        self,
        features: str | FeatureSet = "rich",
        labels: Labels = Direction(),  # noqa: B008 - frozen
        *,
        student: Any = None,
        teacher: Any = None,
        temperature: Any = TEMPERATURE,
        kd_weight: float = KD_WEIGHT,
        scale: str | None = "standard",
        teacher_weights: Sequence[float] | None = None,
        random_state: Any = None,
    ) -> None:
        self.features = FeatureSet(features) if isinstance(features, str) else features
        if not isinstance(self.features, FeatureSet):
            raise TypeError(f"features must be a recipe's name or a FeatureSet; got {type(features).__name__}")
        if hasattr(self.features, "scaler_"):
            raise ValueError(
                f"{self.features!r} is fitted and scales; give an unfitted one: the student scales (scale=)"
            )
        if not isinstance(labels, Labels):
            raise TypeError(f"labels must be Direction(), TripleBarrier(), RegimeAhead() or Return(); got {labels!r}")
        if isinstance(labels, Return) and temperature != TEMPERATURE:
            raise ValueError(f"temperature={temperature!r} is for classes; of {labels} the student learns the values")
        if kd_weight == 0 and teacher_weights is not None:
            raise ValueError("teacher_weights are for teachers, and with kd_weight=0 there is none")
        self.labels = labels
        self.student, self.teacher, self.teacher_weights = student, teacher, teacher_weights
        self.temperature, self.kd_weight, self.scale = temperature, kd_weight, scale
        self.random_state = random_state

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        candles: Candles | Sequence[Candles],
        *,
        test_fraction: float = 0.25,
        others: Mapping[str, Candles] | None = None,
        category: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Train on the earlier candles, judge on the later ones; returns self.

        Parameters
        ----------
        candles : Candles, or a list of them
            Of one interval. Several markets are learned together, cut at the same date.
        test_fraction : float
            Share of rows, the latest, that judge.
        others : mapping of symbol to Candles
            For features that look at other markets; see `FeatureSet.transform`.
        category : str, optional
            Kept with the model, such as "linear" or "spot".
        progress : callable, optional
            Called with what is being done.

        Raises
        ------
        ValueError
            Too few candles, labels of one class only, candles that are unsorted or impossible, a forecaster as teacher
        that was trained on dates of the held-out part.

        Warns
        -----
        UserWarning
            Few rows, labels almost all of one class, gaps.
        """
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction must lie between 0 and 1; got {test_fraction!r}")
        require_settings(self)
        say = progress or (lambda text: None)
        markets = as_markets(candles)
        say("features and labels")
        rows = self._rows(markets, others)
        if not len(rows):
            check_parts(rows, rows, self.labels, markets)
        times = np.sort(rows.known_at_ms)
        train, test = cut(rows, int(times[min(math.ceil((1 - test_fraction) * len(times)), len(times) - 1)]))
        check_parts(train, test, self.labels, markets)
        check_teachers(self, test.span, str(markets[0].interval), tuple(market.symbol for market in markets))
        learned = learn(self, train, say)
        say("figures on the held-out part")
        self._adopt(learned, markets, category)
        self.trained_span, self.test_span = train.span, test.span
        self.teacher_spans = spans_of_teachers(self)
        self._all_rows, self._held_out = rows, test
        self.report_ = self._judge(self._answers(test.X), test)
        self.metrics_ = plain_metrics(self.report_)
        return self

    def _rows(self, markets: Sequence[Candles], others: Mapping[str, Candles] | None) -> Rows:
        return join([rows_of(market, self.features, self.labels, others) for market in markets])

    def _adopt(self, learned: Learned, markets: Sequence[Candles], category: str | None) -> None:
        from fastkd._version import __version__

        self.student_, self.teacher_, self._constant = learned.student, learned.teacher, learned.constant
        if self.labels.names:
            self.classes_ = np.arange(len(self.labels.names))
        self.feature_names_ = tuple(self.features.names)
        self.interval = str(markets[0].interval)
        symbols = tuple(market.symbol for market in markets)
        self.symbol = symbols[0] if len(symbols) == 1 else symbols
        self.category, self.version_ = category, __version__

    def clone(self) -> Forecaster:
        """A forecaster of the same settings, not fitted."""
        return type(self)(**{name: copy.deepcopy(getattr(self, name)) for name in settings_of(type(self))})

    # -- forecasts ----------------------------------------------------------------------------------------------------

    def predict_proba(
        self, candles: Candles, *, others: Mapping[str, Candles] | None = None, any_symbol: bool = False
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Class probabilities of every candle from the first complete window on, and when each can be known.

        Parameters
        ----------
        candles : Candles
            Of the interval and symbol that it was trained on.
        others : mapping of symbol to Candles
            As for `fit`.
        any_symbol : bool
            Take candles of another symbol too.

        Returns
        -------
        proba : (rows, n_classes), the dtype of the student; the bits of `live`
        known_at_ms : (rows,), int64

        Raises
        ------
        ValueError
            Candles of another interval or symbol, or of a forecaster of returns, which has no classes.
        """
        self._require_classes("predict_proba")
        X, known = self._features(candles, others, any_symbol)
        return self._answers(X), known

    def predict(
        self, candles: Candles, *, others: Mapping[str, Candles] | None = None, any_symbol: bool = False
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The most probable class of every candle, or the forecast return; and when it can be known."""
        X, known = self._features(candles, others, any_symbol)
        answers = self._answers(X)
        return (answers.argmax(axis=1) if self.labels.names else answers[:, 0]), known

    def signals(
        self,
        candles: Candles,
        *,
        threshold: float = 0.0,
        kind: str = "pandas",
        others: Mapping[str, Candles] | None = None,
        any_symbol: bool = False,
    ) -> Any:
        """A frame for a backtest or strategy: one row a forecast.

        Columns: `known_at` (UTC, when the forecast can be acted on: the close of its candle), `known_at_ms`, `close`;
        of classes `p_<NAME>` for each, `forecast` (the name) and `position`, 1 for UP or BULL, -1 for DOWN or BEAR
        where its probability is the largest and at least `threshold`, else 0; of returns `forecast` alone.

        Parameters
        ----------
        threshold : float
            In [0, 1].
        kind : "pandas" or "polars"
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1]; got {threshold!r}")
        X, known = self._features(candles, others, any_symbol)
        return signal_frame(
            self._answers(X), known, candles.close[len(candles) - len(X) :], self.labels, threshold, kind
        )

    def predictor(self) -> Predictor:
        """A `fastkd.deploy.Predictor` of raw feature rows, columns as in `feature_names_`."""
        self._require_fitted()
        return self.student_.predictor()

    def live(self, on_gap: str = "raise", *, symbol: str | None = None, state: Any = None) -> LiveForecaster:
        """Forecasts from one candle at a time, the same bits as `predict_proba`; see `LiveForecaster`.

        `symbol` is for another market than that of the training.
        """
        self._require_fitted()
        symbol = self.symbol if symbol is None and isinstance(self.symbol, str) else symbol
        return LiveForecaster(
            self.features,
            self.student_,
            interval=self.interval,
            symbol=symbol,
            category=self.category,
            on_gap=on_gap,
            state=state,
        )

    def _features(
        self, candles: Candles, others: Mapping[str, Candles] | None, any_symbol: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        self._require_fitted()
        self.require_market(candles, any_symbol=any_symbol)
        return self.features.compute(candles, others)

    def _answers(self, X: NDArray[np.float64]) -> NDArray[Any]:
        """What the student says of raw rows, (n, n_outputs), with the bits of live forecasts."""
        return reader_of(self.student_).read(np.ascontiguousarray(X))

    def require_market(self, candles: Candles, *, any_symbol: bool = False) -> None:
        """Raise unless candles have the interval and a symbol that the forecaster was trained on."""
        self._require_fitted()
        if not isinstance(candles, Candles):
            raise TypeError(f"expected fastkd.market.Candles; got {type(candles).__name__} (see Candles.from_frame)")
        if candles.interval != self.interval:
            raise ValueError(
                f"the forecaster was trained on candles of {self.interval}; these are of {candles.interval}"
            )
        known = self.symbol if isinstance(self.symbol, tuple) else (self.symbol,)
        if not any_symbol and candles.symbol is not None and None not in known and candles.symbol not in known:
            names = ", ".join(map(str, known))
            raise ValueError(
                f"the forecaster was trained on {names}; these are of {candles.symbol} (any_symbol=True takes them)"
            )

    # -- judgement ----------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        candles: Candles | Sequence[Candles] | None = None,
        *,
        walk_forward: int | None = None,
        others: Mapping[str, Candles] | None = None,
        any_symbol: bool = False,
        progress: Callable[[str], None] | None = None,
        **options: Any,
    ) -> Report:
        """Judge the forecasts on rows that took no part in training.

        Parameters
        ----------
        candles : Candles, or a list, optional
            Later candles; the held-out part of `fit` if not given. Those for the warm-up of the features may reach
            back into the dates of training.
        walk_forward : int, optional
            Train afresh that many times, each time on all rows before a period and judged on it: of these candles, or
            of those of `fit`. The fitted models stay as they are.
        others, any_symbol
            As for `predict_proba`.
        progress : callable, optional
            Called with what is being done.
        **options
            For `evaluation_report`, such as `confidence` or `regimes`; of returns `resamples`, `confidence`, `block`,
            `random_state`.

        Returns
        -------
        EvaluationReport; for labels `Return` a ReturnReport

        Raises
        ------
        ValueError
            Dates that were trained on, another interval or symbol, no rows with a label.
        """
        if walk_forward is not None:
            say = progress or (lambda text: None)
            return walk(self, candles, walk_forward, others, any_symbol, say, options)
        self._require_fitted()
        if candles is None:
            if getattr(self, "_held_out", None) is None:
                raise ValueError(
                    "a loaded forecaster has the figures of its held-out part (metrics_), not its rows; pass candles "
                    f"later than {span_text(self.trained_span)}"
                )
            if not options:
                assert self.report_ is not None
                return self.report_
            return self._judge(self._answers(self._held_out.X), self._held_out, **options)
        markets = as_markets(candles)
        for market in markets:
            self.require_market(market, any_symbol=any_symbol)
        rows = self._rows(markets, others)
        if not len(rows):
            raise ValueError(f"{sum(map(len, markets))} candles give no row with features and a label")
        teachers = [("forecaster's teacher", span) for span in self.teacher_spans]
        for who, span in [("forecaster", self.trained_span), *teachers]:
            trained = (rows.known_at_ms <= span[1]) & (rows.label_at_ms >= span[0])
            if not trained.any():
                continue
            free = rows[rows.known_at_ms > span[1]]
            hint = f"; {len(free)} rows from {span_text(free.span)} are later" if len(free) else ""
            raise ValueError(
                f"{int(trained.sum())} of {len(rows)} rows, {span_text(rows[trained].span)}, are of dates that the "
                f"{who} was trained on, {span_text(span)}{hint}"
            )
        return self._judge(self._answers(rows.X), rows, **options)

    def _judge(self, answers: NDArray[Any], rows: Rows, constant: Any = None, **options: Any) -> Report:
        block = {"block": max(self.labels.horizon, round(2 * len(rows) ** (1 / 3)))}
        if isinstance(self.labels, Return):
            constant = self._constant if constant is None else constant
            return return_report(rows.y, answers[:, 0], constant, self.labels.quantile, **{**block, **options})
        p = answers.astype(np.float64)  # rounded in float32, sums miss 1 by more than a strict check takes
        p /= p.sum(axis=1, keepdims=True)
        own = {"class_names": self.labels.names, "random_state": 0, **block}
        return evaluation_report(rows.y, p, **{**own, **options})

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: Any) -> None:
        """Write all that is needed to forecast to one safetensors file; `fastkd.load` checks it and gives it back.

        The teacher is left out; if it is an unfitted estimator of this package, its settings are kept for `clone`.
        Of others the file says what was left out, as of a temperature that is a function, and a loaded forecaster
        raises when it is to be trained anew, until its `teacher` or `temperature` is set.
        """
        save(self, path)

    # -- checks -------------------------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "student_")

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this Forecaster is not fitted yet; call fit with candles first")

    def _require_classes(self, what: str) -> None:
        if not self.labels.names:
            raise ValueError(f"{what} is for classes; {self.labels} has none: use predict")

    def __repr__(self) -> str:
        shown = [repr(self.features.name) if not self.features.options else repr(self.features), repr(self.labels)]
        for name, default in settings_of(type(self)).items():
            value = getattr(self, name)
            if name not in ("features", "labels") and repr(value) != repr(default):
                shown.append(f"{name}={value!r}")
        return f"Forecaster({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_all_rows", "_held_out")}


def settings_of(cls: type) -> dict[str, Any]:
    """Constructor arguments and their defaults."""
    return {n: p.default for n, p in inspect.signature(cls.__init__).parameters.items() if n != "self"}  # type: ignore[misc]


def plain_metrics(report: Report) -> dict[str, Any]:
    """The figures of a report that a file keeps: plain numbers."""
    if isinstance(report, ReturnReport):
        return report.to_dict()
    found = report.overall.evaluation
    names = ("n", "accuracy", "majority", "balanced_accuracy", "mcc", "log_loss", "no_skill_log_loss", "brier")
    figures = {name: float(getattr(found, name)) for name in names}
    shares = dict(zip(report.class_names, map(float, found.shares), strict=True))
    low, high = report.overall.intervals["skill"]
    ends = {"skill": report.overall.skill, "skill_low": float(low), "skill_high": float(high)}
    return {**figures, **ends, "n": int(found.n), "shares": shares, "has_skill": report.has_skill}
