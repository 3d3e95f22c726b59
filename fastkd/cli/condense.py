"""`fastkd condense`: a table of features and labels into a few rows, with the verdict whether they are worth it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastkd.cli.common import Json, Source, check, read_all, say_steps, write_json, write_text

if TYPE_CHECKING:
    from fastkd.condense import Condensed

__all__ = ["condense"]

OK, INTERRUPTED = 0, 130
OUTPUTS = (".csv", ".npz")


def condense(
    file: Path,
    /,
    *,
    source: Source = Source(),  # noqa: B008 - frozen
    label: str | None = None,
    method: str = "gradient_matching",
    per_class: int = 10,
    output: Path | None = None,
    json: Json = None,
    plot: Path | None = None,
    iterations: int | None = None,
    checkpoint: Path | None = None,
    test_fraction: float = 0.3,
    features: str = "rich",
    threshold: str = "volatility",
    seeds: int = 5,
    seed: int = 0,
    workers: int = 1,
    quiet: bool = False,
) -> int:
    """Condense candles, or a table of features with a column of labels, to a few rows of each class.

    The last part of the rows, in time order, is kept for the test: models trained on the condensed rows are compared
    with models trained on all rows, on random rows, on centroids and on medoids.

    Parameters
    ----------
    file
        CSV, Parquet, a store of candles, or -: candles; with --label a CSV table of numbers.
    label
        Column of labels; without it the file holds candles.
    method
        Rows learnt: gradient_matching, distribution_matching, feature_alignment, trajectory_matching, unrolled, kip;
        or chosen: centroids, kmedoids, herding, kcenter, random. (linear_sketch is for least squares, from Python.)
    per_class
        Rows of each class.
    output
        The rows: .csv in the units of the features, or .npz standardized, with mean and scale in its info.
    json
        Also write all figures of the comparison; - for standard output.
    plot
        Also draw condensed rows among real ones (.png, .svg, .pdf).
    iterations
        Of the methods that learn rows.
    checkpoint
        Saved now and then; the same command goes on from it.
    test_fraction
        Share of the rows, the last ones, that judge.
    features
        Of candles: recipe of features.
    threshold
        Of candles: a larger move is UP or DOWN; volatility, or a fraction of the price.
    seeds
        Repetitions of the comparison.
    seed
        Of the condensation.
    workers
        Threads of the search.
    quiet
        Print errors only.
    """
    from fastkd import condense as library
    from fastkd.cli.outputs import check_plot
    from fastkd.features import Standardizer, time_split

    if method not in library.METHODS:
        raise ValueError(f"--method must be one of {', '.join(library.METHODS)}; got {method}")
    if method == "linear_sketch":
        raise ValueError("--method linear_sketch is for least squares: call fastkd.condense.condense from Python")
    if output is not None and output.suffix not in OUTPUTS:
        raise ValueError(f"--output must end in .csv or .npz; got {output}")
    check({"--output": output, "--json": json, "--plot": plot, "--checkpoint": checkpoint}, {"the data": [file]})
    check_plot(plot)
    if label is None:
        X, y, names, purge = _from_candles(file, source, features, threshold)
    else:
        X, y, names, purge = *_from_table(file, label), 0
    train, test = time_split(len(X), test_fraction=test_fraction, purge=purge)
    scaler = Standardizer().fit(X[train])
    before, after = (scaler.transform(X[part]).astype(np.float32) for part in (train, test))
    small = library.condense(
        before,
        y[train],
        method=method,
        per_class=per_class,
        random_state=seed,
        workers=workers,
        progress=not quiet,
        iterations=iterations,
        checkpoint=checkpoint,
    )
    small.info |= {"features": names, "mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist()}
    if output is not None:
        _write(small, output, names)
    if small.info.get("interrupted"):
        kept = f"; the best rows so far are in {output}" if output is not None else ""
        print(f"fastkd: interrupted after {small.info['iterations']} iterations{kept}", file=sys.stderr)
        return INTERRUPTED
    say_steps(quiet)(f"comparing with random rows, centroids and medoids, {seeds} seeds")
    report = library.evaluate(small, before, y[train], after, y[test], seeds=seeds)
    write_json(json, report.to_dict())
    if plot is not None:
        report.plot_rows(plot)
    if not quiet:
        print(f"{len(train):,} rows of {len(names)} features condensed to {len(small)}: {small.n_bytes:,} bytes")
        print(report)
        if output is not None:
            units = "raw" if output.suffix == ".csv" else "standardized"
            print(f"{len(small)} {units} rows written to {output}")
    return OK


def _from_candles(
    path: Path, source: Source, features: str, threshold: str
) -> tuple[np.ndarray, np.ndarray, list[str], int]:
    """Features of closed candles, the direction of the next, names, and the rows to purge."""
    from fastkd.features import FeatureSet
    from fastkd.forecast import Direction

    (candles,) = read_all([path], source)
    recipe = FeatureSet(features)
    X, _ = recipe.transform(candles)
    labels = Direction(threshold if threshold in ("volatility", "quantile") else float(threshold))
    y = labels.of(candles)[len(candles) - len(X) :]
    known = y != -1
    return X[known], y[known], list(recipe.names), labels.horizon


def _from_table(path: Path, label: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    import csv
    import gzip

    opener = gzip.open if path.suffix == ".gz" else open
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
    raw = small.X * np.array(small.info["scale"]) + small.info["mean"]
    lines = [",".join([*names, "label"])]
    lines += [",".join([*(repr(float(v)) for v in row), str(label)]) for row, label in zip(raw, small.y)]
    write_text(path, "\n".join(lines) + "\n")
