"""The command selfdistill: parts in time order, figures, files, errors."""

import json

import numpy as np
import pytest

from fastkd import cli
from fastkd.experiments.generations import generations_on_candles, parts_in_time
from fastkd.market import Candle, Candles, synthetic_market

QUICK = ["selfdistill", "--rows", "600", "--epochs", "3", "--generations", "3", "--seeds", "2", "--hidden", "6"]


def test_it_prints_and_writes_what_was_found(tmp_path, capsys):
    path, figure = tmp_path / "out.json", tmp_path / "out.svg"
    pytest.importorskip("matplotlib")
    assert cli.main([*QUICK, "--json", str(path), "--plot", str(figure)]) == 0
    out, err = capsys.readouterr()
    assert "generation 2" in out
    assert "majority baseline" in out
    assert err.splitlines()[-1] == "fastkd: seed 2 of 2"
    result = json.loads(path.read_text())
    assert np.shape(result["accuracy"]) == (2, 3)
    assert result["settings"]["generations"] == 3
    assert figure.read_text().lstrip().startswith("<?xml")
    assert cli.main([*QUICK, "--quiet", "--variant", "dkpp", "--decay", "0.5"]) == 0
    assert capsys.readouterr() == ("", "")


def test_candles_of_a_file(tmp_path, capsys):
    path = tmp_path / "candles.csv.gz"
    synthetic_market(900, random_state=1).to_csv(path)
    assert cli.main([*QUICK, "--candles", str(path), "--labels", "regime"]) == 0
    assert "classes" in capsys.readouterr().out


@pytest.mark.parametrize("labels", ["direction", "regime"])
def test_no_part_sees_the_next(labels):
    market = synthetic_market(800, random_state=0)
    columns = {name: getattr(market, name).copy() for name in Candle._fields}
    for name in ("open", "high", "low", "close"):
        columns[name][600:] *= 1.5  # after the last row of the validation part and its horizon
    same, changed = Candles(**{n: getattr(market, n) for n in columns}), Candles(**columns)
    before = parts_in_time(same, labels, "ohlcv4")
    sizes = [len(y) for _, y in before]
    after = parts_in_time(changed, labels, "ohlcv4")
    assert [len(y) for _, y in after] == sizes
    for part in (0, 1):
        np.testing.assert_array_equal(before[part][0], after[part][0])
        np.testing.assert_array_equal(before[part][1], after[part][1])
    assert (before[2][0] != after[2][0]).any()
    np.testing.assert_allclose(before[0][0].mean(axis=0), 0.0, atol=1e-9)  # scaled by the training part


def test_the_function_gives_the_data_of_the_plot():
    report = generations_on_candles(synthetic_market(600, random_state=0), generations=2, epochs=2, seeds=range(2))
    assert len(report.by_generation) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "1"], "--seeds must be at least 2"),
        (["--generations", "0"], "generations must be an integer >= 1"),
        (["--rows", "18"], "too few"),
        (["--candles", "missing.csv"], "missing.csv"),
        (["--temperature", "0"], "start must be a number"),
        (["--features", "none"], "none"),
    ],
)
def test_errors_take_one_line(more, message, capsys):
    assert cli.main([*QUICK, *more]) == 2
    err = capsys.readouterr().err
    assert err.startswith("fastkd: error: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_widths_are_checked_by_the_parser(capsys):
    assert cli.main(["selfdistill", "--hidden", "a,b"]) == 2
    assert "expected widths of hidden layers such as 32,16" in capsys.readouterr().err
