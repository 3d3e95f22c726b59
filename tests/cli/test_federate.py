"""The commands federate and distill, on synthetic markets: tables, files, TOML, errors."""

import json

import numpy as np
import pytest

import fastkd
from fastkd import cli
from fastkd.experiments.venues import FEDAVG, FEDMD, LOCAL, POOLED, Venue, VenueSettings, run_venues
from fastkd.experiments.venues_report import figures, summary, verdict
from fastkd.features import FeatureSet
from fastkd.federated import FedMD
from fastkd.market import Candle, Candles, synthetic_market
from fastkd.models import MLPClassifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three files of candles: the same market seen with other noise."""
    path = tmp_path_factory.mktemp("candles")
    for k, name in enumerate("abc"):
        market = synthetic_market(2500, random_state=k)
        candles = Candles(*(getattr(market, column) for column in Candle._fields))
        candles.to_csv(path / f"{name}.csv.gz")
    return path


QUICK = ["--features", "ohlcv4", "--threshold", "0.001", "--folds", "1", "--rounds", "2", "--epochs", "1"]
QUICK += ["--initial-epochs", "2", "--public-rows", "200"]


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    return code, *capsys.readouterr()


def test_federate_compares_writes_and_draws(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    files = sorted(folder.glob("*.csv.gz"))
    more = ["--models", tmp_path / "models", "--json", tmp_path / "f.json", "--plot", tmp_path / "f.png"]
    code, out, _ = run(capsys, "federate", *files, *QUICK, *more)
    assert code == 0
    for way in (LOCAL, FEDMD, FEDAVG, POOLED):
        assert way in out
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["bytes"] == [2 * 3 * 200 * 3 * 4, 1 * 3 * 200 * 3 * 4]
    assert set(found["by_venue"][FEDMD]) == {"a", "b", "c"}
    assert len(found["rounds"][0]) == 2
    assert "The students of FedMD, all venues together:" in out
    assert "skill (nats)" in out
    assert found["report"]["overall"]["accuracy"]["value"] == found["evaluations"][FEDMD]["accuracy"]
    assert (tmp_path / "f.png").stat().st_size > 5000
    model = fastkd.load(tmp_path / "models" / "b.safetensors")
    X, _ = FeatureSet("ohlcv4").transform(Candles.read_csv(files[1]))
    assert model.predict_proba(X[:5]).shape == (5, 3)


def test_a_toml_file_holds_the_settings_and_flags_win(folder, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(
        f'files = ["{folder.as_posix()}/a.csv.gz", "{folder.as_posix()}/b.csv.gz", "{folder.as_posix()}/c.csv.gz"]\n'
        'features = "ohlcv4"\nfolds = 1\nrounds = 9\nepochs = 1\ninitial_epochs = 2\ntemperature = 2\n'
        'aggregator = "median"\n[attacks]\nc = "LossMaximization"\n[hidden]\na = [8]\n'
    )
    code, out, _ = run(capsys, "federate", "--config", config, "--rounds", 1, "--json", tmp_path / "f.json",
                       "--models", tmp_path)  # fmt: skip
    assert code == 0
    assert "(hostile)" in out
    assert "The students of FedMD, the honest venues together:" in out
    settings = json.loads((tmp_path / "f.json").read_text())["settings"]
    assert (settings["rounds"], settings["temperature"], settings["aggregator"]) == (1, 2.0, "median")
    assert fastkd.load(tmp_path / "a.safetensors").n_parameters == 4 * 8 + 8 + 8 * 3 + 3


@pytest.mark.parametrize(
    ("toml", "arguments", "words"),
    [
        ("rounds = ", [], "is not TOML"),
        ("round = 3", [], "[round]"),
        ('labels = "many"', [], "labels"),
        ("", ["--attack", "a"], "VENUE=ATTACK"),
        ("", ["--attack", "z=SignFlip"], "attacks names venues that do not exist: z"),
        ("", ["--attack", "a=Client"], "unknown attack 'Client'"),
        ("", ["--test-share", "0.9"], "below 1 together"),
        ("", ["--folds", "200"], "fewer than 30 test rows"),
        ("", ["--json", "/no/such/folder/f.json"], "there is no folder"),
        ("", ["--folds", "0"], "folds must be an integer >= 1; got 0"),
        ("", ["--labels", "-5"], "labels must be an integer >= 0; got -5"),
        ("", ["--public-rows", "-5"], "public_rows must be an integer >= 1; got -5"),
        ("", ["--workers", "0"], "workers must be an integer >= 1, or -1 for all cores; got 0"),
        ("", ["--temperature", "nan"], "temperature must be a number"),
        ("", ["--space", "cosmos"], "space must be one of"),
        ("", ["--aggregator", "krum", "--f", "1"], "krum"),
        ("", ["--plot", "f.xyz"], "--plot must end in one of"),
        ('files = "BTC.csv"', [], "files must be a list of names"),
        ("files = [1, 2]", [], "files must be a list of names"),
        ("[hidden]\na = 32", [], "hidden"),
        ('[hidden]\na = ["x"]', [], "hidden"),
    ],
)
def test_errors_are_one_line_and_come_before_the_training(
    folder, tmp_path, capsys, monkeypatch, toml, arguments, words
):
    monkeypatch.setattr(MLPClassifier, "fit", None)
    monkeypatch.setattr(FedMD, "run", None)
    config = tmp_path / "run.toml"
    config.write_text(toml)
    files = sorted(folder.glob("*.gz"))
    code, _, err = run(capsys, "federate", *files, *QUICK, "--config", config, *arguments, "--quiet")
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_one_file_is_no_federation(folder, capsys):
    code, _, err = run(capsys, "federate", folder / "a.csv.gz", "--features", "ohlcv4", "--quiet")
    assert code == 2
    assert "at least two" in err


def venues(shift=0):
    """Two venues with one rule and little of it each; rows an hour apart."""
    rng = np.random.default_rng(0)
    made = []
    for name in ("x", "y"):
        X = rng.normal(size=(900, 4))
        y = np.where(X[:, 0] + X[:, 1] > 0.5, 2, np.where(X[:, 0] + X[:, 1] < -0.5, 0, 1))
        made.append(Venue(name, X, y, 3_600_000 * np.arange(shift, 900 + shift)))
    return made


def test_what_is_said_follows_from_the_figures():
    settings = VenueSettings(labels=15, folds=2, rounds=6, learning_rate=0.01, initial_epochs=40)
    result = run_venues(venues(), settings)
    local, fed, pooled = (result.evaluations[way].accuracy for way in (LOCAL, FEDMD, POOLED))
    assert fed > local
    assert pooled > local
    assert "FedMD" in verdict(result)
    assert f"{100 * (fed - local):+.2f}" in summary(result)
    assert figures(result)["evaluations"][FEDMD]["accuracy"] == fed
    same = run_venues(venues(), settings, ways=(LOCAL,))
    assert same.evaluations[LOCAL].log_loss == result.evaluations[LOCAL].log_loss


def test_the_report_joins_venues_by_time_and_keeps_folds_apart():
    settings = VenueSettings(folds=2, rounds=1, epochs=1, initial_epochs=5, horizon=2)
    markets = venues()
    result = run_venues(markets, settings, ways=(LOCAL, FEDMD))
    assert np.array_equal(np.unique(result.folds), [0, 1])
    assert (np.diff(result.folds) >= 0).all()
    rows = [i for _, a, b in result.periods
            for i in np.flatnonzero((markets[0].start_ms >= a) & (markets[0].start_ms < b))[:-2]]  # fmt: skip
    assert np.array_equal(result.truth, np.column_stack([v.y[rows] for v in markets]).ravel())  # x, y, x, y, ...
    for way in (LOCAL, FEDMD):
        assert result.proba[way][::2].argmax(axis=1).tolist() != result.proba[way][1::2].argmax(axis=1).tolist()
        report = result.report(way)
        assert str(report.overall.evaluation) == str(result.evaluations[way])
        assert [part.evaluation.n for part in report.folds] == np.bincount(result.folds).tolist()
        shares = [result.by_venue[way][name].accuracy for name in "xy"]
        assert report.overall.evaluation.accuracy == pytest.approx(np.mean(shares))
        assert report.overall.intervals["lead"].low <= report.overall.value("lead")


def test_private_comes_before_public_before_test():
    """What happens in the test period changes nothing before it: the students are the same."""
    settings = VenueSettings(folds=1, rounds=1, epochs=1, initial_epochs=2)
    plain = venues()
    ((public_from, test_from, _),) = run_venues(plain, settings, ways=(FEDMD,)).periods
    assert 0 < public_from < test_from
    bent = [Venue(v.name, np.where(v.start_ms[:, None] >= test_from, 9.0, v.X), v.y, v.start_ms) for v in plain]
    one, other = (run_venues(v, settings, ways=(FEDMD,)).models for v in (plain, bent))
    for name in one:
        np.testing.assert_array_equal(one[name].parameters, other[name].parameters)


def test_distill_writes_a_forecaster_and_its_teacher(folder, tmp_path, capsys):
    small = ["--teacher-hidden", "24", "--teacher-epochs", 2, "--student-epochs", 2, "--features", "ohlcv4"]
    files = ["--output", tmp_path / "s.safetensors", "--save-teacher", tmp_path / "t.safetensors"]
    code, out, _ = run(capsys, "distill", folder / "a.csv.gz", *files, *small, "--json", tmp_path / "s.json")
    assert code == 0
    words = [line.split()[0] for line in out.splitlines() if line]
    at = words.index("parameters")
    assert words[at + 1 : at + 5] == ["teacher", "labels", "distilled", "majority"]
    assert str(tmp_path / "s.safetensors") in out
    candles = Candles.read_csv(folder / "a.csv.gz")
    found = fastkd.load(tmp_path / "s.safetensors")
    assert found.student_.n_parameters == 4 * 32 + 32 + 32 * 16 + 16 + 16 * 3 + 3
    hand = fastkd.Forecaster(
        "ohlcv4", random_state=0, student=found.student,
        teacher=fastkd.load(tmp_path / "t.safetensors"),
    ).fit(candles)  # fmt: skip
    np.testing.assert_array_equal(found.predict_proba(candles)[0], hand.predict_proba(candles)[0])
    figures = json.loads((tmp_path / "s.json").read_text())
    assert figures["metrics"]["distilled"] == found.metrics_ == hand.metrics_
    again = ["--teacher", tmp_path / "t.safetensors", "--output", tmp_path / "s2.safetensors", "--student-hidden", ""]
    code, out, _ = run(capsys, "distill", folder / "b.csv.gz", *again, "--student-epochs", 1, "--features", "ohlcv4")
    assert code == 0
    assert fastkd.load(tmp_path / "s2.safetensors").student_.n_parameters == 4 * 3 + 3


def test_distill_errors(folder, tmp_path, capsys):
    code, _, err = run(capsys, "distill", folder / "a.csv.gz", "--output", "/no/such/place/s.safetensors")
    assert code == 2
    assert "there is no folder" in err
    assert cli.main(["distill", "x.csv", "--output", "s", "--student-hidden", "8,x"]) == 2
    assert "widths of hidden layers" in capsys.readouterr().err


def lost(capsys, *arguments):
    """The one line of an error that comes before any file of the folder changes."""
    code, _, err = run(capsys, *arguments, "--quiet")
    assert code == 2
    assert err.count("\n") == 1
    return err


@pytest.fixture
def few(folder, tmp_path):
    """Copies of the candles, and settings that name them, for a command that could overwrite them."""
    for name in "ab":
        (tmp_path / f"{name}.csv.gz").write_bytes((folder / f"{name}.csv.gz").read_bytes())
    (tmp_path / "run.toml").write_text("")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    yield tmp_path
    assert all(path.read_bytes() == content for path, content in before.items())


def test_federate_overwrites_none_of_its_files(few, capsys):
    start = ["federate", few / "a.csv.gz", few / "b.csv.gz", "--config", few / "run.toml", *QUICK]
    assert "--json" in (err := lost(capsys, *start, "--json", few / "b.csv.gz"))
    assert "would overwrite the candles" in err
    assert "would overwrite the settings" in lost(capsys, *start, "--json", few / "run.toml")
    assert "a file, not a folder" in lost(capsys, *start, "--models", few / "run.toml" / "models")
    assert "overwrite what --json writes" in lost(capsys, *start, "--json", few / "f.png", "--plot", few / "f.png")
    (few / "models" / "b.safetensors").mkdir(parents=True)
    assert "is a folder" in lost(capsys, *start, "--models", few / "models")


def test_distill_overwrites_none_of_its_files(few, folder, capsys):
    start = ["distill", few / "a.csv.gz", "--output"]
    assert "would overwrite the candles" in lost(capsys, *start, few / "a.csv.gz")
    assert "would overwrite the candles" in lost(capsys, *start, few / "s", "--save-teacher", few / "a.csv.gz")
    assert "overwrite the teacher" in lost(capsys, *start, few / "b.csv.gz", "--teacher", few / "b.csv.gz")
    assert "overwrite what --output writes" in lost(capsys, *start, few / "s", "--save-teacher", few / "s")
    (few / "link").hardlink_to(few / "a.csv.gz")
    assert "would overwrite the candles" in lost(capsys, *start, few / "link")


def test_the_other_commands_overwrite_none_of_their_files(few, capsys):
    candles = few / "a.csv.gz"
    for flag in ("--json", "--plot"):
        assert "would overwrite the candles" in lost(capsys, "selfdistill", "--candles", candles, flag, candles)
    for flag in ("--json", "--plot", "--checkpoint"):
        assert "would overwrite the data" in lost(capsys, "condense", candles, flag, candles)
    rows = few / "rows.npz"
    assert "overwrite what --output writes" in lost(capsys, "condense", candles, "--output", rows, "--json", rows)
    assert not rows.exists()
