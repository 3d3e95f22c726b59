"""LSTMClassifier and CNNClassifier: what they learn, their laws, files, predictors and streams."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastkd
from fastkd.deploy import Predictor, SequencePredictor, SequenceStream
from fastkd.distill import distill
from fastkd.features import Standardizer
from fastkd.losses import softmax
from fastkd.models import CNNClassifier, LSTMClassifier, MLPClassifier, NotFittedError

MODELS = [LSTMClassifier(units=12, random_state=0), CNNClassifier((8, 8), random_state=0)]


def order_of_events(n, steps=8, seed=0):
    """Two events in the window; the class says which came first. Every feature sums to the same."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    first, second = np.sort([rng.choice(steps, 2, replace=False) for _ in range(n)], axis=1).T
    X = np.zeros((n, steps, 2))
    X[np.arange(n), first, y] = 1.0
    X[np.arange(n), second, 1 - y] = 1.0
    return X, y


def fresh(model, **params):
    return type(model)(**model.get_params()).set_params(**params)


@pytest.fixture(params=MODELS, ids=["lstm", "cnn"])
def model(request):
    return fresh(request.param)


def test_the_order_of_events_is_learned_where_a_linear_model_guesses():
    X, y = order_of_events(600)
    X_test, y_test = order_of_events(400, seed=1)
    linear = MLPClassifier(hidden=(), epochs=30, random_state=0).fit(X.sum(axis=1), y)
    assert linear.score(X_test.sum(axis=1), y_test) < 0.6
    lstm = LSTMClassifier(units=16, learning_rate=0.01, epochs=40, random_state=0).fit(X, y)
    assert lstm.history_["loss"][-1] < 0.2 * lstm.history_["loss"][0]
    assert lstm.score(X_test, y_test) > 0.97
    cnn = CNNClassifier((16, 16), kernel_size=5, learning_rate=0.01, epochs=60, random_state=0).fit(X, y)
    assert cnn.score(X_test, y_test) > 0.95


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_gradient_is_the_derivative_and_training_follows_it(model, pooling):
    X, y = order_of_events(30)
    model = fresh(model, pooling=pooling, dtype="float64", hidden=(5,), activation="tanh", l2=0.01)
    model.initialize((8, 2), 2)
    teacher = np.random.default_rng(1).normal(size=(30, 2))
    start = model.parameters + 0.01
    way, h = np.random.default_rng(2).normal(size=model.n_parameters), 1e-6
    model.parameters = start
    loss, grad = model.gradient(X, y, teacher_logits=teacher)
    losses = []
    for sign in (1, -1):
        model.parameters = start + sign * h * way
        losses.append(model.gradient(X, y, teacher_logits=teacher)[0])
    assert grad @ way == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=1e-6)
    model.parameters = start - 1e-3 * grad
    assert model.gradient(X, y, teacher_logits=teacher)[0] < loss


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_seeds_give_equal_models_and_predictions_of_every_kind_agree(model, dtype):
    X, y = order_of_events(100)
    one, two = (fresh(model, dtype=dtype, epochs=3).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.parameters, two.parameters)
    proba = one.predict_proba(X)
    assert proba.dtype == dtype
    np.testing.assert_array_equal(proba, softmax(one.predict_logits(X)))
    np.testing.assert_array_equal(one.predict(X), proba.argmax(axis=1))
    np.testing.assert_allclose(one.predictor()(X), proba, atol=1e-5)
    other = fresh(model, dtype=dtype, epochs=3, random_state=1).fit(X, y)
    assert not np.array_equal(one.parameters, other.parameters)


def test_any_number_of_workers_gives_one_result(model):
    X, y = order_of_events(60)
    runs = [fresh(model, epochs=2, n_init=3, workers=w).fit(X, y).parameters for w in (1, 3)]
    np.testing.assert_array_equal(*runs)


def test_unlabelled_rows_teach_through_the_teacher_and_labels_of_any_kind_come_back(model):
    X, y = order_of_events(400)
    teacher = LSTMClassifier(units=16, learning_rate=0.01, epochs=40, random_state=0).fit(X, y)
    few = np.where(np.arange(400) < 10, y, -1)
    student = distill(teacher, fresh(model, learning_rate=0.01, epochs=60), X, few)
    assert student.score(X, y) > 0.9
    with pytest.raises(ValueError, match="no teacher"):
        fresh(model).fit(X, few)
    names = np.array(["down", "up"])[y]
    assert set(fresh(model, epochs=1).fit(X, names).predict(X)) <= {"down", "up"}


