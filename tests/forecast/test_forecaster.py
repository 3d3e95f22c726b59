"""Forecaster: one object from candles to forecasts; what does not fit it is refused with both sides named."""

import copy
import pickle

import numpy as np
import pytest

import fastkd
from fastkd import Forecaster
from fastkd.features import FeatureSet, Standardizer, direction_labels, forward_returns
from fastkd.forecast import Direction, RegimeAhead, Return, TripleBarrier
from fastkd.market import Candles, synthetic_market
from fastkd.models import MLPClassifier, MLPRegressor

CANDLES = synthetic_market(2500, random_state=0, symbol="XUSDT")
PAST, LATER = CANDLES[:2000], CANDLES[2000:]
QUICK = {"student": MLPClassifier((8,), epochs=3, learning_rate=0.01), "random_state": 0}
TEACHER = MLPClassifier((16,), epochs=3, learning_rate=0.01)


@pytest.fixture(scope="module")
def forecaster():
    return Forecaster(teacher=TEACHER, **QUICK).fit(PAST)


# -- what it does is what the parts do --------------------------------------------------------------------------------


def test_it_is_the_parts_put_together_by_hand(forecaster):
    features, n, horizon = FeatureSet("rich"), 2000, 1
    X, known = features.transform(PAST)
    y = direction_labels(PAST, "volatility", horizon, factor=0.35)[features.n_warmup :]
    X, known, y = X[y >= 0], known[y >= 0], y[y >= 0]
    first_test = int(np.ceil(0.75 * len(X)))
    train = slice(0, first_test - horizon)
    scaler = Standardizer().fit(X[train])
    Z = scaler.transform(X)
    teacher = MLPClassifier((16,), epochs=3, learning_rate=0.01, random_state=0).fit(Z[train], y[train])
    student = MLPClassifier((8,), epochs=3, learning_rate=0.01, random_state=0, temperature=2.0, kd_weight=0.9)
    student.fit(Z[train], y[train], teacher_logits=teacher.predict_logits(Z[train]))
    np.testing.assert_array_equal(forecaster.student_.parameters, student.parameters)
    np.testing.assert_array_equal(forecaster.student_.scaler_.mean_, scaler.mean_)
    proba, known_at_ms = forecaster.predict_proba(LATER)
    Z_later = scaler.transform(features.transform(LATER)[0])
    np.testing.assert_allclose(proba, student.predict_proba(Z_later), atol=1e-5)
    np.testing.assert_array_equal(known_at_ms, LATER.close_ms[features.n_warmup :])
    assert forecaster.trained_span == (known[0], known[first_test - 1 - horizon] + horizon * CANDLES.interval_ms)
    assert forecaster.test_span[0] == known[first_test]
    assert n - features.n_warmup > len(X)  # some labels were unknown


def test_no_training_label_reaches_into_the_test_part():
    for labels in (Direction(horizon=7), TripleBarrier(horizon=9), RegimeAhead(horizon=11)):
        found = Forecaster("ohlcv4", labels, kd_weight=0.0, **QUICK).fit(PAST)
        assert found.trained_span[1] < found.test_span[0]
        assert found.labels.horizon == labels.horizon


def test_the_future_changes_nothing(forecaster):
    """Other prices in the test part: the same student."""
    columns = {name: getattr(PAST, name).copy() for name in ("open", "high", "low", "close", "volume")}
    begin = int(np.searchsorted(PAST.close_ms, forecaster.test_span[0]))
    for name in ("open", "high", "low", "close"):
        columns[name][begin:] *= 1.5
    other = Candles(PAST.start_ms, **columns, symbol="XUSDT")
    again = Forecaster(teacher=TEACHER, **QUICK).fit(other)
    np.testing.assert_array_equal(again.student_.parameters, forecaster.student_.parameters)


def test_attributes(forecaster):
    assert forecaster.classes_.tolist() == [0, 1, 2]
    assert forecaster.labels.names == ("DOWN", "FLAT", "UP")
    assert forecaster.feature_names_ == FeatureSet("rich").names
    assert (forecaster.interval, forecaster.symbol, forecaster.category) == ("5m", "XUSDT", None)
    assert forecaster.metrics_["n"] == len(forecaster._held_out)
    assert forecaster.teacher_.n_parameters > forecaster.student_.n_parameters
    assert "kd_weight=0.9" not in repr(forecaster)
    assert repr(Forecaster(kd_weight=0.5)).endswith("kd_weight=0.5)")


