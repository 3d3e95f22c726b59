"""The report on condensed sets: scores with intervals, costs, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastkd.condense.condensed import Condensed
from fastkd.evaluation.bootstrap import Interval, default_block

RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Trial:
    """One way to get training rows, with one downstream model."""

    name: str
    model: str
    rows: int
    n_bytes: int
    scores: np.ndarray  # (seeds, test rows): 1 for a right answer, or minus the squared error
    train_seconds: float
    condense_seconds: float
    full: bool
    learnt: bool
    draws: int = 0  # condensed sets that were drawn: 1 is the same for all seeds, 0 not told


@dataclass(frozen=True, eq=False)
class CondenseReport:
    """What `evaluate` found.

    Attributes
    ----------
    trials : tuple of Trial
    verdict : str
        One sentence a downstream model and size.
    """

    trials: tuple[Trial, ...]
    y_test: np.ndarray
    regression: bool
    confidence: float = 0.95
    sets: dict[str, Condensed] = field(default_factory=dict)
    real: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def joined(cls, reports: Sequence[CondenseReport]) -> CondenseReport:
        """Folds of a walk forward as one report: test rows one after the other, seconds averaged."""
        trials = []
        for parts in zip(*(r.trials for r in reports)):
            first = parts[0]
            if {(t.name, t.model) for t in parts} != {(first.name, first.model)}:
                raise ValueError("the folds have different sets: every fold needs the same classes and sizes")
            scores = np.hstack([t.scores for t in parts])
            train, cost = (
                float(np.mean([getattr(t, k) for t in parts])) for k in ("train_seconds", "condense_seconds")
            )
            trials.append(
                Trial(
                    first.name,
                    first.model,
                    first.rows,
                    first.n_bytes,
                    scores,
                    train,
                    cost,
                    first.full,
                    first.learnt,
                    first.draws,
                )
            )
        last = reports[-1]
        y = np.concatenate([r.y_test for r in reports])
        return cls(tuple(trials), y, last.regression, last.confidence, last.sets, last.real)

    @property
    def metric(self) -> str:
        return "R2" if self.regression else "balanced accuracy"

    def weights(self) -> np.ndarray:
        """Weight of each test row, summing to 1: with them the mean of right answers is the balanced accuracy."""
        if self.regression:
            y = self.y_test.reshape(len(self.y_test), -1)
            spread = float(((y - y.mean(axis=0)) ** 2).sum())
            return np.full(len(y), 1 / max(spread, 1e-300))  # R2 = 1 + weighted sum
        _, codes, counts = np.unique(self.y_test, return_inverse=True, return_counts=True)
        return 1 / (len(counts) * counts[codes])

    def score(self, trial: Trial) -> float:
        """Balanced accuracy or R2, mean over seeds."""
        return float((trial.scores @ self.weights()).mean()) + self.regression

    def accuracy(self, trial: Trial) -> float:
        return float("nan") if self.regression else float(trial.scores.mean())

    def difference(self, one: Trial, other: Trial) -> tuple[float, Interval]:
        """How much better `one` is, with its interval: seeds and blocks of test rows resampled together."""
        gap = (one.scores - other.scores) * self.weights()
        rng = np.random.default_rng(0)
        seeds, n = gap.shape
        edges = np.arange(0, n, default_block(n))
        blocks = np.add.reduceat(gap, edges, axis=1)
        some = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds @ blocks
        times = rng.multinomial(len(edges), np.full(len(edges), 1 / len(edges)), RESAMPLES)
        drawn = (some * times).sum(axis=1)
        tail = (1 - self.confidence) / 2
        return float(gap.sum(axis=1).mean()), Interval(*np.quantile(drawn, [tail, 1 - tail]).tolist())

    @property
    def verdict(self) -> str:
        sentences = []
        for model in dict.fromkeys(t.model for t in self.trials):
            mine = [t for t in self.trials if t.model == model and not t.full]
            simple = [t for t in mine if not t.learnt]
            for rows in sorted({t.rows for t in mine if t.learnt} if simple else ()):
                nearest = min((t.rows for t in simple), key=lambda n: abs(n - rows))
                where = f"{model}, {rows} rows" + ("" if nearest == rows else f" against {nearest}")
                rivals = [t for t in simple if t.rows == nearest]
                sentences.append(self._sentence([t for t in mine if t.learnt and t.rows == rows], rivals, where))
        return "\n".join(sentences) or "no verdict: nothing learnt to compare with simple sets of the same size"

    def _sentence(self, learnt: list[Trial], simple: list[Trial], where: str) -> str:
        best, rival = max(learnt, key=self.score), max(simple, key=self.score)
        gap, (low, high) = self.difference(best, rival)
        unit = 1 if self.regression else 100
        numbers = f"{unit * gap:+.3g} [{unit * low:+.3g}, {unit * high:+.3g}]" + ("" if self.regression else " points")
        name, other = (t.name.replace("_", " ") for t in (best, rival))
        cost = f"{best.condense_seconds:.2g} s against {rival.condense_seconds:.2g} s"
        if len(learnt) > 1:  # chosen by their score: the interval does not know of the choice
            cost += f"; the best of {len(learnt)} learnt and {len(simple)} simple sets"
        if best.draws == 1 and len(best.scores) > 1:  # nor how much another draw would differ
            cost += "; of one set: another that is drawn alike may do otherwise"
        if low > 0:
            return f"{where}: {name} wins: {numbers} of {self.metric} over {other} ({cost})."
        if high < 0:
            won = f"{other} {'win' if other.endswith('s') else 'wins'}"
            return f"{where}: {won}; {name} is not worth its cost here: {numbers} of {self.metric} ({cost})."
        seen = f"no difference can be seen between {name} and {other}: {numbers} of {self.metric}"
        return f"{where}: {seen}; {name} is not worth its cost here ({cost})."

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single answers, ready for JSON."""
        rows = []
        for t in self.trials:
            spread = (t.scores @ self.weights()).std(ddof=1) if len(t.scores) > 1 else 0.0
            rows.append(
                {
                    "name": t.name,
                    "model": t.model,
                    "rows": t.rows,
                    "bytes": t.n_bytes,
                    self.metric.replace(" ", "_"): self.score(t),
                    "sd_over_seeds": float(spread),
                    "accuracy": None if self.regression else self.accuracy(t),
                    "train_seconds": t.train_seconds,
                    "condense_seconds": t.condense_seconds,
                }
            )
        return {"verdict": self.verdict, "majority": self.majority, "test_rows": len(self.y_test), "trials": rows}

    @property
    def majority(self) -> float | None:
        """Accuracy of always answering the most frequent class of the test rows."""
        if self.regression:
            return None
        return float(np.unique(self.y_test, return_counts=True)[1].max() / len(self.y_test))

    def __str__(self) -> str:
        head = f"{'rows from':<24}{'model':<12}{'rows':>8}{'bytes':>12}{self.metric:>20}{'accuracy':>10}"
        head += f"{'train s':>9}{'made in s':>11}"
        lines = [head, "-" * len(head)]
        for row in self.to_dict()["trials"]:
            score = f"{row[self.metric.replace(' ', '_')]:.3f} ± {row['sd_over_seeds']:.3f}"
            accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
            lines.append(
                f"{row['name']:<24}{row['model']:<12}{row['rows']:>8}{row['bytes']:>12}{score:>20}{accuracy:>10}"
                f"{row['train_seconds']:>9.3f}{row['condense_seconds']:>11.3f}"
            )
        if self.majority is not None:
            chance = 1 / len(np.unique(self.y_test))
            lines.append(f"majority baseline: accuracy {self.majority:.3f}, balanced accuracy {chance:.3f}")
        lines += [
            "",
            self.verdict,
            "Condensed feature rows hold no price path: a strategy cannot be back-tested on them.",
        ]
        return "\n".join(lines)

    def plot(self, path: Any = None) -> Any:
        """Score against the number of rows, a panel a downstream model; a matplotlib figure, also saved to `path`."""
        from fastkd.condense.plots import plot_scores

        return plot_scores(self, path)

    def plot_rows(self, path: Any = None) -> Any:
        """Condensed rows among real ones, on the first two principal axes of the real rows."""
        from fastkd.condense.plots import plot_rows

        return plot_rows(self, path)
