"""A whole forecaster in C against the live one, candle by candle, on synthetic and recorded candles, with gaps."""

import ctypes

import numpy as np
import pytest

from fastkd import Forecaster
from fastkd.deploy import ExportError, export_c
from fastkd.features import FeatureSet
from fastkd.forecast import Return
from fastkd.forecast.live import LiveForecaster
from fastkd.market import CandleError, Candles, synthetic_market
from fastkd.models import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:only .* rows to train")
RECIPES = ["rich", "ohlcv4", "regime3", "condense6"]
FLAGS = {
    "standard": ["-std=c99", "-O2"],
    "fast-math": ["-O3", "-march=native", "-ffast-math"],
    "no SIMD": ["-O2", "-DSTUDENT_LOOPS=1", "-DSTUDENT_SOFT_SQRT"],
}


class Candle(ctypes.Structure):
    _fields_ = (("start_ms", ctypes.c_int64), *((name, ctypes.c_double) for name in ("o", "h", "l", "c", "v")))


def fitted(features, labels=None, interval="5m"):
    student = MLPClassifier((8,), epochs=2, random_state=0) if labels is None else MLPRegressor((8,), epochs=2)
    more = {} if labels is None else {"labels": labels}
    candles = synthetic_market(900, random_state=0, interval=interval)
    return Forecaster(features, student=student, kd_weight=0.0, random_state=0, **more).fit(candles)


@pytest.fixture(scope="module", params=RECIPES)
def forecaster(request):
    return fitted(request.param)


def live_of(forecaster, on_gap="raise"):
    return LiveForecaster(forecaster.features, forecaster.student_, interval=forecaster.interval, on_gap=on_gap)


def pushes(c, candles, columns, n_outputs=3):
    """(codes, rows of features, answers) of the C, candle by candle, from a fresh state."""
    push_state, features_state = (ctypes.create_string_buffer(200_000) for _ in range(2))
    c.student_reset(push_state)
    c.student_reset(features_state)
    codes, rows, answers = [], [], []
    for start, *numbers in candles:
        given = Candle(int(start), *(float(v) for v in numbers[:5]))
        row, p = np.zeros(columns), np.zeros(n_outputs, np.float32)
        code = c.student_features(features_state, ctypes.byref(given), ctypes.c_void_p(row.ctypes.data))
        codes.append(c.student_push(push_state, ctypes.byref(given), ctypes.c_void_p(p.ctypes.data)))
        assert code == codes[-1]
        rows.append(row)
        answers.append(p)
    return np.array(codes), np.array(rows), np.array(answers)


def as_rows(candles):
    columns = (candles.start_ms, candles.open, candles.high, candles.low, candles.close, candles.volume)
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("flags", FLAGS)
def test_c_says_what_the_live_forecaster_says(tools, tmp_path, forecaster, flags):
    export_c(forecaster, tmp_path / "student.c", check=False)
    c = tools.built(tmp_path, "student", *FLAGS[flags])
    candles = synthetic_market(400, random_state=5, interval="5m")
    codes, rows, answers = pushes(c, as_rows(candles), len(forecaster.feature_names_))
    n = forecaster.features.n_warmup
    np.testing.assert_array_equal(codes, np.r_[np.ones(n), np.zeros(400 - n)])
    assert np.isnan(answers[:n]).all()
    X, _ = forecaster.features.transform(candles)
    np.testing.assert_array_equal(rows[n:].view(np.uint64), X.view(np.uint64))  # every bit
    live = live_of(forecaster)
    said = [live.push(candle) for candle in candles]
    np.testing.assert_allclose(answers[n:], said[n:], atol=2e-6)


def test_every_bit_on_recorded_candles(tools, tmp_path, data_dir):
    path = sorted(data_dir.glob("*BTCUSDT_1h.csv.gz"))[0]
    candles = Candles.read_csv(path)[:3000]
    forecaster = fitted("rich", interval=candles.interval)
    forecaster.symbol = candles.symbol
    export_c(forecaster, tmp_path / "student.c", check=False, on_gap="bridge")
    _, rows, _ = pushes(tools.built(tmp_path, "student"), as_rows(candles), len(forecaster.feature_names_))
    X, _ = forecaster.features.transform(candles)
    np.testing.assert_array_equal(rows[-len(X) :].view(np.uint64), X.view(np.uint64))


