"""`fastkd condense`: a table of features and labels into a few rows, with the verdict whether they are worth it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastkd.condense import Condensed

__all__ = ["add_condense"]

OK, INTERRUPTED = 0, 130
OUTPUTS = (".csv", ".npz")


def add_condense(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "condense",
        help="a few rows that should train a model as well as all of FILE, and the verdict",
        description="Condense candles, or a table of features with a column of labels, to a few rows of each class. "
        "The last part of the rows, in time order, is kept for the test: "
        "models trained on the condensed rows are compared with models "
        "trained on all rows, on random rows, on centroids and on medoids.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV (or .csv.gz): candles, or numbers with --label")
    parser.add_argument("--label", metavar="COLUMN", help="column of labels; without it FILE holds candles")
    parser.add_argument(
        "--method",
        default="gradient_matching",
        metavar="NAME",
        help="rows learnt: gradient_matching, distribution_matching, feature_alignment, trajectory_matching, unrolled, "
        "kip; or chosen: centroids, kmedoids, herding, kcenter, random (%(default)s)",
    )
    parser.add_argument("--per-class", type=int, default=10, metavar="N", help="rows of each class (%(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the rows, .csv or .npz")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures of the comparison")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="condensed rows among real ones, as an image")
    parser.add_argument("--iterations", type=int, metavar="N", help="of the methods that learn rows")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="saved now and then; the same command goes on")
    parser.add_argument("--test-fraction", type=float, default=0.3, metavar="F", help="last rows (%(default)s)")
    parser.add_argument(
        "--threshold", type=float, default=0.001, metavar="R", help="of candles: a larger relative move is UP or DOWN"
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="of the comparison (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the condensation (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads of the search (%(default)s)")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(run=_condense)


def _condense(options: argparse.Namespace) -> int:
    from fastkd.cli.outputs import check_outputs, check_plot
    from fastkd.condense import METHODS, condense, evaluate
    from fastkd.features import Standardizer, time_split

    if options.method not in METHODS:
        raise ValueError(f"--method must be one of {', '.join(METHODS)}; got {options.method}")
    if options.method == "linear_sketch":
        raise ValueError("--method linear_sketch is for least squares: call fastkd.condense.condense from Python")
    if options.output is not None and options.output.suffix not in OUTPUTS:
        raise ValueError(f"--output must end in .csv or .npz; got {options.output}")
    flags = ("output", "json", "plot", "checkpoint")
    check_outputs({f"--{flag}": getattr(options, flag) for flag in flags}, {"the data": [options.file]})
    check_plot(options.plot)
    if options.label is None:
        X, y, names, purge = _from_candles(options.file, options.threshold)
    else:
        X, y, names, purge = *_from_table(options.file, options.label), 0
    train, test = time_split(len(X), test_fraction=options.test_fraction, purge=purge)
    scaler = Standardizer().fit(X[train])
    before, after = (scaler.transform(X[part]).astype(np.float32) for part in (train, test))
    extra: dict[str, Any] = {"iterations": options.iterations, "checkpoint": options.checkpoint}
    small = condense(
        before,
        y[train],
        method=options.method,
        per_class=options.per_class,
        random_state=options.seed,
        workers=options.workers,
        progress=not options.quiet,
        **extra,
    )
    small.info |= {"features": names, "mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist()}
    if options.output is not None:
        _write(small, options.output, names)
    if small.info.get("interrupted"):
        kept = f"; the best rows so far are in {options.output}" if options.output is not None else ""
        print(f"fastkd: interrupted after {small.info['iterations']} iterations{kept}", file=sys.stderr)
        return INTERRUPTED
    report = evaluate(small, before, y[train], after, y[test], seeds=options.seeds)
    if options.json is not None:
        options.json.write_text(json.dumps(report.to_dict(), indent=1), encoding="utf-8")
    if options.plot is not None:
        report.plot_rows(options.plot)
    if not options.quiet:
        print(f"{len(train):,} rows of {len(names)} features condensed to {len(small)}: {small.n_bytes:,} bytes")
        print(report)
        if options.output is not None:
            print(f"{len(small)} standardized rows written to {options.output}")
    return OK


def _from_candles(path: Path, threshold: float) -> tuple[np.ndarray, np.ndarray, list[str], int]:
    """Features of closed candles, the direction of the next, names, and the rows to purge."""
    from fastkd.cli.demo import read_candles
    from fastkd.features import FeatureSet, direction_labels

    candles = read_candles(path)
    recipe = FeatureSet("condense6")
    X, _ = recipe.transform(candles)
    y = direction_labels(candles, threshold=threshold)[len(candles) - len(X) :]
    known = y != -1
    return X[known], y[known], list(recipe.names), 1


def _from_table(path: Path, label: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    import csv
    import gzip

    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        head = next(lines, [])
        if label not in head:
            raise ValueError(f"{path} has no column {label!r}; it has {', '.join(head[:20])}")
        at = head.index(label)
        rows, labels = [], []
        for number, line in enumerate(lines, start=2):
            if len(line) != len(head):
                raise ValueError(f"{path} line {number} has {len(line)} entries; the head has {len(head)}")
            labels.append(line.pop(at))
            try:
                rows.append([float(entry) for entry in line])
            except ValueError as error:
                raise ValueError(f"{path} line {number}: {error}") from None
    if not rows:
        raise ValueError(f"{path} holds no rows")
    return np.array(rows), np.array(labels), head[:at] + head[at + 1 :]


def _write(small: Condensed, path: Path, names: list[str]) -> None:
    if path.suffix == ".npz":
        small.save(path)
        return
    lines = [",".join([*names, "label"])]
    lines += [",".join([*(repr(float(v)) for v in row), str(label)]) for row, label in zip(small.X, small.y)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
