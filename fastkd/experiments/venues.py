"""Several markets as clients of a federation, walk-forward: local only, FedMD, FedAvg, and all rows in one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fastkd.evaluation import Evaluation, EvaluationReport, evaluate, evaluation_report
from fastkd.evaluation.bootstrap import default_block
from fastkd.experiments.result import CLASS_NAMES

__all__ = ["Venue", "VenueResult", "VenueSettings", "read_venues", "run_venues"]

CLASSES = np.arange(3)  # DOWN, FLAT, UP
HIDDEN = ((32, 16), (64,), (24, 24), (48, 16), (16,), (40, 20))  # architectures in turn, where none are given
LOCAL, FEDMD, FEDAVG, POOLED = "local only", "FedMD", "FedAvg", "pooled"


@dataclass(frozen=True)
class VenueSettings:
    """What the user of `fastkd federate` may choose.

    Parameters
    ----------
    features
        Recipe of features.
    threshold
        A larger relative move is UP or DOWN; 0 takes past volatility, as `fastkd.forecast.Direction` does.
    horizon
        Candles that a label looks ahead.
    folds
        Test periods, one after the other.
    public_share
        Share of the time whose rows everybody has, before each test period.
    test_share
        Share of the time that is tested.
    public_rows
        Public rows that are predicted in each round.
    labels
        Labelled rows of each client; 0 for all.
    rounds
        Rounds of FedMD.
    temperature
        Of the soft labels.
    kd_weight
        Of the soft labels, where a row has a hard one too.
    aggregator
        Rule for the predictions, such as median or multi_krum.
    f
        Hostile clients to defend against.
    space
        What is averaged: probability or logit.
    learning_rate
        Of the students.
    epochs
        Passes over the private and over the public rows in a round.
    initial_epochs
        Passes over the private rows in the first round.
    seed
        Of everything random.
    workers
        Threads, -1 for one a core.
    hidden
        Hidden layers by client.
    attacks
        Attack by hostile client.
    """

    features: str = "rich"
    threshold: float = 0.0
    horizon: int = 1
    folds: int = 3
    public_share: float = 0.2
    test_share: float = 0.3
    public_rows: int = 1000
    labels: int = 0
    rounds: int = 5
    temperature: float = 3.0
    kd_weight: float = 0.7
    aggregator: str = "mean"
    f: int = 0
    space: str = "probability"
    learning_rate: float = 0.001
    epochs: int = 3
    initial_epochs: int = 15
    seed: int = 0
    workers: int = 1
    hidden: dict[str, tuple[int, ...]] = field(default_factory=dict)
    attacks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Venue:
    """Rows of one market: features of closed candles, direction of the move after them, and when they closed."""

    name: str
    X: np.ndarray
    y: np.ndarray
    start_ms: np.ndarray


@dataclass(frozen=True, eq=False)
class VenueResult:
    """Figures of every way of learning on the test rows of all folds.

    Attributes
    ----------
    settings : VenueSettings
    evaluations : dict
        Way -> figures over the honest venues together.
    by_venue : dict
        Way -> venue -> figures.
    rounds : list of list
        Fold -> accuracy on the test rows after each round of FedMD, mean over the honest venues.
    periods : list of tuple of int
        Fold -> start of the public rows, start and end of the test rows (UTC, ms); private rows come before.
    models : dict
        Venue -> its student of the last fold, with its scaler.
    bytes_up, bytes_down : int
        Sent by FedMD in all folds.
    truth, folds : numpy.ndarray, shape (n,)
        Class and fold of the test rows of all honest venues, in order of time.
    proba : dict of numpy.ndarray, shape (n, 3)
        Way -> its forecasts of these rows.
    """

    settings: VenueSettings
    evaluations: dict[str, Evaluation]
    by_venue: dict[str, dict[str, Evaluation]]
    rounds: list[list[float]]
    periods: list[tuple[int, int, int]]
    models: dict[str, Any]
    bytes_up: int
    bytes_down: int
    truth: np.ndarray
    folds: np.ndarray
    proba: dict[str, np.ndarray]

    def report(self, way: str = FEDMD) -> EvaluationReport:
        """Figures of one way with intervals, for all folds together and for each.

        Blocks of the bootstrap are stretches of time: they keep what happened at once in several venues together.
        """
        honest = len(self.by_venue[way]) - len(self.settings.attacks)
        block = max(self.settings.horizon, default_block(len(self.truth) // honest)) * honest
        return evaluation_report(
            self.truth, self.proba[way], folds=self.folds, class_names=CLASS_NAMES, block=block, random_state=0
        )


def venue_name(path: str | os.PathLike[str]) -> str:
    """BTCUSDT of a/BTCUSDT.csv.gz."""
    return Path(path).name.split(".")[0]


def check_settings(settings: VenueSettings) -> None:
    """All that can be said of settings without the candles.

    Raises
    ------
    ValueError
        Which one is out of its domain, and what it may be.
    """
    import fastkd.federated as federated
    from fastkd import aggregate
    from fastkd.features import FeatureSet
    from fastkd.federated.predictions import SPACES
    from fastkd.models._hyperparameters import checked_widths, integer, real

    lows = {"horizon": 1, "folds": 1, "public_rows": 1, "labels": 0, "rounds": 1, "f": 0, "epochs": 0,
            "initial_epochs": 0, "seed": 0}  # fmt: skip
    for name, low in lows.items():
        integer(name, getattr(settings, name), low=low)
    if settings.workers != -1:
        integer("workers", settings.workers, low=1, hint=", or -1 for all cores")
    real("threshold", settings.threshold, low=0.0)
    real("temperature", settings.temperature, low=0.0, low_open=True)
    real("learning_rate", settings.learning_rate, low=0.0, low_open=True)
    real("kd_weight", settings.kd_weight, low=0.0, high=1.0)
    shares = settings.public_share, settings.test_share
    if not (min(shares) > 0 and sum(shares) < 1):
        raise ValueError("public_share and test_share must be above 0, and below 1 together")
    if settings.space not in SPACES:
        raise ValueError(f"space must be one of {SPACES}; got {settings.space!r}")
    FeatureSet(settings.features)
    aggregate.get(settings.aggregator)
    for name, widths in settings.hidden.items():
        checked_widths(f"hidden of {name}", widths)
    for attack in settings.attacks.values():
        if attack not in federated.__all__ or not _is_attack(getattr(federated, attack)):
            raise ValueError(f"unknown attack {attack!r}; see fastkd.federated, such as LossMaximization or SignFlip")


def read_venues(paths: Sequence[str | os.PathLike[str]], settings: VenueSettings) -> list[Venue]:
    """A venue for each file of candles, named after it; see `venues_of`."""
    from fastkd.market import read_candles

    names = [venue_name(path) for path in paths]
    return venues_of(dict(_different(names, [read_candles(path) for path in paths])), settings)


def _different(names: Sequence[str], tables: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    if len(set(names)) < len(names):
        raise ValueError("two files have the same name; rename one, for clients are named after their files")
    return zip(names, tables, strict=True)


def venues_of(markets: Mapping[str, Any], settings: VenueSettings) -> list[Venue]:
    """A venue for each named table of candles, all of one interval."""
    from fastkd.features import FeatureSet
    from fastkd.forecast import Direction

    if len({candles.interval for candles in markets.values()}) > 1:
        found = ", ".join(f"{name} {candles.interval}" for name, candles in markets.items())
        raise ValueError(f"candles of different intervals cannot be learned together: {found}")
    venues = []
    for name, candles in markets.items():
        recipe = FeatureSet(settings.features)
        X, _ = recipe.transform(candles)
        y = Direction(settings.threshold or "volatility", settings.horizon).of(candles)[recipe.n_warmup :]
        known = y >= 0
        venues.append(Venue(name, X[known], y[known], candles.start_ms[recipe.n_warmup :][known]))
    return venues


def run_venues(
    venues: Sequence[Venue],
    settings: VenueSettings,
    *,
    ways: Sequence[str] = (LOCAL, FEDMD, FEDAVG, POOLED),
    progress: Callable[[str, int, int], None] | None = None,
) -> VenueResult:
    """Walk forward over the common time of the venues.

    In each fold private rows come first, then a public period, then test rows; `horizon` rows before each border are
    left out, since their labels look beyond it. Features are scaled by the public rows, which everybody has.

    Raises
    ------
    ValueError
        Fewer than two venues, no common time, too few rows, unknown attacks or venues in the settings.
    """
    _check(venues, settings)
    said: dict[str, dict[str, list[np.ndarray]]] = {way: {v.name: [] for v in venues} for way in ways}
    truth: dict[str, list[np.ndarray]] = {venue.name: [] for venue in venues}
    when: dict[str, list[np.ndarray]] = {venue.name: [] for venue in venues}
    curves, periods, models, sent = [], [], {}, np.zeros(2, np.int64)
    folds = list(_folds(venues, settings))
    for k, fold in enumerate(folds):
        for name, (_, y) in fold.test.items():
            truth[name].append(y)
            when[name].append(fold.test_ms[name])
        for step, way in enumerate(ways):
            if progress is not None:
                progress(f"Fold {k + 1} of {len(folds)}: {way}", k * len(ways) + step, len(folds) * len(ways))
            trained, result = _learn(way, fold, settings)
            for name, (X, _) in fold.test.items():
                said[way][name].append(trained[name].predict_proba(X))
            if way == FEDMD:
                curves.append([float(a) for a in result.series("accuracy")])
                sent += (result.bytes_up, result.bytes_down)
                models = trained
                for model in models.values():
                    model.scaler = fold.scaler
        periods.append(fold.period)
    honest = [v.name for v in venues if v.name not in settings.attacks]
    by_venue = {
        way: {
            name: evaluate(np.concatenate(truth[name]), np.concatenate(tables), n_classes=len(CLASSES))
            for name, tables in said[way].items()
        }
        for way in ways
    }

    def in_order(parts: dict[str, list[np.ndarray]]) -> np.ndarray:
        """Rows of the honest venues in order of time; the order of folds is that of time."""
        return np.concatenate([part for name in honest for part in parts[name]])[order]

    order = np.argsort(np.concatenate([part for name in honest for part in when[name]]), kind="stable")
    numbers = {name: [np.full(len(part), k) for k, part in enumerate(parts)] for name, parts in truth.items()}
    everything, proba = in_order(truth), {way: in_order(said[way]) for way in ways}
    return VenueResult(
        settings=settings,
        evaluations={way: evaluate(everything, proba[way], n_classes=len(CLASSES)) for way in ways},
        by_venue=by_venue,
        rounds=curves,
        periods=periods,
        models=models,
        bytes_up=int(sent[0]),
        bytes_down=int(sent[1]),
        truth=everything,
        folds=in_order(numbers),
        proba=proba,
    )


# -- inside -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fold:
    private: dict[str, tuple[np.ndarray, np.ndarray]]
    public: np.ndarray
    test: dict[str, tuple[np.ndarray, np.ndarray]]
    test_ms: dict[str, np.ndarray]
    scaler: Any
    period: tuple[int, int, int]


def _check(venues: Sequence[Venue], settings: VenueSettings) -> None:
    from fastkd.federated.rules import Aggregation

    check_settings(settings)
    names = [venue.name for venue in venues]
    if len(names) < 2:
        raise ValueError("a federation of venues needs at least two files of candles")
    rule = Aggregation(settings.aggregator, settings.f, None, 1)
    rule(np.zeros((len(names), 1)), 0, None, np.random.default_rng(0))  # too large an f for so few fails here
    for what, given in (("hidden", settings.hidden), ("attacks", settings.attacks)):
        unknown = sorted(set(given) - set(names))
        if unknown:
            known = ", ".join(names)
            raise ValueError(f"{what} names venues that do not exist: {', '.join(unknown)}; there are {known}")
    if set(settings.attacks) == set(names):
        raise ValueError("all venues are attackers; nobody is left to judge by")


def _is_attack(found: Any) -> bool:
    module = getattr(found, "__module__", "")
    return module.endswith("attacks") and callable(found)


def _folds(venues: Sequence[Venue], settings: VenueSettings) -> Any:
    from fastkd.features import Standardizer

    begin, end = max(v.start_ms[0] for v in venues), min(v.start_ms[-1] for v in venues)
    if begin >= end:
        raise ValueError("the files have no time in common")
    span = end - begin
    test_from = begin + (1.0 - settings.test_share) * span
    edges = np.linspace(test_from, end + 1, settings.folds + 1)
    rng = np.random.default_rng(settings.seed)
    for first, last in pairwise(edges):
        public_from = first - settings.public_share * span
        parts = [{v.name: _between(v, low, high, settings.horizon) for v in venues}
                 for low, high in ((begin, public_from), (public_from, first), (first, last))]  # fmt: skip
        for what, part in zip(("private", "public", "test"), parts, strict=True):
            few = [name for name, (_, y) in part.items() if len(y) < 30]
            if few:
                raise ValueError(f"fewer than 30 {what} rows of {', '.join(few)}; give longer files, or fewer folds")
        rows = np.concatenate([X for X, _ in parts[1].values()])
        scaler = Standardizer().fit(rows)
        chosen = np.sort(rng.choice(len(rows), min(settings.public_rows, len(rows)), replace=False))
        private, _, test = [{name: (_scaled(scaler, X), y) for name, (X, y) in part.items()} for part in parts]
        if settings.labels:
            private = {name: _few(X, y, settings.labels, rng) for name, (X, y) in private.items()}
        period = (int(public_from), int(first), int(last))
        test_ms = {v.name: v.start_ms[_rows(v, first, last, settings.horizon)] for v in venues}
        yield _Fold(private, _scaled(scaler, rows[chosen]), test, test_ms, scaler, period)


def _between(venue: Venue, low: float, high: float, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    rows = _rows(venue, low, high, horizon)
    return venue.X[rows], venue.y[rows]


def _rows(venue: Venue, low: float, high: float, horizon: int) -> np.ndarray:
    return np.flatnonzero((venue.start_ms >= low) & (venue.start_ms < high))[: -horizon or None]


def _scaled(scaler: Any, X: np.ndarray) -> np.ndarray:
    return scaler.transform(X).astype(np.float32)


def _few(X: np.ndarray, y: np.ndarray, labels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    rows = np.sort(rng.choice(len(y), min(labels, len(y)), replace=False))
    return X[rows], y[rows]


def _learn(way: str, fold: _Fold, settings: VenueSettings) -> tuple[dict[str, Any], Any]:
    """The model of each venue, and the federation's result if there was one."""
    import fastkd.federated as federated
    from fastkd.federated import Client, FedMD, RobustFL

    names = list(fold.private)
    models = {name: _network(name, k, settings) for k, name in enumerate(names)}
    attacks = {name: getattr(federated, attack)() for name, attack in settings.attacks.items()}
    if way == POOLED:
        honest = [pair for name, pair in fold.private.items() if name not in attacks]
        X, y = (np.concatenate(parts) for parts in zip(*honest, strict=True))
        for model in models.values():
            model.fit(X, y, classes=CLASSES)
        return models, None
    clients = [Client(name, models[name], *fold.private[name]) for name in names]
    if way == FEDAVG:  # who would lie about predictions turns its gradient round here
        liars = [name for name, attack in attacks.items() if attack.__module__.endswith("prediction_attacks")]
        attacks |= {name: federated.SignFlip() for name in liars}
        shared = models[names[0]].initialize(fold.public.shape[1], len(CLASSES))
        alike = [Client(c.name, None, c.X, c.y) for c in clients]
        result = RobustFL(shared, alike, aggregator=settings.aggregator, f=settings.f, rounds=3 * settings.rounds,
                          local_epochs=settings.epochs, batch_size=64, local_learning_rate=0.05, attacks=attacks,
                          workers=settings.workers, random_state=settings.seed).run()  # fmt: skip
        return dict.fromkeys(names, result.server_model), result
    federation = FedMD(
        clients, fold.public, rounds=settings.rounds, temperature=settings.temperature, kd_weight=settings.kd_weight,
        aggregator=settings.aggregator if way == FEDMD else "mean", f=settings.f if way == FEDMD else 0,
        space=settings.space, attacks=attacks if way == FEDMD else None, classes=CLASSES, eval_set=fold.test,
        revisit_epochs=settings.epochs, digest_epochs=settings.epochs if way == FEDMD else 0,
        initial_epochs=settings.initial_epochs, workers=settings.workers, random_state=settings.seed,
    )  # fmt: skip
    result = federation.run()
    trained = {c.name: c.model for c in result.clients}
    for name in attacks if way == FEDMD else ():
        trained[name] = trained[name].fit(*fold.private[name], classes=CLASSES)  # what it has for itself
    return trained, result


def _network(name: str, k: int, settings: VenueSettings) -> Any:
    from fastkd.models import MLPClassifier

    hidden = tuple(settings.hidden.get(name, HIDDEN[k % len(HIDDEN)]))
    epochs = settings.initial_epochs + settings.epochs * (settings.rounds - 1)
    return MLPClassifier(hidden, learning_rate=settings.learning_rate, epochs=max(epochs, 1),
                         random_state=1000 * settings.seed + k)  # fmt: skip