def test_live_and_table_give_the_same_bits_and_the_predictor_nearly(forecaster):
    proba, _ = forecaster.predict_proba(LATER)
    live = forecaster.live()
    said = [answer for candle in LATER if (answer := live.push(candle)) is not None]
    np.testing.assert_array_equal(said, proba)
    X = FeatureSet("rich").transform(LATER)[0].astype(np.float32)
    np.testing.assert_allclose(forecaster.predictor()(X), proba, atol=1e-5)


def test_kd_weight_0_has_no_teacher():
    found = Forecaster(kd_weight=0.0, **QUICK).fit(PAST)
    assert found.teacher_ is None


def test_settings_are_not_touched_by_fit():
    student, teacher = MLPClassifier((4,), epochs=1), MLPClassifier((4,), epochs=1)
    Forecaster(student=student, teacher=teacher, random_state=3).fit(PAST)
    for model in (student, teacher):
        assert repr(model) == "MLPClassifier(hidden=(4,), epochs=1)"
        assert not hasattr(model, "classes_")


# -- teachers ---------------------------------------------------------------------------------------------------------


def rows(candles=PAST):
    return FeatureSet("rich").transform(candles)[0]


def test_a_finished_teacher_is_asked_and_not_trained():
    teacher = MLPClassifier((16,), epochs=3, random_state=1, scale="standard")
    y = direction_labels(PAST, "volatility", factor=0.35)[FeatureSet("rich").n_warmup :]
    teacher.fit(rows()[y >= 0], y[y >= 0])
    before = teacher.parameters
    found = Forecaster(teacher=teacher, **QUICK).fit(PAST)
    assert found.teacher_ is teacher
    np.testing.assert_array_equal(teacher.parameters, before)


def test_foreign_teachers_get_raw_rows_and_several_are_weighted():
    linear = pytest.importorskip("sklearn.linear_model")
    pipeline = pytest.importorskip("sklearn.pipeline")
    pre = pytest.importorskip("sklearn.preprocessing")
    seen = []

    def rule(X):
        seen.append(X)
        return np.full((len(X), 3), 1 / 3)

    one = pipeline.make_pipeline(pre.StandardScaler(), linear.LogisticRegression(max_iter=300))
    with pytest.warns(UserWarning, match="taken as probabilities"):
        found = Forecaster(teacher=[one, rule], teacher_weights=[1.0, 0.0], **QUICK).fit(PAST)
    alone = Forecaster(teacher=one, **QUICK).fit(PAST)
    np.testing.assert_allclose(found.student_.parameters, alone.student_.parameters, atol=1e-5)
    assert set(map(tuple, seen[0][:5])) <= set(map(tuple, rows()))
    assert not hasattr(one[-1], "classes_")


def test_a_forecaster_teaches_another(forecaster):
    pupil = Forecaster(teacher=forecaster, **QUICK).fit(PAST)
    assert pupil.teacher_ is forecaster.student_
    with pytest.raises(ValueError, match=r"'rich'.*'ohlcv4'"):
        Forecaster("ohlcv4", teacher=forecaster, **QUICK).fit(PAST)


def test_a_teacher_that_knows_the_answers_is_refused(forecaster):
    with pytest.raises(ValueError, match=r"teacher was trained on .* judge the student"):
        Forecaster(teacher=[forecaster], **QUICK).fit(PAST, test_fraction=0.5)


def test_a_teacher_that_saw_fewer_classes():
    class Knows:
        classes_ = np.array([0, 2])

        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

    found = Forecaster(teacher=Knows(), kd_weight=1.0, **QUICK).fit(PAST)
    proba, _ = found.predict_proba(LATER)
    assert proba.shape[1] == 3
    assert proba[:, 1].mean() < 0.2


# -- judgement --------------------------------------------------------------------------------------------------------


