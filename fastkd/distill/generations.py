"""One lineage of born-again networks: what each generation learns from, and the loop over generations."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastkd.losses import log_softmax, softmax
from fastkd.models._hyperparameters import checked_temperature, real
from fastkd.models._inputs import UNLABELLED

VARIANTS = ("ban", "ban+l", "cwtm", "dkpp", "label_smoothing")


@dataclass(frozen=True, eq=False)
class Material:
    """What all generations and all lineages of one fit share; read only."""

    rows: np.ndarray
    labels: np.ndarray  # as the caller gave them
    codes: np.ndarray  # column of each label, -1 without one
    weights: np.ndarray | None
    classes: np.ndarray
    validation: tuple[np.ndarray, np.ndarray] | None  # rows and codes


@dataclass(eq=False)
class Lineage:
    """Generations trained so far; usable after each of them."""

    generations: list[Any] = field(default_factory=list)
    history: dict[str, list[Any]] = field(
        default_factory=lambda: {
            name: []
            for name in (
                "temperature",
                "kd_weight",
                "learning_rate",
                "accuracy",
                "agreement",
                "val_accuracy",
                "val_loss",
            )
        }
    )
    best: int = 0
    error: BaseException | None = None

    def rank(self) -> tuple[float, float]:
        """Of the best generation, lower is better: validation error, then validation loss."""
        if not self.history["val_loss"]:
            return (0.0, 0.0) if self.generations else (np.inf, np.inf)
        return -self.history["val_accuracy"][self.best], self.history["val_loss"][self.best]


def of_generation(name: str, value: Any, generation: int, default: float) -> float:
    """A hyper-parameter given as a number, as one for each generation, or as generation -> number."""
    if value is None:
        return default
    if callable(value):
        return value(generation)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if generation >= len(value):
            raise ValueError(f"{name} has {len(value)} value(s), none for generation {generation}")
        return value[generation]
    return value


def soft_targets(
    teachers: Sequence[np.ndarray], variant: str, temperature: float, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Logits that the next generation learns from, made once from those of its teachers.

    More than one teacher: temperature * log of the mean of their probabilities at `temperature`, so that softening
    gives the mean back. `noise` adds a normal deviate of that standard deviation to every logit. "dkpp" leaves the
    largest logit of a row where it is and permutes the others at random (dark knowledge with permuted predictions,
    Furlanello et al. 2018).
    """
    logits = np.asarray(teachers[-1])
    if len(teachers) > 1:
        mean = np.mean([softmax(z, temperature) for z in teachers], axis=0)
        logits = (temperature * np.log(np.maximum(mean, np.finfo(logits.dtype).tiny))).astype(logits.dtype)
    if noise > 0.0:
        logits = logits + (noise * rng.standard_normal(logits.shape)).astype(logits.dtype)
    if variant == "dkpp":
        n, n_classes = logits.shape
        top = logits.argmax(axis=1)
        others = np.arange(n_classes) != top[:, None]
        permuted = logits.copy()
        permuted[others] = rng.permuted(logits[others].reshape(n, n_classes - 1), axis=1).ravel()
        logits = permuted
    return logits


def raise_lineage(
    ban: Any, material: Material, seed: int, stop: threading.Event, report: Callable[[int, Lineage], None]
) -> Lineage:
    """All generations of one run, each from fresh weights; an error ends the run and is kept in `error`."""
    rng = np.random.default_rng(seed)
    line = Lineage()
    teachers: list[np.ndarray] = []
    try:
        for k in range(ban.generations):
            if stop.is_set():
                break
            model, logits = _one_generation(ban, material, line, teachers, k, rng)
            teachers = [*teachers, logits] if ban.average_targets else [logits]
            line.generations.append(model)
            _judge(line, material, logits, k)
            report(k, line)
            if ban.patience is not None and k - line.best >= ban.patience:
                break
    except (Exception, KeyboardInterrupt) as error:
        line.error = error
        stop.set()
    return line


def _one_generation(
    ban: Any, material: Material, line: Lineage, teachers: list[np.ndarray], k: int, rng: np.random.Generator
) -> tuple[Any, np.ndarray]:
    """Generation k and its logits of the training rows."""
    variant = ban.variant
    temperature = checked_temperature(ban.temperature, max(k - 1, 0))
    rate = of_generation("learning_rate", ban.learning_rate, k, ban.model.learning_rate)
    rate = real(f"learning_rate of generation {k}", rate, low=0.0, low_open=True)
    labels: np.ndarray | None = material.labels
    weights, kept, soft, kd_weight = material.weights, slice(None), None, 0.0
    extra = {}
    if k == 0 or variant in ("cwtm", "label_smoothing"):
        if (material.codes == UNLABELLED).any():
            kept = material.codes != UNLABELLED  # nothing to learn from in the others
        if k and variant == "cwtm":
            confidence = softmax(teachers[-1]).max(axis=1).astype(np.float64)
            weights = confidence if weights is None else confidence * weights
        elif k:
            extra["label_smoothing"] = float(ban.label_smoothing)
    else:
        soft = soft_targets(teachers, variant, temperature, float(ban.noise), rng)
        kd_weight = 1.0
        if variant == "ban+l":
            kd_weight = of_generation("kd_weight", ban.kd_weight, k, 0.7)
            kd_weight = real(f"kd_weight of generation {k}", kd_weight, low=0.0, high=1.0)
        else:
            labels = None
    model = ban._fresh_model(
        temperature=temperature,
        kd_weight=kd_weight,
        learning_rate=rate,
        random_state=int(rng.integers(2**63)),
        **extra,
    )
    eval_set = None
    if material.validation is not None and getattr(model, "early_stopping", False):
        eval_set = material.validation[0], material.classes[material.validation[1]]
    model.fit(
        material.rows[kept],
        None if labels is None else labels[kept],
        teacher_logits=None if soft is None else soft[kept],
        sample_weight=None if weights is None else weights[kept],
        eval_set=eval_set,
        classes=material.classes,
    )
    logits = model.predict_logits(material.rows)
    history = line.history
    distilled = soft is not None
    history["temperature"].append(temperature if distilled else None)
    history["kd_weight"].append(kd_weight if distilled else None)
    history["learning_rate"].append(rate)
    history["agreement"].append(
        float((logits.argmax(axis=1) == teachers[-1].argmax(axis=1)).mean()) if teachers else None
    )
    return model, logits


def _judge(line: Lineage, material: Material, logits: np.ndarray, k: int) -> None:
    known = material.codes != UNLABELLED
    line.history["accuracy"].append(float((logits.argmax(axis=1)[known] == material.codes[known]).mean()))
    if material.validation is None:
        line.best = k
        return
    rows, codes = material.validation
    log_p = log_softmax(np.asarray(line.generations[k].predict_logits(rows), np.float64))
    line.history["val_accuracy"].append(float((log_p.argmax(axis=1) == codes).mean()))
    line.history["val_loss"].append(float(-log_p[np.arange(len(codes)), codes].mean()))
    accuracy, loss = line.history["val_accuracy"], line.history["val_loss"]
    if (-accuracy[k], loss[k]) < (-accuracy[line.best], loss[line.best]):
        line.best = k
