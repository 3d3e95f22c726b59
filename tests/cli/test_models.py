"""train, distill, evaluate, predict: one forecaster from candles anywhere to figures anywhere; doctor and bench."""

import gzip
import io
import json
import os
import stat
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import fastkd
from fastkd import cli
from fastkd.market import CandleStore, synthetic_market

pytest.importorskip("cyclopts")
SMALL = ["--teacher-hidden", "8", "--teacher-epochs", "1", "--student-hidden", "4", "--student-epochs", "1"]
SMALL += ["--features", "ohlcv4"]


@pytest.fixture(scope="module")
def candles():
    return synthetic_market(1500, random_state=0, symbol="XUSDT")


@pytest.fixture(scope="module")
def folder(candles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("candles")
    candles.to_csv(folder / "x.csv")
    candles.to_csv(folder / "x.csv.gz")
    with CandleStore(folder / "x.db") as store:
        store.write(candles)
        store.write(candles.resample("1h"))
    return folder


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def model(folder):
    path = folder / "m.safetensors"
    command = ["distill", folder / "x.csv", "--output", path, "--symbol", "XUSDT", "--end", "2024-01-05", "--quiet"]
    assert cli.main([str(a) for a in [*command, *SMALL]]) == 0
    return path


# -- candles from anywhere --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", [["x.csv"], ["x.csv.gz"], ["x.db", "--symbol", "XUSDT", "--interval", "5m"], ["x.db", "--interval", "5"]]
)
def test_candles_from_every_kind_of_file_give_the_same_student(capsys, folder, tmp_path, source, monkeypatch):
    monkeypatch.chdir(folder)
    code, out, _ = run(capsys, "distill", *source, "--output", tmp_path / "m", *SMALL)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80 + len(str(tmp_path / "m"))
    assert "1,500 candles" in out
    assert "no gaps" in out
    got = fastkd.load(tmp_path / "m")
    run(capsys, "distill", "x.csv", "--output", tmp_path / "n", *SMALL)
    np.testing.assert_array_equal(got.student_.parameters, fastkd.load(tmp_path / "n").student_.parameters)


@pytest.mark.parametrize("packed", [False, True])
def test_candles_from_standard_input(capsys, folder, tmp_path, monkeypatch, packed):
    data = (folder / "x.csv").read_bytes()
    pipe = io.BytesIO(gzip.compress(data) if packed else data)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    assert run(capsys, "train", "-", "--output", tmp_path / "m", "--hidden", 4, "--epochs", 1)[0] == 0
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"start_ms,open\n1,x\n")))
    code, _, err = run(capsys, "train", "-", "--output", tmp_path / "m")
    assert (code, err.count("\n")) == (2, 1)
    assert "standard input" in err
    assert "/tmp/" not in err


def test_a_store_says_of_which_category_the_model_is(capsys, candles, tmp_path):
    with CandleStore(tmp_path / "spot.db") as store:
        store.write(candles, "spot")
    with CandleStore(tmp_path / "linear.db") as store:
        store.write(candles.named("YUSDT"))
    quick = ["--hidden", "4", "--epochs", "1", "--features", "ohlcv4", "--quiet"]
    assert run(capsys, "train", tmp_path / "spot.db", "--output", tmp_path / "m", *quick)[0] == 0
    assert fastkd.load(tmp_path / "m").category == "spot"
    both = [tmp_path / "spot.db", tmp_path / "linear.db"]
    code, _, err = run(capsys, "train", *both, "--output", tmp_path / "n", *quick)
    assert code == 2
    assert "linear and spot" in err
    assert not (tmp_path / "n").exists()