def test_evaluate_takes_later_dates_and_refuses_trained_ones(forecaster):
    assert forecaster.evaluate() is forecaster.report_
    warm = CANDLES[2000 - forecaster.features.n_warmup :]  # the warm-up may reach back
    assert forecaster.evaluate(warm).overall.evaluation.n > len(LATER) - 5 - 100
    with pytest.raises(ValueError, match=r"trained on, 2024-.* rows from 2024-.* are later"):
        forecaster.evaluate(CANDLES)
    with pytest.raises(ValueError, match="no row"):
        forecaster.evaluate(LATER[:20])


def test_the_report_of_later_candles_by_hand(forecaster):
    report = forecaster.evaluate(LATER)
    y = direction_labels(LATER, "volatility", factor=0.35)[forecaster.features.n_warmup :]
    proba, _ = forecaster.predict_proba(LATER)
    accuracy = (proba.argmax(axis=1) == y)[y >= 0].mean()
    assert report.overall.evaluation.accuracy == pytest.approx(accuracy)
    assert report.class_names == ("DOWN", "FLAT", "UP")


def test_walking_forward_trains_on_the_past_of_each_period(forecaster):
    report = forecaster.evaluate(walk_forward=3)
    assert [part.name for part in report.folds] == ["fold 1", "fold 2", "fold 3"]
    times = np.sort(forecaster._all_rows.known_at_ms)
    edge = times[len(times) // 4]
    past = PAST[: int(np.searchsorted(PAST.close_ms, edge))]  # its labels end before the first test row
    alone = forecaster.clone().fit(past, test_fraction=0.001)
    assert alone.trained_span[1] < edge
    np.testing.assert_array_equal(
        forecaster.evaluate(PAST, walk_forward=3).overall.evaluation.confusion, report.overall.evaluation.confusion
    )
    with pytest.raises(ValueError, match="walk_forward"):
        forecaster.evaluate(walk_forward=0)


def test_other_candles_are_refused_with_both_sides_named(forecaster):
    hourly = synthetic_market(300, random_state=0, interval="1h", symbol="XUSDT")
    other = synthetic_market(300, random_state=0, symbol="YUSDT")
    for call in (forecaster.predict_proba, forecaster.predict, forecaster.signals, forecaster.evaluate):
        with pytest.raises(ValueError, match=r"5m.*1h"):
            call(hourly)
        with pytest.raises(ValueError, match=r"XUSDT.*YUSDT"):
            call(other)
    assert len(forecaster.predict_proba(other, any_symbol=True)[0])
    with pytest.raises(TypeError, match="Candles"):
        forecaster.predict_proba(np.ones((3, 3)))


def test_before_fit_it_says_so():
    for call in ("predict_proba", "predict", "evaluate", "signals"):
        with pytest.raises(ValueError, match="not fitted"):
            getattr(Forecaster(), call)(LATER)
    for call in ("predictor", "live"):
        with pytest.raises(ValueError, match="not fitted"):
            getattr(Forecaster(), call)()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"features": "none"}, ValueError, "unknown feature set"),
        ({"features": 3}, TypeError, "FeatureSet"),
        ({"features": FeatureSet("ohlcv4").fit(PAST)}, ValueError, "unfitted"),
        ({"labels": "volatility"}, TypeError, "Direction"),
        ({"labels": Return(), **QUICK}, TypeError, "MLPRegressor"),
        ({"student": MLPRegressor()}, TypeError, "MLPClassifier"),
    ],
)
def test_settings_that_do_not_fit(arguments, error, says):
    with pytest.raises(error, match=says):
        Forecaster(**arguments).fit(PAST)


def test_little_or_nothing_to_learn_is_said():
    with pytest.raises(ValueError, match="more candles are needed"):
        Forecaster(**QUICK).fit(PAST[:50])
    with pytest.raises(ValueError, match=r"all .* training rows are FLAT"):
        Forecaster("ohlcv4", Direction(5.0), **QUICK).fit(PAST)
    with pytest.warns(UserWarning, match="figures will say little"):
        Forecaster("ohlcv4", **QUICK).fit(PAST[:300])
    holed = Candles(*(np.delete(getattr(PAST, name), slice(500, 510)) for name in
                      ("start_ms", "open", "high", "low", "close", "volume")), symbol="XUSDT")  # fmt: skip
    with pytest.warns(UserWarning, match=r"XUSDT 5m: 1 gap\(s\), 10 candles missing"):
        Forecaster("ohlcv4", **QUICK).fit(holed)


