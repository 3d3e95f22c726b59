"""The command condense: candles or a table in, rows and a verdict out."""

import json
import re

import numpy as np
import pytest

from fastkd import cli
from fastkd.condense import METHODS, Condensed
from fastkd.market import synthetic_market


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    X = rng.normal(size=(300, 2)) + 2 * y[:, None]
    lines = ["a,move,b", *(f"{a},{'up' if t else 'down'},{b}" for (a, b), t in zip(X, y))]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments):
    return cli.main(["condense", *map(str, arguments)])


def test_a_table(table, tmp_path, capsys):
    out = [tmp_path / name for name in ("small.csv", "small.npz", "report.json")]
    options = [
        "--label",
        "move",
        "--method",
        "distribution_matching",
        "--iterations",
        30,
        "--per-class",
        2,
        "--seeds",
        2,
    ]
    assert run(table, *options, "--output", out[0], "--json", out[2]) == 0
    text = capsys.readouterr().out
    assert "210 rows of 2 features condensed to 4: 36 bytes" in text
    assert "worth its cost" in text or "wins" in text
    assert out[0].read_text().splitlines()[0] == "a,b,label"
    assert len(out[0].read_text().splitlines()) == 5
    assert json.loads(out[2].read_text())["trials"][0]["name"] == "full"
    assert run(table, *options, "--output", out[1], "--quiet") == 0
    assert capsys.readouterr().out == ""
    small = Condensed.load(out[1])
    assert small.info["features"] == ["a", "b"]
    assert small.y.tolist() == ["down", "down", "up", "up"]


def test_candles(tmp_path, capsys):
    path = tmp_path / "candles.csv"
    synthetic_market(1500, random_state=0).to_csv(path)
    assert run(path, "--method", "centroids", "--per-class", 3, "--seeds", 1) == 0
    assert "features condensed to" in capsys.readouterr().out


def test_help_names_every_method(capsys):
    assert run("--help") == 0
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert set(METHODS) - {"linear_sketch"} <= words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "move", "--method", "magic"], "--method must be one of"),
        (["--label", "move", "--method", "linear_sketch"], "least squares"),
        (["--label", "price"], "has no column 'price'"),
        (["--label", "move", "--output", "x.txt"], "must end in .csv or .npz"),
        (["--label", "move", "--per-class", "1000"], "fewer than per_class=1000"),
        (["--label", "a"], "line 2"),
    ],
)
def test_errors_are_one_line(table, capsys, arguments, message):
    assert run(table, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