def test_weight_zero_is_absence_and_early_stopping_returns_the_best_epoch(model):
    X, y = order_of_events(80)
    weights = np.r_[np.ones(60), np.zeros(20)]
    with_zeros = fresh(model, epochs=2).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(with_zeros.parameters, fresh(model, epochs=2).fit(X[:60], y[:60]).parameters)
    stopped = fresh(model, early_stopping=True, patience=2, learning_rate=0.3, epochs=60).fit(X, y)
    assert stopped.best_epoch_ == int(np.argmin(stopped.history_["val_loss"]))
    assert stopped.n_iter_ < 60


def test_partial_fit_goes_on_and_weights_without_data_work(model):
    X, y = order_of_events(200)
    part = fresh(model, learning_rate=0.01).partial_fit(X, y, classes=[0, 1])
    before = part.gradient(X, y)[0]
    for _ in range(20):
        part.partial_fit(X, y)
    assert part.gradient(X, y)[0] < before
    made = fresh(model).initialize((8, 2), 3)
    assert made.predict_proba(X).shape == (200, 3)
    assert len(made.parameters) == made.n_parameters


def test_the_sizes_of_the_chapter():
    lstm = LSTMClassifier(units=150, random_state=0).initialize((30, 8), 3)
    assert lstm.n_parameters == (8 + 150 + 1) * 600 + 151 * 3
    assert 90_000 < lstm.n_parameters < 110_000
    forget = lstm.parameters[158 * 600 : 159 * 600].reshape(4, 150)
    np.testing.assert_array_equal(forget, np.repeat([0.0, 1.0, 0.0, 0.0], 150).reshape(4, 150))
    cnn = CNNClassifier((64, 128), kernel_size=5, hidden=(32,), random_state=0).initialize((30, 8), 3)
    assert 45_000 < cnn.n_parameters < 55_000
    X = np.random.default_rng(0).normal(size=(70, 30, 8))
    for model in (lstm, cnn):
        assert np.isfinite(fresh(model, epochs=1).fit(X, np.arange(70) % 3).predict_proba(X)).all()


def test_files_and_pickles_give_the_model_back(model, tmp_path):
    X, y = order_of_events(50)
    model.set_params(epochs=2, hidden=(6,), pooling="mean").fit(X, y)
    model.scaler = Standardizer().fit(X.reshape(-1, 2))
    model.save(tmp_path / "model")
    loaded = fastkd.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.get_params() == model.get_params()
    copied = pickle.loads(pickle.dumps(model))
    for m in (copied, model):
        m.partial_fit(X, y)
    np.testing.assert_array_equal(copied.parameters, model.parameters)