def test_several_markets_are_cut_at_one_date():
    other = synthetic_market(2000, random_state=1, symbol="YUSDT")
    both = Forecaster("ohlcv4", **QUICK).fit([PAST, other])
    assert both.symbol == ("XUSDT", "YUSDT")
    assert both.trained_span[1] < both.test_span[0]
    assert len(both._held_out) == pytest.approx(0.25 * len(both._all_rows), abs=3)
    assert len(both.predict_proba(other)[0])
    with pytest.raises(ValueError, match=r"5m.*1h"):
        Forecaster(**QUICK).fit([PAST, synthetic_market(300, random_state=0, interval="1h")])


# -- returns ----------------------------------------------------------------------------------------------------------


def test_a_quantile_of_the_return():
    found = Forecaster(labels=Return(quantile=0.1), teacher=None, random_state=0).fit(CANDLES)
    report = found.evaluate()
    held = found._held_out
    forecast, known = found.predict(CANDLES)
    forecast = forecast[np.isin(known, held.known_at_ms)]
    error = held.y - forecast
    assert report.loss == pytest.approx(np.maximum(0.1 * error, -0.9 * error).mean(), rel=1e-5)
    assert report.coverage == (held.y <= forecast).mean()
    assert abs(report.coverage - 0.1) < 0.06
    train = forward_returns(CANDLES)[found.features.n_warmup :]
    n = len(found._all_rows) - len(held) - 1
    error = held.y - np.quantile(train[:n], 0.1)
    assert report.constant_loss == pytest.approx(np.maximum(0.1 * error, -0.9 * error).mean())
    assert report.skill_low < report.skill < report.skill_high
    with pytest.raises(ValueError, match="use predict"):
        found.predict_proba(CANDLES)
    assert found.signals(CANDLES).columns.tolist() == ["known_at", "known_at_ms", "close", "forecast"]
    assert "best constant" in str(report)
    assert np.isfinite(found.evaluate(walk_forward=2).skill)


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_file_holds_all_of_it(forecaster, tmp_path):
    forecaster.save(tmp_path / "m.safetensors")
    back = fastkd.load(tmp_path / "m.safetensors")
    assert type(back) is Forecaster
    for name in (
        "classes_",
        "feature_names_",
        "interval",
        "symbol",
        "category",
        "trained_span",
        "test_span",
        "metrics_",
    ):
        assert np.all(getattr(back, name) == getattr(forecaster, name)), name
    assert repr(back) == repr(forecaster)
    assert back.version_ == fastkd.__version__
    np.testing.assert_array_equal(back.predict_proba(LATER)[0], forecaster.predict_proba(LATER)[0])
    assert back.evaluate(LATER).to_dict() == forecaster.evaluate(LATER).to_dict()
    with pytest.raises(ValueError, match="trained on"):
        back.evaluate(PAST)
    with pytest.raises(ValueError, match="pass candles later"):
        back.evaluate()
    again = back.clone().fit(PAST)  # its teacher and student are known by their settings
    np.testing.assert_array_equal(again.student_.parameters, forecaster.student_.parameters)