@pytest.mark.parametrize("on_gap", ["raise", "reset", "bridge"])
def test_gaps_and_impossible_candles_as_live(tools, tmp_path, on_gap):
    forecaster = fitted("condense6")
    export_c(forecaster, tmp_path / "student.c", check=False, on_gap=on_gap)
    rng = np.random.default_rng(0)
    candles = [list(candle) for candle in as_rows(synthetic_market(300, random_state=7, interval="5m"))]
    for k in rng.choice(np.arange(60, 300), 50, replace=False):
        kind, value = rng.integers(0, 5), rng.choice([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300])
        if kind == 0:
            candles[k][0] += int(rng.choice([-600_000, 1, 300_000]))
        elif kind < 3:
            candles[k][rng.integers(1, 6)] = value
    candles = [candle for k, candle in enumerate(candles) if k not in (80, 81, 200)]
    codes, _, answers = pushes(tools.built(tmp_path, "student"), candles, 6)
    live, wanted, seen = live_of(forecaster, on_gap), [], set()
    for candle in candles:
        try:
            said = live.push(int(candle[0]), *candle[1:])
            wanted.append(np.full(3, np.nan) if said is None else said)
            seen.add(1 if said is None else 0)
            expected = 1 if said is None else 0
            assert codes[len(wanted) - 1] == expected
        except CandleError:
            wanted.append(np.full(3, np.nan))
            assert codes[len(wanted) - 1] < 0
    assert seen == {0, 1}
    assert len(set(codes.tolist())) >= (5 if on_gap == "raise" else 4)
    np.testing.assert_allclose(answers, wanted, atol=2e-6)


def test_values_of_returns(tools, tmp_path):
    forecaster = fitted("ohlcv4", labels=Return())
    export_c(forecaster, tmp_path / "student.c", check=False)
    candles = synthetic_market(100, random_state=2, interval="5m")
    codes, _, answers = pushes(tools.built(tmp_path, "student"), as_rows(candles), 4, n_outputs=1)
    values, _ = forecaster.predict(candles)
    np.testing.assert_allclose(answers[codes == 0, 0], values, atol=4e-6 * np.abs(values).max())


def test_the_checks_of_a_forecaster_pass_and_can_fail(tools, tmp_path, monkeypatch, forecaster):
    tools.need("gcc")
    report = export_c(forecaster, tmp_path / "student.c", check=True, vectors=40, cc="gcc")
    assert "sanitizers" in report.checks
    for path in tmp_path.iterdir():
        path.unlink()
    from fastkd.deploy.export import c as module

    original = module.forecaster_files

    def off(*arguments):
        texts, found = original(*arguments)
        texts["student.c"] = texts["student.c"].replace("c->close", "c->open")
        return texts, found

    monkeypatch.setattr(module, "forecaster_files", off)
    with pytest.raises(ExportError, match="fails"):
        export_c(forecaster, tmp_path / "student.c", vectors=40)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_named(tmp_path):
    with pytest.raises(ExportError, match="not fitted"):
        export_c(Forecaster(), tmp_path / "student.c", check=False)
    forecaster = fitted("ohlcv4")
    with pytest.raises(ValueError, match="on_gap"):
        export_c(forecaster, tmp_path / "student.c", on_gap="ignore")
    with pytest.raises(ValueError, match="on_gap"):
        export_c(forecaster.student_, tmp_path / "student.c", on_gap="reset")
    hours = synthetic_market(100, random_state=0, interval="1h")
    with pytest.raises(ValueError, match="candles of 5m; got 1h"):
        export_c(forecaster, tmp_path / "student.c", vectors=hours)
    market = synthetic_market(100, random_state=0, interval="5m")
    gaps = Candles.concatenate([market[:60], market[62:]])
    with pytest.raises(ValueError, match="missing after number 59"):
        export_c(forecaster, tmp_path / "student.c", vectors=gaps, on_gap="bridge")
    with pytest.raises(ValueError, match="Candles"):
        export_c(forecaster, tmp_path / "student.c", vectors=np.zeros((3, 4)))
    forecaster.features = FeatureSet("rich", symbols=("ETHUSDT",))
    with pytest.raises(ExportError, match="other symbols"):
        export_c(forecaster, tmp_path / "student.c")
    assert list(tmp_path.iterdir()) == []