def test_a_file_whose_body_does_not_fit_is_refused(tmp_path):
    from fastkd._io import ModelFileError, _read_header
    from fastkd.models._saving import decode_model

    model = LSTMClassifier(units=4, random_state=0).initialize((5, 2), 3)
    model.save(tmp_path / "model")
    from safetensors import safe_open

    with safe_open(tmp_path / "model", framework="numpy") as file:
        header = _read_header("model", file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    assert decode_model(header, tensors).n_parameters == model.n_parameters
    for change in ({"widths": [2, 5]}, {"kind": "gru"}, {"pooling": "sum"}, {"steps": 0}, {"widths": [2]}):
        with pytest.raises((ValueError, KeyError, IndexError, ModelFileError)):
            decode_model({**header, "body": {**header["body"], **change}}, tensors)
    with pytest.raises(ValueError, match="unexpected"):
        decode_model({**header, "body": None, "class": "MLPClassifier"}, tensors)


def test_predictor_takes_raw_windows(model):
    X, y = order_of_events(50)
    raw = 100.0 + 5.0 * X
    model.set_params(epochs=2).fit(X, y)
    scaler = Standardizer().fit(raw.reshape(-1, 2))
    model.scaler = scaler
    predict = Predictor(model)
    assert isinstance(predict, SequencePredictor)
    np.testing.assert_allclose(predict(raw), model.predict_proba(raw), atol=1e-5)
    window = raw[0].astype(np.float32)
    out = np.empty(2, np.float32)
    assert predict(window, out=out) is out
    np.testing.assert_allclose(out, predict(raw)[0], atol=1e-5)
    assert predict.argmax(window) == predict(window).argmax()
    again = pickle.loads(pickle.dumps(predict))
    np.testing.assert_array_equal(again(window), out)
    assert again.classes_.tolist() == [0, 1]
    window[3, 1] = np.nan
    assert np.isnan(predict(window)).all()
    assert predict.argmax(window) == -1
    with pytest.raises(ValueError, match="NaN"):
        model.predictor(on_nan="raise")(window)
    for wrong in (window[:-1], window[:, :1], window[0], raw[:, :, :1]):
        with pytest.raises(ValueError, match="shape"):
            predict(wrong)
    with pytest.raises(ValueError, match="out"):
        predict(raw, out=out)


def test_threads_share_a_predictor(model):
    X, y = order_of_events(40)
    predict = model.set_params(epochs=1).fit(X, y).predictor()
    want = [predict(x) for x in X]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, expected in zip(pool.map(predict, X), want, strict=True):
                np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_a_stream_follows_the_window_step_by_step(pooling):
    X, y = order_of_events(40)
    model = LSTMClassifier(units=9, layers=2, pooling=pooling, epochs=2, dtype="float64", random_state=0).fit(X, y)
    model.scaler = Standardizer().fit(X.reshape(-1, 2))
    predict = model.predictor(on_nan="raise")
    stream = predict.stream()
    for row in X[0]:
        last = stream.push(row)
    np.testing.assert_allclose(last, predict(X[0]), atol=1e-12)
    assert stream.n_seen == 8
    kept = stream.state
    with pytest.raises(ValueError, match="as before"):
        stream.push([np.nan, 0.0])
    np.testing.assert_array_equal(stream.state, kept)
    further = stream.push(X[1, 0])
    other = predict.stream()
    other.state = kept
    out = np.empty(2)
    np.testing.assert_array_equal(other.push(X[1, 0], out=out), further)
    stream.reset()
    for row in X[0]:
        again = stream.push(row)
    np.testing.assert_array_equal(again, last)
    for wrong in (kept[1:], np.full_like(kept, np.nan), -kept):
        with pytest.raises(ValueError, match="state"):
            stream.state = wrong
    with pytest.raises(ValueError, match="shape"):
        stream.push(X[0])


@pytest.mark.parametrize("on_nan", ["nan", "raise"])
def test_a_row_too_large_for_the_network_leaves_a_stream_as_it_was(on_nan):
    lstm = LSTMClassifier(8, random_state=0).initialize((5, 2), 3)
    lstm.parameters = 30 * lstm.parameters
    stream = lstm.predictor(on_nan=on_nan).stream()
    good = np.ones(2, np.float32)
    stream.push(good)
    before, huge = stream.state, np.array([3e38, -3e38], np.float32)
    if on_nan == "raise":
        with pytest.raises(ValueError, match="too large"):
            stream.push(huge)
    else:
        assert np.isnan(stream.push(huge)).all()
    np.testing.assert_array_equal(stream.state, before)
    assert np.isfinite(stream.push(good)).all()
    for state in (np.append(before[:-1], 1e30), np.append(before[:-1], -1), np.append(before[:-1], 0.5)):
        with pytest.raises(ValueError, match="number of steps"):
            stream.state = state
    with pytest.raises(TypeError, match="argument"):
        SequenceStream.__new__(SequenceStream)


def test_a_cnn_has_no_stream():
    with pytest.raises(TypeError, match="whole window"):
        CNNClassifier((4,), random_state=0).initialize((5, 2), 2).predictor().stream()


def test_wrong_shapes_and_hyper_parameters_are_named(model):
    X, y = order_of_events(20)
    with pytest.raises(ValueError, match="3D array"):
        model.fit(X[:, :, 0], y)
    with pytest.raises(ValueError, match="same number of rows"):
        model.fit(X, y[:-1])
    bad = X.copy()
    bad[2, 3, 1] = np.nan
    with pytest.raises(ValueError, match=r"X\[2, 3, 1\]"):
        model.fit(bad, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.set_params(epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="expects 8 steps and 2 features"):
        model.predict(X[:, :5])
    with pytest.raises(ValueError, match="eval_set"):
        model.fit(X, y, eval_set=(X[:, :5], y))
    for wrong in (5, (5,), (0, 2), "ab"):
        with pytest.raises(ValueError, match="steps"):
            model.initialize(wrong, 2)
    with pytest.raises(ValueError, match="pooling"):
        fresh(model, pooling="sum").fit(X, y)
    for wrong in (LSTMClassifier(units=0), LSTMClassifier(layers=17), CNNClassifier(()), CNNClassifier(kernel_size=0)):
        with pytest.raises(ValueError, match=r"units|layers|kernel_size"):
            wrong.fit(X, y)


def test_a_kernel_wider_than_the_window_sees_zeros_around_it():
    X, y = order_of_events(20, steps=3)
    model = CNNClassifier((4,), kernel_size=9, epochs=1, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predictor()(X), model.predict_proba(X), atol=1e-6)