@pytest.mark.parametrize(
    "settings",
    [
        {"features": FeatureSet("rich", horizons=(1, 2), windows=(5,)), "labels": TripleBarrier(6, up=2.0)},
        {"features": "regime3", "labels": RegimeAhead(5), "scale": "minmax"},
        {"features": "condense6", "labels": Direction("quantile", window=200), "scale": None},
        {"labels": Return(3, quantile=0.05), "student": MLPRegressor((4,), loss="quantile", quantile=0.05, epochs=2)},
    ],
)
def test_files_of_every_kind(settings, tmp_path):
    quick = {"student": MLPClassifier((4,), epochs=2), "kd_weight": 0.0, "random_state": 0}
    found = Forecaster(**{**quick, **settings}).fit(PAST, category="linear")
    found.save(tmp_path / "m")
    back = fastkd.load(tmp_path / "m")
    assert (back.labels, back.category) == (found.labels, "linear")
    assert back.features.to_dict() == found.features.to_dict()
    np.testing.assert_array_equal(back.predict(LATER)[0], found.predict(LATER)[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: h["feature_names"].reverse(), "features"),
        (lambda h: h["features"].update(name="ohlcv4"), "features"),
        (lambda h: h["class_names"].reverse(), "classes"),
        (lambda h: h.update(labels={"Return": {"horizon": 1, "quantile": None}}), "classes"),
        (lambda h: h["labels"]["Direction"].update(horizon=5), "purge"),
        (lambda h: h.update(interval="7x"), "interval"),
        (lambda h: h.update(trained_span=[5, 3]), "span"),
        (lambda h: h["student"].update(feature_names=None), "student"),
        (lambda h: h["student"].update({"class": "Forecaster"}), "KeyError"),
        (lambda h: h.pop("symbol"), "symbol"),
        (lambda h: h.update({"class": "Foretold"}), "unknown class"),
    ],
)
def test_an_edited_file_is_refused(forecaster, tmp_path, change, says):
    """With a digest that fits: whoever edits a file can compute it."""
    from fastkd import _io

    header, tensors = _io.encode(forecaster)
    change(header)
    (tmp_path / "m").write_bytes(_io.to_bytes(header, tensors))
    with pytest.raises(_io.ModelFileError, match=says):
        fastkd.load(tmp_path / "m")


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies(forecaster, twin):
    np.testing.assert_array_equal(twin(forecaster).predict_proba(LATER)[0], forecaster.predict_proba(LATER)[0])


# -- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_signals_are_a_frame_to_trade_by(forecaster, kind):
    pytest.importorskip(kind)
    frame = forecaster.signals(LATER, threshold=0.45, kind=kind)
    proba, known = forecaster.predict_proba(LATER)
    assert list(frame.columns) == [
        "known_at",
        "known_at_ms",
        "close",
        "p_DOWN",
        "p_FLAT",
        "p_UP",
        "forecast",
        "position",
    ]
    np.testing.assert_array_equal(np.asarray(frame["known_at_ms"]), known)
    np.testing.assert_array_equal(np.asarray(frame["close"]), LATER.close[-len(known) :])
    want = []
    for p in proba:
        best = int(np.argmax(p))
        want.append((0, -1, 1)[(1, 0, 2).index(best)] if p[best] >= 0.45 else 0)
    assert np.asarray(frame["position"]).tolist() == want
    assert {-1, 0, 1} == set(want)


# -- teachers that know too much, or are gone -------------------------------------------------------------------------


def test_walking_forward_is_of_the_market_of_the_training(forecaster):
    hourly = synthetic_market(1500, random_state=0, interval="1h", symbol="XUSDT")
    other = synthetic_market(1500, random_state=0, symbol="YUSDT")
    with pytest.raises(ValueError, match=r"5m.*1h"):
        forecaster.evaluate(hourly, walk_forward=2)
    with pytest.raises(ValueError, match=r"XUSDT.*YUSDT"):
        forecaster.evaluate(other, walk_forward=2)
    assert len(forecaster.evaluate(other, walk_forward=2, any_symbol=True).folds) == 2
    unfitted = Forecaster("ohlcv4", kd_weight=0.0, **QUICK)
    assert len(unfitted.evaluate(hourly, walk_forward=2).folds) == 2


def test_walking_forward_refuses_a_teacher_that_saw_the_period(forecaster):
    pupil = Forecaster(teacher=forecaster, **QUICK).fit(PAST)
    for candles in (None, PAST):
        with pytest.raises(ValueError, match=r"teacher was trained on .* judge"):
            pupil.evaluate(candles, walk_forward=3)
    assert Forecaster(teacher=forecaster, **QUICK).evaluate(LATER, walk_forward=2).overall.evaluation.n > 0


def test_dates_of_the_teacher_count_as_trained_on(forecaster, tmp_path):
    later = synthetic_market(6000, random_state=0, symbol="XUSDT")
    teacher = Forecaster("ohlcv4", **QUICK, kd_weight=0.0).fit(later[4000:], test_fraction=0.5)
    pupil = Forecaster("ohlcv4", teacher=[teacher], **QUICK).fit(later[:3000])
    pupil.save(tmp_path / "m")
    grandchild = Forecaster("ohlcv4", teacher=pupil, **QUICK).fit(later[:3000])
    for one in (pupil, fastkd.load(tmp_path / "m"), grandchild):
        assert teacher.trained_span in one.teacher_spans
        with pytest.raises(ValueError, match=r"forecaster's teacher was trained on"):
            one.evaluate(later[4000:4500])
        assert one.evaluate(later[5000:]).overall.evaluation.n > 0
    assert Forecaster("ohlcv4", kd_weight=0.0, **QUICK).fit(PAST).teacher_spans == ()


