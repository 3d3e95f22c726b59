"""Do generations help? Figures by generation over seeds, beside one training and an ensemble of the same cost."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastkd.distill.born_again import BornAgain
from fastkd.evaluation.metrics import class_shares, evaluate
from fastkd.models._labels import encode_labels

# 97.5 % quantiles of Student's t with 1 .. 10 degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


class Mean(NamedTuple):
    """Mean over seeds and half the width of its 95 % interval (Student's t)."""

    value: float
    half: float

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} ± {100 * self.half:.2f}"


def mean_over_seeds(values: Any) -> Mean:
    """Mean of independent repetitions with its 95 % interval; at least two.

    >>> mean_over_seeds([0.5, 0.7])
    Mean(value=0.6, half=1.2706)
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(f"an interval needs at least two seeds; got shape {x.shape}")
    free = len(x) - 1
    quantile = STUDENT[free - 1] if free <= len(STUDENT) else 1.95996 + 2.3723 / free + 2.8223 / free**2
    return Mean(round(float(x.mean()), 10), round(float(quantile * x.std(ddof=1) / np.sqrt(len(x))), 10))


@dataclass(frozen=True, eq=False)
class GenerationReport:
    """Test accuracy of everything that was compared; one row a seed.

    Attributes
    ----------
    accuracy, balanced_accuracy, mcc, log_loss : (seeds, generations) array
        Of every generation; column 0 is one training on the labels.
    picked : (seeds,) array
        Accuracy of the generation that validation picked; `best_generation` says which.
    born_again_ensemble, ensemble : (seeds,) array
        Accuracy of the mean over the generations, and over as many independent networks trained on the labels.
    class_shares : (n_classes,) array
        Among the test rows; the greatest is the accuracy of who always answers that class.
    """

    accuracy: np.ndarray
    balanced_accuracy: np.ndarray
    mcc: np.ndarray
    log_loss: np.ndarray
    best_generation: np.ndarray
    picked: np.ndarray
    born_again_ensemble: np.ndarray
    ensemble: np.ndarray
    class_shares: np.ndarray

    @property
    def majority(self) -> float:
        """Accuracy of always answering the most frequent class."""
        return float(self.class_shares.max())

    @property
    def by_generation(self) -> list[Mean]:
        """Accuracy of each generation: what a plot of accuracy by generation shows."""
        return [mean_over_seeds(column) for column in self.accuracy.T]

    def gain(self, name: str) -> Mean:
        """Gain over one training, seed by seed: of "picked", "last", "born_again_ensemble" or "ensemble"."""
        values = self.accuracy[:, -1] if name == "last" else getattr(self, name)
        return mean_over_seeds(values - self.accuracy[:, 0])

    def __str__(self) -> str:
        shares = " ".join(f"{100 * share:.1f}" for share in self.class_shares)
        lines = [
            f"test accuracy in %, mean of {len(self.picked)} seeds and its 95 % interval; classes {shares} %, so the "
            f"majority baseline is {100 * self.majority:.2f}"
        ]
        for k, mean in enumerate(self.by_generation):
            rest = (self.balanced_accuracy[:, k].mean(), self.mcc[:, k].mean(), self.log_loss[:, k].mean())
            figures = f"balanced {100 * rest[0]:.2f}  MCC {rest[1]:+.3f}  log-loss {rest[2]:.4f}"
            lines.append(f"  {f'generation {k}':<22}{mean!s:<16}{figures}")
        for name, text in (
            ("picked", "picked by validation"),
            ("born_again_ensemble", "mean of generations"),
            ("ensemble", "independent ensemble"),
        ):
            mean, gain = mean_over_seeds(getattr(self, name)), self.gain(name)
            lines.append(f"  {text:<22}{mean!s:<16}gain {100 * gain.value:+.2f} ± {100 * gain.half:.2f}")
        return "\n".join([*lines, self.verdict()])

    def verdict(self) -> str:
        """One sentence, whatever came out."""
        gain, rival = self.gain("picked"), mean_over_seeds(self.picked - self.ensemble)
        best = max((mean_over_seeds(v) for v in (self.picked, self.ensemble)), key=lambda mean: mean.value)
        if best.value - best.half <= self.majority:
            return "Neither generations nor an ensemble measurably beat the majority baseline."
        if gain.value > gain.half:
            said = "Self-distillation beats one training"
        elif gain.value < -gain.half:
            said = "Self-distillation is worse than one training"
        else:
            said = "Self-distillation gives no measurable gain over one training"
        if rival.value > rival.half:
            return said + " and beats an ensemble of independent networks of the same cost."
        if rival.value < -rival.half:
            return said + "; an ensemble of independent networks of the same cost does better."
        return said + "; it does not differ measurably from an ensemble of independent networks of the same cost."

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain lists, for JSON."""
        arrays = (
            "class_shares",
            "accuracy",
            "balanced_accuracy",
            "mcc",
            "log_loss",
            "best_generation",
            "picked",
            "born_again_ensemble",
            "ensemble",
        )
        return {
            **{name: np.round(getattr(self, name), 5).tolist() for name in arrays},
            "verdict": self.verdict(),
        }

    def plot(self, path: Any = None) -> Any:
        """A matplotlib figure of accuracy by generation; written to `path` if one is given."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.subplots()
        means = self.by_generation
        axes.errorbar(
            range(len(means)),
            [m.value for m in means],
            [m.half for m in means],
            marker="o",
            capsize=3,
            label="generation",
        )
        level = mean_over_seeds(self.ensemble)
        axes.axhline(level.value, color="C1", label=f"{len(means)} independent networks")
        axes.axhspan(level.value - level.half, level.value + level.half, color="C1", alpha=0.15)
        axes.set(xlabel="generation", ylabel="test accuracy", xticks=range(len(means)))
        axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure


def compare_generations(
    born_again: BornAgain,
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    *,
    eval_set: Any = None,
    seeds: Iterable[int] = range(5),
    progress: Callable[[int], None] | None = None,
) -> GenerationReport:
    """Train all generations, and as many independent networks, from several seeds; judge all on the test rows.

    All networks train on the same rows: without `eval_set`, the last rows that `born_again` holds out to pick a
    generation are left out for the independent networks too.

    Parameters
    ----------
    born_again : BornAgain
        How to train; its `random_state` is replaced by each seed.
    X, y, eval_set :
        As for `BornAgain.fit`.
    X_test, y_test :
        Rows that nothing was trained on or picked by.
    seeds : iterable of int
        At least two.
    progress : callable, optional
        Called with the number of seeds done.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.distill import BornAgain, compare_generations
    >>> from fastkd.models import MLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> y = (X[:, 0] > 0).astype(int)
    >>> ban = BornAgain(MLPClassifier((4,), epochs=5, learning_rate=0.01), generations=3)
    >>> report = compare_generations(ban, X[:200], y[:200], X[200:], y[200:], seeds=range(3))
    >>> report.accuracy.shape, len(report.by_generation)
    ((3, 3), 3)
    """
    figures: dict[str, list] = {name: [] for name in ("accuracy", "balanced_accuracy", "mcc", "log_loss")}
    best, picked, own, others = [], [], [], []
    codes = np.empty(0, np.int64)
    seeds = list(seeds)
    if len(seeds) < 2:
        raise ValueError(f"a comparison needs at least two seeds; got {seeds}")
    cut = len(X) if eval_set is not None else len(X) - _held_out(born_again, len(X))
    for number, seed in enumerate(seeds):
        params = {**born_again.get_params(deep=False), "random_state": seed}
        ban = BornAgain(**params).fit(X, y, eval_set=eval_set)
        codes = encode_labels(np.asarray(y_test), ban.classes_).astype(np.int64)
        probas = ban.member_probas(X_test)
        independent = BornAgain(**{**params, "generations": 1, "validation_fraction": 0.0, "callback": None})
        networks = [ban.generations_[0]]  # the first network of the ensemble is generation 0
        for k in range(1, ban.generations):
            independent.set_params(random_state=np.random.default_rng([seed, k]))
            networks.append(independent.fit(X[:cut], y[:cut], classes=ban.classes_).generations_[0])
        together = np.mean([network.predict_proba(X_test) for network in networks], axis=0)
        judged = [evaluate(codes, p) for p in probas]
        judged += [judged[-1]] * (ban.generations - len(judged))  # `patience` ended the run: nothing came after
        for name, rows in figures.items():
            rows.append([getattr(evaluation, name) for evaluation in judged])
        best.append(ban.best_generation_)
        picked.append(judged[ban.best_generation_].accuracy)
        own.append((probas.mean(axis=0).argmax(axis=1) == codes).mean())
        others.append((together.argmax(axis=1) == codes).mean())
        if progress is not None:
            progress(number + 1)
    return GenerationReport(
        **{name: np.array(rows) for name, rows in figures.items()},
        best_generation=np.array(best),
        picked=np.array(picked),
        born_again_ensemble=np.array(own),
        ensemble=np.array(others),
        class_shares=class_shares(codes, len(ban.classes_)),
    )


def _held_out(born_again: BornAgain, n: int) -> int:
    fraction = born_again.validation_fraction
    return max(1, round(fraction * n)) if fraction > 0.0 else 0
