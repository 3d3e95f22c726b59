"""Students in integers: C against Python, Python against plain integers, the proof against the worst rows."""

import ctypes

import numpy as np
import pytest

from fastkd.deploy import ExportError, FixedPredictor, export_c
from fastkd.distill import BeYourOwnTeacher
from fastkd.models import MLPClassifier, as_model

FORMS = {"SIMD": ["-O2"], "32 bits": ["-O2", "-DSTUDENT_LOOPS=1"], "fast-math": ["-O3", "-march=native", "-ffast-math"]}


@pytest.fixture(scope="module")
def trained():
    """(model, X): features whose spreads are far from each other, three classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4))
    logits = np.column_stack([X[:, 0] * X[:, 1], 2 * X[:, 2], X[:, 3] - X[:, 0]]) + rng.normal(size=(3000, 3))
    from fastkd.features import Standardizer

    raw = X * [0.002, 0.5, 3.0, 40.0] + [0.0, 10.0, -2.0, 300.0]
    scaler = Standardizer().fit(raw)
    model = MLPClassifier((32, 16), epochs=15, learning_rate=3e-3, random_state=0)
    model.fit(scaler.transform(raw), logits.argmax(axis=1))
    model.scaler = scaler
    return model, raw


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weights", ["int8", "int16"])
def test_c_has_the_bits_of_python(tools, tmp_path, every_kind, weights, form):
    model = tools.network(every_kind)
    fixed = FixedPredictor(model, tools.rows_for(model, 300), weights=weights)
    export_c(fixed, tmp_path / "student.c", check=False)
    c = tools.built(tmp_path, "student", *FORMS[form])
    X = tools.rows_for(model, 300, seed=1)
    X[:50] *= 1000  # saturates
    X.reshape(300, -1)[50:80, 0] = np.random.default_rng(0).choice(tools.HOSTILE, 30)
    if every_kind == "values":
        codes, y = tools.call(c.student_value, X, 3)
        np.testing.assert_array_equal(y, fixed.predict(X))
    else:
        codes, p = tools.call(c.student_predict, X, 3)
        np.testing.assert_array_equal(p, fixed.predict_proba(X))
        good = codes == 0
        classes = tools.classify(c.student_classify, X)
        assert (classes[~good] == -1).all()
        np.testing.assert_array_equal(fixed.classes_[classes[good]], fixed.predict(X[good]))
    np.testing.assert_array_equal(np.flatnonzero(codes), np.arange(50, 80))


def test_python_does_what_plain_integers_do(trained):
    """The definition once more, number by number, in Python's integers of any size."""
    model, X = trained
    fixed = FixedPredictor(model, X, weights="int8")
    net = fixed.net
    for row in X[:20].astype(np.float32):
        twice = [int(np.float32(np.float32(v - m) * f)) for v, m, f in zip(row, net.mean, net.factor, strict=True)]
        x = [int((t + (-1 if t < 0 else 1)) / 2) for t in twice]
        assert x == net.quantize(row[None])[0].tolist()
        for layer in net.layers:
            low = 0 if layer.activation == "relu" else -32768
            y = []
            for o in range(len(layer.B)):
                s = int(layer.B[o])
                for i, v in enumerate(x):
                    s += v * int(layer.W[i, o])
                    assert -(2**31) <= s < 2**31
                y.append(max(low, min(32767, s * int(layer.M[o]) // 2**layer.down)))
            x = y
        np.testing.assert_array_equal(net.logits(net.quantize(row[None]))[0], x)
        p = np.exp(np.array(x) / 2.0**net.out_bits)
        np.testing.assert_allclose(fixed.predict_proba(row[None])[0], p / p.sum(), atol=2e-4)


@pytest.mark.parametrize("weights", ["int8", "int16"])
def test_no_sum_overflows_for_the_worst_inputs(tools, every_kind, weights):
    model = tools.network(every_kind)
    model.parameters = model.parameters * np.random.default_rng(0).lognormal(0, 1.5, model.n_parameters)
    net = FixedPredictor(model, tools.rows_for(model, 100), weights=weights).net
    for layer in (*net.body, *net.layers):
        worst = [np.where(layer.W.T > 0, 32767, -32768), np.where(layer.W.T > 0, -32768, 32767)]
        sums = np.array([[x @ layer.W[:, o] + layer.B[o] for o, x in enumerate(rows)] for rows in worst])
        assert np.abs(sums).max() < 2**31
        if weights == "int16":
            assert np.abs(sums).max() > 2**27  # and the room is used
        assert 0 < layer.M.min() <= layer.M.max() < 2**16


def test_it_agrees_with_the_float_student(trained):
    model, X = trained
    rows = X.astype(np.float32)
    for weights, agreement, error in (("int8", 0.99, 0.06), ("int16", 0.999, 0.003)):
        fixed = FixedPredictor(model, X, weights=weights)
        p, q = model.predict_proba(rows), fixed.predict_proba(rows)
        assert fixed.agreement_ >= agreement
        assert fixed.agreement_ == pytest.approx(np.mean(p.argmax(axis=1) == q.argmax(axis=1)), abs=2e-3)
        assert np.abs(p - q).max() < error
        np.testing.assert_allclose(as_model(fixed).predict_proba(rows), q)


def test_tuning_is_reported_with_and_without_and_does_no_harm(trained):
    model, X = trained
    before = model.parameters
    fixed = FixedPredictor(model, X, weights="int8", tune=5, random_state=0)
    untuned, tuned = fixed.quality_["untuned"], fixed.quality_["tuned"]
    assert untuned == FixedPredictor(model, X, weights="int8").quality_["untuned"]
    assert tuned["agreement"] >= untuned["agreement"]
    assert tuned["kl"] < untuned["kl"] or tuned["agreement"] > untuned["agreement"]
    assert fixed.agreement_ == tuned["agreement"]
    np.testing.assert_array_equal(model.parameters, before)
    again = FixedPredictor(model, X, weights="int8", tune=5, random_state=0)
    np.testing.assert_array_equal(again.predict_proba(X), fixed.predict_proba(X))


@pytest.mark.parametrize("weights", ["int8", "int16"])
@pytest.mark.parametrize("kind", ["lstm_mean", "cnn", "values", "gelu"])
def test_tuning_of_other_networks_does_no_harm(tools, kind, weights):
    model = tools.network(kind)
    X = tools.rows_for(model, 150)
    fixed = FixedPredictor(model, X, weights=weights, tune=2, random_state=0)
    untuned, tuned = fixed.quality_["untuned"], fixed.quality_["tuned"]
    if kind == "values":
        assert tuned["mean"] <= untuned["mean"]
        assert np.isfinite(fixed.predict(X)).all()
        return
    assert tuned["agreement"] >= untuned["agreement"]
    p = fixed.predict_proba(X)
    assert np.mean(p.argmax(axis=1) == model.predict_proba(X).argmax(axis=1)) == pytest.approx(tuned["agreement"])
    error = np.abs(p - model.predict_proba(X)).mean()
    assert error == pytest.approx(tuned["mean"], abs=1e-4)


def test_exits_are_not_tuned(trained):
    _, X = trained
    y = (X[:, 0] > 0).astype(int)
    net = BeYourOwnTeacher(MLPClassifier((4, 4), epochs=1), random_state=0).fit(X[:100], y[:100])
    for chosen in ("deepest", 0):
        net.predict_with = chosen
        with pytest.raises(TypeError, match="exits_"):
            FixedPredictor(net, X[:100], tune=1)
    FixedPredictor(net.exits_[0], X[:100], tune=1)


def test_strict_is_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="strict"):
        export_c(FixedPredictor(*trained), tmp_path / "student.c", strict=True, check=False)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_no_numbers(trained):
    model, X = trained
    fixed = FixedPredictor(model, X)
    bad = X[:3].copy()
    bad[1, 2] = np.nan
    p = fixed.predict_proba(bad)
    assert np.isnan(p[1]).all()
    assert np.isfinite(p[[0, 2]]).all()
    with pytest.raises(ValueError, match="row 1"):
        fixed.predict(bad)
    with pytest.raises(ValueError, match="finite"):
        FixedPredictor(model, bad)
    with pytest.raises(ValueError, match="int8"):
        FixedPredictor(model, X, weights="int4")
    with pytest.raises(ValueError, match="tune"):
        FixedPredictor(model, X, tune=-1)
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        FixedPredictor(model, X[:, :3])


def test_an_lstm_in_integers_goes_step_by_step(tools, tmp_path):
    model = tools.network("lstm_max")
    fixed = FixedPredictor(model, tools.rows_for(model, 100), weights="int16")
    export_c(fixed, tmp_path / "student.c", check=False)
    c = tools.built(tmp_path, "student")
    state, p, pointer = ctypes.create_string_buffer(4096), np.empty(3, np.float32), ctypes.POINTER(ctypes.c_float)
    window = tools.rows_for(model, 1, seed=2)
    c.student_reset(state)
    for row in window[0]:
        assert c.student_push(state, row.ctypes.data_as(pointer), p.ctypes.data_as(pointer)) == 0
    np.testing.assert_array_equal(p, fixed.predict_proba(window)[0])


def test_a_wrong_bit_is_found(tools, tmp_path, monkeypatch, trained):
    tools.need("gcc")
    from fastkd.deploy.export import fixed_c

    fixed = FixedPredictor(*trained)
    original = fixed_c._source
    for right, wrong in ((") >> 16)) >> (16u", ") >> 15)) >> (16u"), ("47274u", "47275u"), ("< 0) ? -1", "< 0) ? 1")):
        monkeypatch.setattr(fixed_c, "_source", lambda *a, r=right, w=wrong: (original(*a)[0].replace(r, w), 0))
        with pytest.raises(ExportError, match="fails"):
            export_c(fixed, tmp_path / "student.c")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    report = export_c(fixed, tmp_path / "student.c", check=True, vectors=16)
    assert report.error == "bitwise"
    assert report.agreement == fixed.agreement_