def test_a_teacher_of_other_candles_is_refused(forecaster):
    hourly = synthetic_market(30_000, random_state=0, symbol="XUSDT").resample("1h")
    with pytest.raises(ValueError, match=r"5m.*1h"):
        Forecaster(teacher=forecaster, **QUICK).fit(hourly)
    other = synthetic_market(2000, random_state=1, symbol="YUSDT")
    with pytest.raises(ValueError, match=r"XUSDT.*YUSDT"):
        Forecaster(teacher=forecaster, **QUICK).fit(other)
    Forecaster(teacher=forecaster.student_, **QUICK).fit(other)
    Forecaster(teacher=forecaster, **QUICK).fit([PAST, other], test_fraction=0.2)


def steady(epoch):
    return 2.0


def knows_nothing(X):
    return np.full((len(X), 3), 1 / 3)


def test_a_file_says_which_settings_it_could_not_hold(forecaster, tmp_path):
    settings = {"teacher": [forecaster, TEACHER], "teacher_weights": [0.5, 0.5], "temperature": steady}
    Forecaster(**settings, **QUICK).fit(PAST).save(tmp_path / "a")
    fastkd.load(tmp_path / "a").save(tmp_path / "b")  # written again it is as much gone
    for name in ("a", "b"):
        back = fastkd.load(tmp_path / name)
        np.testing.assert_array_equal(back.predict_proba(LATER)[0].shape, (len(LATER) - back.features.n_warmup, 3))
        assert back.teacher_weights is None
        for train in (lambda f: f.clone().fit(PAST), lambda f: f.evaluate(PAST, walk_forward=2)):
            with pytest.raises(ValueError, match=r"teacher, a list of .*Forecaster.*set \.teacher"):
                train(back)
        back.teacher = TEACHER
        with pytest.raises(ValueError, match=r"temperature, a function steady: set \.temperature"):
            back.clone().fit(PAST)
        back.temperature = 2.0
        np.testing.assert_array_equal(back.clone().fit(PAST).student_.parameters, forecaster.student_.parameters)


def test_a_teacher_that_is_not_asked_is_not_missed(tmp_path):
    found = Forecaster("ohlcv4", teacher=knows_nothing, kd_weight=0.0, **QUICK).fit(PAST)
    found.save(tmp_path / "m")
    again = fastkd.load(tmp_path / "m").clone().fit(PAST)
    np.testing.assert_array_equal(again.student_.parameters, found.student_.parameters)


def test_a_candle_counts_once(forecaster):
    for twice in ([PAST, PAST], [PAST, CANDLES[1500:]], [PAST.named(None), PAST.named(None)[100:]]):
        with pytest.raises(ValueError, match=r"same \d+ candle.*concatenate"):
            Forecaster("ohlcv4", **QUICK).fit(twice)
    with pytest.raises(ValueError, match="same 500 candle"):
        forecaster.evaluate([LATER, LATER])
    other = synthetic_market(2000, random_state=1)  # two markets without a name, of the same times
    Forecaster("ohlcv4", **QUICK).fit([PAST.named(None), other.named(None)])
    Forecaster("ohlcv4", **QUICK).fit([PAST[:1000], PAST[1000:]])


def test_a_frame_in_place_of_candles_says_what_to_do():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"start_ms": PAST.start_ms, "close": PAST.close})
    for wrong in (frame, np.ones((9, 5)), "x.csv"):
        with pytest.raises(TypeError, match=rf"got {type(wrong).__name__}: Candles\.from_frame"):
            Forecaster().fit(wrong)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"labels": Return(), "temperature": 3.0}, "is for classes"),
        ({"labels": Return(), "temperature": steady}, "is for classes"),
        ({"kd_weight": 0.0, "teacher_weights": [1.0]}, "there is none"),
    ],
)
def test_settings_given_in_vain(arguments, says):
    with pytest.raises(ValueError, match=says):
        Forecaster(**arguments)
