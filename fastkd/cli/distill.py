"""`fastkd distill`: a small model for trading from a large one, as a model file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastkd.cli.config import chosen, layers, read_config
from fastkd.evaluation import agreement, evaluate, evaluation_report

__all__ = ["DistillSettings", "add_distill"]

CLASSES = np.arange(3)


@dataclass(frozen=True)
class DistillSettings:
    """What the user of `fastkd distill` may choose."""

    features: str = "ohlcv4"
    threshold: float = 0.001
    horizon: int = 1
    test_fraction: float = 0.25
    temperature: float = 3.0
    kd_weight: float = 0.7
    teacher_hidden: tuple[int, ...] = (256, 128)
    student_hidden: tuple[int, ...] = (16, 12)
    teacher_epochs: int = 10
    student_epochs: int = 15
    seed: int = 0


HELP = {
    "features": "recipe of features",
    "threshold": "a larger relative move is UP or DOWN",
    "horizon": "candles that a label looks ahead",
    "test_fraction": "share of the candles, the last ones, to judge by",
    "temperature": "of the soft labels",
    "kd_weight": "of the soft labels, against the hard ones",
    "teacher_hidden": "hidden layers of the teacher, unless --teacher gives one",
    "student_hidden": "hidden layers of the student",
    "teacher_epochs": "at most; it stops early",
    "student_epochs": "passes over the rows",
    "seed": "of everything random",
}


def add_distill(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    distill = commands.add_parser(
        "distill",
        help="a small model from a large one, on candles; written as a model file",
        description="Distill a teacher (a model file, or one that is trained here) into a small network, compare both "
        "and a student without a teacher on later candles, and write the student, which takes raw features.",
    )
    distill.add_argument("candles", type=Path, metavar="FILE", help="candles, .csv or .csv.gz")
    distill.add_argument("--output", type=Path, required=True, metavar="FILE", help="the student, .safetensors")
    distill.add_argument("--teacher", type=Path, metavar="FILE", help="a saved model of the same features, raw")
    distill.add_argument("--save-teacher", type=Path, metavar="FILE", help="write the teacher that was trained")
    distill.add_argument("--config", type=Path, metavar="FILE", help="TOML with these settings; a flag wins")
    for name, text in HELP.items():
        default = getattr(DistillSettings, name)
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        kind: Any = layers if isinstance(default, tuple) else type(default)
        metavar = "N,N" if isinstance(default, tuple) else kind.__name__.upper()
        flag = "--" + name.replace("_", "-")
        distill.add_argument(flag, type=kind, default=None, metavar=metavar, help=f"{text} ({shown})")
    distill.add_argument("--quiet", action="store_true", help="print errors only")
    distill.set_defaults(run=_distill)


def _distill(options: argparse.Namespace) -> int:
    from fastkd.cli.outputs import check_outputs
    from fastkd.distill import distill
    from fastkd.features import FeatureSet, Standardizer, direction_labels, time_split
    from fastkd.market import Candles

    settings = chosen(DistillSettings, options, read_config(options.config, set(HELP)))
    check_outputs(
        {"--output": options.output, "--save-teacher": options.save_teacher},
        {"the candles": [options.candles], "the teacher": [options.teacher], "the settings": [options.config]},
    )
    candles = Candles.read_csv(options.candles, symbol=options.candles.name, strict=True)
    recipe = FeatureSet(settings.features)
    X, _ = recipe.transform(candles)
    y = direction_labels(candles, settings.threshold, settings.horizon)[recipe.n_warmup :]
    X, y = X[y >= 0], y[y >= 0]
    train, test = time_split(len(y), test_fraction=settings.test_fraction, purge=settings.horizon)
    scaler = Standardizer().fit(X[train])
    rows = scaler.transform(X).astype(np.float32)

    raw: Any
    if options.teacher is not None:
        from fastkd._io import load

        teacher, raw = load(options.teacher), X
    else:
        teacher = _network(settings.teacher_hidden, settings.teacher_epochs, settings, early_stopping=True, l2=3e-4)
        raw = rows
        teacher.fit(rows[train], y[train], classes=CLASSES)
    logits = teacher.predict_logits(raw[train])
    said: dict[str, Any] = {"teacher": teacher.predict_proba(raw[test])}
    alone = _network(settings.student_hidden, settings.student_epochs, settings)
    alone.fit(rows[train], y[train], classes=CLASSES)
    said["labels only"] = alone.predict_proba(rows[test])
    student = _network(settings.student_hidden, settings.student_epochs, settings)
    distill(logits, student, rows[train], y[train], temperature=settings.temperature, kd_weight=settings.kd_weight)
    said["distilled"] = student.predict_proba(rows[test])
    sizes = {"teacher": teacher, "labels only": alone, "distilled": student}
    if not options.quiet:
        print(_table(said, sizes, y[test]))
        print("\nThe distilled student:", evaluation_report(y[test], said["distilled"]), sep="\n")
    student.scaler = scaler
    student.save(options.output)
    if options.save_teacher is not None:
        if options.teacher is None:
            teacher.scaler = scaler
        teacher.save(options.save_teacher)
    if not options.quiet:
        print(f"The student is in {options.output}.")
    return 0


def _network(hidden: tuple[int, ...], epochs: int, settings: DistillSettings, **more: Any) -> Any:
    from fastkd.models import MLPClassifier

    return MLPClassifier(hidden, epochs=epochs, learning_rate=0.003, lr_schedule="cosine", batch_size=128,
                         random_state=settings.seed, **more)  # fmt: skip


def _table(said: dict[str, np.ndarray], models: dict[str, Any], y: np.ndarray) -> str:
    lines = [f"{'':14}{'parameters':>11}{'accuracy':>10}{'majority':>10}{'MCC':>8}{'log-loss':>10}{'as teacher':>12}"]
    answers = said["teacher"].argmax(axis=1)
    for name, proba in said.items():
        e = evaluate(y, proba, n_classes=len(CLASSES))
        lines.append(
            f"{name:14}{models[name].n_parameters:>11,}{100 * e.accuracy:>9.2f}%{100 * e.majority:>9.2f}%{e.mcc:>8.3f}"
            f"{e.log_loss:>10.4f}{100 * agreement(proba, answers):>11.1f}%"
        )
    return "\n".join(lines)
