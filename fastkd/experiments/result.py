"""What a run of the demo is told (`Settings`) and what it finds (`DemoResult`): plain data, no work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastkd._defaults import KD_WEIGHT, TEMPERATURE
from fastkd.evaluation import Evaluation, EvaluationReport
from fastkd.experiments.exported import Exported
from fastkd.experiments.latency import Latency

if TYPE_CHECKING:
    from fastkd.condense import CondenseReport
    from fastkd.distill import GenerationReport

CLASS_NAMES = ("DOWN", "FLAT", "UP")


@dataclass(frozen=True)
class Settings:
    """Sizes and hyper-parameters of the demo.

    A move beyond `threshold` is UP or DOWN; None takes 0.001 on the synthetic market, whose best forecast is known for
    it, and past volatility on other candles, as `fastkd.forecast.Direction` does.
    `few_labels` is how many labelled rows the second comparison keeps, `draws` how often labels are drawn anew for each
    point of the curve, `generations` are those of self-distillation on the last `generation_rows` candles, `folds`
    is how often the student is fitted anew walking forward, `desks` are the clients of the federation that shares
    gradients and `distilling_desks` those of the one that shares forecasts, `condensed_rows` is about how many rows are
    left of the last `condensed_from` of the training part, `latency_calls` is how often a forecast is timed.
    """

    rows: int = 40_000
    seed: int = 0
    threshold: float | None = None
    test_fraction: float = 0.25
    temperature: float = TEMPERATURE
    kd_weight: float = KD_WEIGHT
    teacher_hidden: tuple[int, ...] = (512, 256)
    student_hidden: tuple[int, ...] = (16, 12)
    teacher_epochs: int = 10
    teacher_learning_rate: float = 0.002
    teacher_l2: float = 3e-4
    student_epochs: int = 15
    student_learning_rate: float = 0.01
    batch_size: int = 128
    few_labels: int = 200
    draws: int = 3
    generations: int = 5
    generation_rows: int = 6000
    folds: int = 5
    desks: int = 10
    federation_rounds: int = 200
    distilling_desks: int = 5
    distilling_rounds: int = 5
    condensed_rows: int = 21
    condensed_from: int = 4000
    latency_calls: int = 20_000


@dataclass(frozen=True)
class Market:
    """The candles, and the rows made of them in time order: training part, then test part."""

    source: str
    interval: str
    candles: int
    gaps: int
    first_ms: int
    last_ms: int
    features: int
    train_rows: int
    test_rows: int
    train_shares: np.ndarray
    test_shares: np.ndarray
    test_from_ms: int
    bayes_accuracy: float | None
    close_ms: np.ndarray
    close: np.ndarray


@dataclass(frozen=True)
class Trained:
    """One model on the test part; `labels` it was taught with, `agreement`: share of rows answered as the teacher."""

    name: str
    labels: int
    report: EvaluationReport
    agreement: float
    parameters: int
    bytes: int
    seconds: float

    @property
    def evaluation(self) -> Evaluation:
        """Figures of all test rows."""
        return self.report.overall.evaluation


@dataclass(frozen=True)
class Comparison:
    """The same student taught twice: by its hard labels alone, and by the teacher on all training rows besides."""

    hard: Trained
    distilled: Trained


@dataclass(frozen=True)
class CurvePoint:
    """Test accuracy of the student with `labels` hard labels, one entry a draw of labels and initial weights."""

    labels: int
    hard: tuple[float, ...]
    distilled: tuple[float, ...]

    @property
    def gain(self) -> float:
        """What the teacher adds to the labels, on average."""
        return (sum(self.distilled) - sum(self.hard)) / len(self.hard)


@dataclass(frozen=True)
class Federation:
    """Test accuracy of federated students: `accuracy[i, j]` under attack i of `hostile` clients, with rule j."""

    clients: int
    hostile: int
    attacks: tuple[str, ...]
    rules: tuple[str, ...]
    accuracy: np.ndarray


@dataclass(frozen=True)
class Distillation:
    """Test accuracy of desks that share forecasts: `accuracy[i, k]` of way i to learn with draw k of the labels.

    The ways are alone, FedMD, all rows in one place, and FedMD with one liar for each rule; the liar's own rows are
    left out of every figure. `bytes_sent` are those of one federation without a liar.
    """

    desks: int
    labels: int
    ways: tuple[str, ...]
    accuracy: np.ndarray
    majority: float
    test_rows: int
    bytes_sent: int

    def difference(self, way: str, other: str) -> tuple[float, float]:
        """How much more accurate `way` is on average, and its standard error: over draws or test rows, the larger."""
        ours, theirs = (self.accuracy[self.ways.index(name)] for name in (way, other))
        share, gaps = float(theirs.mean()), ours - theirs
        by_rows = (2 * share * (1 - share) / self.test_rows) ** 0.5
        by_draws = gaps.std(ddof=1) / len(gaps) ** 0.5 if len(gaps) > 1 else 0.0
        return float(gaps.mean()), float(max(by_rows, by_draws))


@dataclass(frozen=True)
class DemoResult:
    """Everything the tables, the plots and the report show."""

    settings: Settings
    version: str
    isa: str
    market: Market
    teacher: Trained
    full: Comparison
    few: Comparison
    curve: tuple[CurvePoint, ...]
    generations: GenerationReport | None
    walk: EvaluationReport
    federation: Federation
    distillation: Distillation | None
    condensed: CondenseReport | None
    latency: tuple[tuple[Latency, Latency], ...]
    seconds: float
    exported: tuple[Exported, ...] = ()

    @property
    def compression(self) -> float:
        """How many times fewer parameters the student has than the teacher."""
        return self.teacher.parameters / self.full.distilled.parameters

    def kept(self, student: Trained) -> float | None:
        """Share of the teacher's lead over the majority baseline that a student keeps; None if there is no lead."""
        teacher = self.teacher.evaluation
        return student.evaluation.lead / teacher.lead if teacher.beats_majority else None

    def models(self) -> list[Trained]:
        """The models in the order in which every table and plot shows them."""
        return [self.teacher, self.full.hard, self.full.distilled, self.few.hard, self.few.distilled]