def test_parquet(capsys, candles, tmp_path):
    pytest.importorskip("pyarrow")
    candles.to_parquet(tmp_path / "x.parquet")
    assert (
        run(capsys, "train", tmp_path / "x.parquet", "--output", tmp_path / "m", "--hidden", 4, "--epochs", 1)[0] == 0
    )
    assert fastkd.load(tmp_path / "m").symbol == "XUSDT"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.db"], "several series: say symbol and interval"),
        (["x.db", "--symbol", "Y"], "no such series"),
        (["x.csv", "--interval", "1h"], "most candles are 5m apart"),
        (["x.csv", "--category", "spot"], "for a store"),
        (["x.csv", "--start", "2030-01-01"], "no candles between"),
        (["x.csv", "--labels", "barrier", "--threshold", "0.1"], "not a setting of --labels barrier"),
        (["x.csv", "--quantile", "0.1"], "not a setting of --labels direction"),
        (["x.csv", "--threshold", "5"], "training rows are FLAT"),
        (["x.csv", "--threshold", "much"], "threshold"),
        (["x.csv", "--horizon", "5000"], "horizon of 5000"),
        (["x.csv", "--features", "none"], "unknown feature set"),
        (["x.csv", "--student-hidden", "4,x"], "widths"),
        (["x.csv", "--student-epochs", "2.5"], "student-epochs"),
        (["none.csv"], "No such file"),
        (["x.csv", "--teacher", "x.csv"], "not a safetensors file"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(capsys, folder, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    code, out, err = run(capsys, "distill", *arguments, "--output", tmp_path / "m", "--quiet")
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("fastkd: error: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_warnings_are_one_line(capsys, folder, tmp_path):
    code, _, err = run(capsys, "distill", folder / "x.csv", "--start", "2024-01-05", "--output", tmp_path / "m",
                       "--quiet", *SMALL)  # fmt: skip
    assert code == 0
    assert err.startswith("fastkd: warning: only ")
    assert err.count("\n") == 1


def test_settings_from_toml_and_flags_that_win(capsys, folder, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        'features = "ohlcv4"\nhorizon = 3\nstudent_hidden = [4, 3]\nstudent_epochs = 1\nteacher_epochs = 1\n'
    )
    fixed = ["distill", folder / "x.csv", "--output", tmp_path / "m"]
    assert run(capsys, *fixed, "--config", config, "--horizon", 2)[0] == 0
    found = fastkd.load(tmp_path / "m")
    assert (found.features.name, found.labels.horizon, found.student_.hidden) == ("ohlcv4", 2, (4, 3))
    config.write_text("horizont = 3\n")
    code, _, err = run(capsys, *fixed, "--config", config)
    assert code == 2
    assert "horizont" in err
    assert run(capsys, *fixed, "--config", tmp_path / "none.toml")[0] == 2


# -- what comes out ---------------------------------------------------------------------------------------------------


def test_the_report_names_file_dates_split_recipe_and_labels(capsys, folder, tmp_path):
    code, out, err = run(capsys, "distill", folder / "x.csv", "--output", tmp_path / "m", *SMALL)
    assert code == 0
    found = fastkd.load(tmp_path / "m")
    for word in ("2024-01-01 00:00", "FeatureSet('ohlcv4')", "threshold='volatility'", "labels only", "majority",
                 f"{found.metrics_['n']:,} rows", "µs", f"fastkd live {tmp_path / 'm'}"):  # fmt: skip
        assert word in out
    assert "fastkd: teacher" in err


@pytest.mark.skipif(os.name != "posix", reason="links and devices of POSIX")
@pytest.mark.parametrize("command", ["distill", "train"])
def test_output_never_replaces_a_device_or_a_link(capsys, folder, tmp_path, command):
    target, link = tmp_path / "v1.safetensors", tmp_path / "latest.safetensors"
    target.write_bytes(b"old")
    link.symlink_to(target.name)
    small = SMALL if command == "distill" else ["--hidden", "4", "--epochs", "1"]
    assert run(capsys, command, folder / "x.csv", "--output", link, "--quiet", *small)[0] == 0
    assert link.is_symlink()
    assert fastkd.load(target).metrics_
    assert run(capsys, command, folder / "x.csv", "--output", "/dev/null", "--quiet", *small)[0] == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    if os.path.exists("/dev/full"):
        code, _, err = run(capsys, command, folder / "x.csv", "--output", "/dev/full", "--quiet", *small)
        assert code == 2
        assert err == "fastkd: error: /dev/full: No space left on device\n"
        assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_evaluate_refuses_trained_dates_and_takes_later_ones(capsys, folder, model, tmp_path):
    code, _, err = run(capsys, "evaluate", model, folder / "x.csv")
    assert code == 2
    assert "trained on" in err
    assert "are later" in err
    begin = fastkd.load(model).test_span[0]
    later = ["--start", str(begin)]
    code, out, _ = run(capsys, "evaluate", model, folder / "x.csv", *later, "--json", tmp_path / "e.json")
    assert code == 0
    assert "majority" in out
    figures = json.loads((tmp_path / "e.json").read_text())
    assert figures["overall"]["accuracy"]["value"] == pytest.approx(
        fastkd.load(model)
        .evaluate(synthetic_market(1500, random_state=0, symbol="XUSDT").between(begin))
        .overall.evaluation.accuracy
    )
    code, out, _ = run(capsys, "evaluate", model, folder / "x.csv", *later, "--json", "-")
    assert json.loads(out) == figures
    code, out, _ = run(capsys, "evaluate", model, folder / "x.csv", "--walk-forward", 2)
    assert code == 0
    assert "fold 2" in out
    assert max(map(len, out.splitlines())) <= 80


def test_predict_is_the_table_of_signals(capsys, folder, model, candles, tmp_path):
    pandas = pytest.importorskip("pandas")
    code, out, err = run(capsys, "predict", model, folder / "x.csv")
    assert (code, err) == (0, "")
    got = pandas.read_csv(io.StringIO(out))
    want = fastkd.load(model).signals(candles)
    assert got.columns.tolist() == want.columns.tolist()
    np.testing.assert_array_equal(got["known_at_ms"], want["known_at_ms"])
    np.testing.assert_allclose(got["p_UP"], want["p_UP"], rtol=1e-6)
    assert got["forecast"].tolist() == want["forecast"].tolist()
    assert pandas.to_datetime(got["known_at"]).dt.tz_localize(None).tolist() == want["known_at"].tolist()
    if pytest.importorskip("pyarrow"):
        assert run(capsys, "predict", model, folder / "x.csv", "--output", tmp_path / "p.parquet")[0] == 0
        assert pandas.read_parquet(tmp_path / "p.parquet")["position"].tolist() == want["position"].tolist()


def test_predict_and_evaluate_need_a_forecaster_of_these_candles(capsys, folder, model, tmp_path):
    from fastkd.models import MLPClassifier

    MLPClassifier((2,)).initialize(4, 3).save(tmp_path / "bare")
    for path, file, words in (
        (tmp_path / "bare", "x.csv", "without features and labels"),
        (model, "none.csv", "No such file"),
        (folder / "x.csv", "x.csv", "not a safetensors file"),
    ):
        for command in ("predict", "evaluate"):
            code, _, err = run(capsys, command, path, folder / file)
            assert code == 2
            assert words in err
    code, _, err = run(capsys, "predict", model, folder / "x.db", "--symbol", "XUSDT", "--interval", "1h")
    assert code == 2
    assert "5m" in err
    assert "1h" in err
    assert "XUSDT" in run(capsys, "predict", model, folder / "x.csv", "--symbol", "YUSDT")[2]
    assert run(capsys, "predict", model, folder / "x.csv", "--symbol", "YUSDT", "--any-symbol")[0] == 0


def test_train_makes_a_teacher_for_distill(capsys, folder, tmp_path):
    options = ["--features", "ohlcv4", "--labels", "regime", "--horizon", "5"]
    big = tmp_path / "big"
    assert run(capsys, "train", folder / "x.csv", "--output", big, "--hidden", "8", "--epochs", 1, *options)[0] == 0
    small = [*SMALL[4:8], *options]
    code, _, _ = run(capsys, "distill", folder / "x.csv", "--teacher", big, "--output", tmp_path / "m", *small)
    assert code == 0
    assert fastkd.load(tmp_path / "m").labels.names == ("BULL", "BEAR", "SIDEWAYS")
    code, _, err = run(capsys, "distill", folder / "x.csv", "--teacher", big, "--output", tmp_path / "m", "--quiet")
    assert code == 2
    assert "same features and labels" in err


def test_a_file_knows_how_its_teacher_was_made(capsys, folder, model, tmp_path):
    held = fastkd.load(model)
    assert held.teacher.hidden == (8,)
    more = ["--end", "2024-01-05", "--quiet", "--features", "ohlcv4"]
    command = ["distill", folder / "x.csv", "--teacher", model, "--output", tmp_path / "m", *more]
    assert run(capsys, *command, "--student-hidden", 4, "--student-epochs", 1)[0] == 0
    store = tmp_path / "x.db"
    code, _, err = run(capsys, "live", tmp_path / "m", "--symbol", "XUSDT", "--store", store, "--retrain")
    assert code == 2
    assert "could not hold its teacher" in err


def test_returns(capsys, folder, tmp_path):
    options = ["--features", "ohlcv4", "--labels", "return", "--quantile", "0.1"]
    code, out, _ = run(capsys, "distill", folder / "x.csv", "--output", tmp_path / "m", *SMALL, *options)
    assert code == 0
    assert "skill" in out
    code, out, _ = run(capsys, "predict", tmp_path / "m", folder / "x.csv")
    assert out.startswith("known_at,known_at_ms,close,forecast\n")


# -- the machine ------------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong_and_says_what_is_there(capsys):
    code, out, _ = run(capsys, "doctor", "--json", "-")
    found = json.loads(out)
    assert found["fastkd"] == fastkd.__version__
    assert found["isa"] == fastkd.isa()
    assert code == (1 if found["problems"] else 0)
    assert not [fault for fault in found["problems"] if "wrong" in fault]
    code, out, _ = run(capsys, "doctor")
    assert fastkd.isa() in out
    assert max(map(len, out.splitlines())) <= 80 + len(os.path.dirname(fastkd.__file__))


def test_doctor_finds_a_kernel_that_is_wrong(capsys, monkeypatch):
    monkeypatch.setattr("fastkd.losses.softmax", lambda z: np.zeros_like(z))
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "softmax in float32 is wrong" in out


def test_bench_has_a_row_for_each_peer(capsys, monkeypatch, tmp_path):
    code, out, _ = run(capsys, "bench", "--seconds", 0.1, "--json", tmp_path / "b.json")
    assert code == 0
    rows = json.loads((tmp_path / "b.json").read_text())
    assert {row["other"] for row in rows} >= {"NumPy"}
    assert all(row["fastkd"] > 0 and row["theirs"] > 0 for row in rows)
    assert "ratio" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--teacher", "m.safetensors", "--teacher-hidden", "8"], "--teacher-hidden is of a teacher that is trained"),
        (["--teacher", "m.safetensors", "--teacher-epochs", "1"], "--teacher-epochs is of a teacher that is trained"),
        (["--teacher", "m.safetensors", "--kd-weight", "0"], "--teacher is not asked"),
        (["--temperature", "2", "--kd-weight", "0"], "--temperature is of soft labels; with --kd-weight 0"),
        (["--temperature", "2", "--labels", "return"], "--temperature is of soft labels; with --labels return"),
        (["--save-teacher", "t.pkl"], "--save-teacher t.pkl: a model is written as safetensors"),
        (["--output", "m.pkl"], "--output m.pkl: a model is written as safetensors; name it *.safetensors"),
    ],
)
def test_options_in_vain_and_names_of_other_formats(capsys, folder, model, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    output = [] if "--output" in arguments else ["--output", tmp_path / "m"]
    code, out, err = run(capsys, "distill", "x.csv", *arguments, *output, "--features", "ohlcv4", "--quiet")
    assert (code, out) == (2, "")
    assert words in err
    assert sorted(folder.iterdir()) == before
    assert not list(tmp_path.iterdir())


def test_train_and_predict_refuse_names_of_other_formats(capsys, folder, model, tmp_path):
    code, _, err = run(capsys, "train", folder / "x.csv", "--output", tmp_path / "m.onnx")
    assert code == 2
    assert "m.onnx: a model is written as safetensors" in err
    code, _, err = run(capsys, "predict", model, folder / "x.csv", "--output", tmp_path / "x.xlsx")
    assert code == 2
    assert "x.xlsx: forecasts are written as CSV or Parquet; name it *.csv or *.parquet" in err
    assert not list(tmp_path.iterdir())


def test_standard_output_has_one_writer(capsys, folder, model):
    code, out, err = run(capsys, "predict", model, folder / "x.csv", "--json", "-")
    assert (code, out) == (2, "")
    assert "--output and --json would both write to standard output" in err


@pytest.mark.parametrize("command", ["predict", "live"])
def test_help_names_standard_output_as_it_is_typed(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "[default: -]" in out
    assert "/dev/stdin" not in out
