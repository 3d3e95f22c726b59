"""Bindings against hostile callers: objects made twice, state changed in mid-call, lying arrays, overflowing sizes."""

import pickle
import threading
from contextlib import suppress

import numpy as np
import pytest

from fastkd._core import _native
from fastkd._core._native import ExitsKernel, MLPKernel, Optimizer, SequenceKernel, Targets
from fastkd.features import FeatureSet
from fastkd.forecast.live import LiveForecaster
from fastkd.market import synthetic_market
from fastkd.models import CNNClassifier, LSTMClassifier, MLPClassifier

N, F, C = 40, 3, 4


def network(dtype=np.float32):
    kernel = MLPKernel((F, 6, C), "tanh", dtype)
    rng = np.random.default_rng(0)
    return kernel, rng.normal(size=kernel.n_parameters).astype(dtype), rng.normal(size=(N, F)).astype(dtype)


def labels(n=N):
    return (np.arange(n) % C).astype(np.int32)


# -- objects that are initialized again --------------------------------------------------------------------------------


def test_a_predictor_cannot_be_changed_while_others_use_it():
    wide = MLPClassifier((64,), random_state=0).initialize(8, 3)
    predict = MLPClassifier((512, 512), random_state=0).initialize(8, 3).predictor()
    x = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    want, wrong = predict(x), []

    def use():
        for _ in range(5):
            if not np.array_equal(predict(x), want):
                wrong.append(1)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        predict.__init__(wide)
    assert not wrong
    np.testing.assert_array_equal(predict(x), want)


def again(thing, *arguments, **options):
    """Initialize a finished object again; whether that raises is its own affair."""
    with suppress(TypeError, ValueError):
        thing.__init__(*arguments, **options)


def test_kernels_targets_and_optimizers_stay_as_they_were_made():
    kernel, params, X = network()
    before = kernel.forward(params, X)
    again(kernel, (F, 600, C), "relu", np.float64)
    np.testing.assert_array_equal(kernel.forward(params, X), before)
    targets = Targets(N, np.float32, labels=labels())
    loss = kernel.loss_gradient(params, X, targets)[0]
    again(targets, 10**6, np.float32, labels=None)
    again(targets, 2, np.float32, labels=np.zeros(2, np.int32))
    assert targets.n_rows == N
    assert kernel.loss_gradient(params, X, targets)[0] == loss
    optimizer = Optimizer("adam", 5, np.float32)
    again(optimizer, "sgd", 1, np.float32)
    assert (optimizer.kind, len(optimizer.m), len(optimizer.v)) == ("adam", 5, 5)
    stream = LSTMClassifier(4, random_state=0).initialize((5, 2), 3).predictor().stream()
    stream.push(np.ones(2, np.float32))
    state = stream.state
    again(stream, LSTMClassifier(64, random_state=0).initialize((5, 2), 3).predictor())
    np.testing.assert_array_equal(stream.state, state)


@pytest.mark.parametrize(
    "kind", ["Targets", "PredictorCore", "SequencePredictorCore", "StreamCore", "MLPKernel", "Optimizer"]
)
def test_nothing_is_half_made(kind):
    kind = getattr(_native, kind)
    with pytest.raises(TypeError):
        kind.__new__(kind)


def test_a_row_that_initializes_its_stream_again():
    small = LSTMClassifier(2, random_state=0).initialize((5, 2), 3).predictor()
    large = LSTMClassifier(256, random_state=0).initialize((5, 2), 3).predictor()
    stream, plain = large.stream(), large.stream()

    class Row:
        def __array__(self, dtype=None, copy=None):
            again(stream, small)
            return np.ones(2, np.float32)

    np.testing.assert_array_equal(stream.push(Row()), plain.push(np.ones(2, np.float32)))
    np.testing.assert_array_equal(stream.state, plain.state)


# -- arrays that others change or that are not what they seem ----------------------------------------------------------


def test_labels_are_the_targets_own():
    kernel, params, X = network(np.float64)
    y = labels()
    targets = Targets(N, np.float64, labels=y)
    loss = kernel.loss_gradient(params, X, targets)[0]
    y[:] = 1 << 30
    assert kernel.loss_gradient(params, X, targets)[0] == loss
    with pytest.raises(ValueError, match="out of range"):
        kernel.loss_gradient(params, X, Targets(N, np.float64, labels=y))


class Liar(np.ndarray):
    """Says that it has the shape that is wanted, and that its smallest entry is 0."""

    wanted: tuple

    shape = property(lambda self: self.wanted)

    def min(self, *_, **__):
        return 0


def liar(array, wanted):
    x = array.view(Liar)
    x.wanted = wanted
    return x


def test_subclasses_are_read_by_their_memory():
    kernel, params, X = network()
    with pytest.raises(ValueError, match="out must be"):
        kernel.forward(params, X, liar(np.zeros((1, C), np.float32), (N, C)))
    with pytest.raises(ValueError, match=r"labels|X"):
        Targets(3, np.float32, labels=liar(np.full(3, -7, np.int32), (3,)))
    predict = MLPClassifier((4,), random_state=0).initialize(F, C).predictor()
    with pytest.raises(ValueError, match="out"):
        predict(X, out=liar(np.zeros((1, C), np.float32), (N, C)))


def test_what_is_written_is_writeable_and_by_itself():
    kernel, params, X = network()
    targets, optimizer = Targets(N, np.float32, labels=labels()), Optimizer("sgd", len(params), np.float32)
    block = np.zeros(4 * N * C + len(params), np.float32)
    x, grad = block[: N * F].reshape(N, F), block[: len(params)]
    with pytest.raises(ValueError, match="overlap"):
        kernel.loss_gradient(params, x, targets, grad=grad)
    with pytest.raises(ValueError, match="overlap"):
        kernel.loss_gradient(params, X, targets, grad=params)
    with pytest.raises(ValueError, match="overlap"):
        kernel.forward(params, x, block[1 : 1 + N * C].reshape(N, C))
    with pytest.raises(ValueError, match="overlap"):
        kernel.epoch(grad, optimizer, x, targets, np.arange(N), 8, 0.1)
    with pytest.raises(ValueError, match="overlap"):
        _native.descend(block[:8].reshape(2, 4), block[:8].reshape(2, 4), np.ones((2, 4), np.float32), 0.1)
    frozen = np.ones((3, 2))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        _native.shorten(frozen, 0.1)
    with pytest.raises(ValueError, match="writeable"):
        kernel.loss_gradient(params, X, targets, grad=np.frombuffer(bytes(params.nbytes), np.float32))


def test_rows_of_probabilities_for_kl_are_checked():
    p = np.full((3, 4), 0.25)
    for q in (p[:2], p.astype(np.float32), p[:, :2], p[0]):
        with pytest.raises(ValueError, match="plain float64"):
            _native.kl(p, q, 0.0)
    with pytest.raises(ValueError, match="plain float64"):
        _native.kl(p[0], p[0], 0.0)


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLPKernel((2**32 - 1, 2**32), "relu", "float32"),
        lambda: MLPKernel((2**62, 2), "relu", "float32"),
        lambda: MLPKernel((3, 2**70), "relu", "float32"),
        lambda: ExitsKernel((1, 2**21, 1, 2**21, 2), "relu", "float32", (1, 1, 1), feature_weight=1.0),
        lambda: SequenceKernel("lstm", 1, (1, 2**31), (2**31, 2), "relu", "last", 1, "float32"),
        lambda: SequenceKernel("cnn", 2**24, (2**30, 1), (1, 2), "relu", "last", 1, "float32"),
        lambda: SequenceKernel("cnn", 1, (2**30, 2**30), (2**30, 2), "relu", "last", 1 << 16, "float32"),
    ],
)
def test_networks_too_large_for_any_memory_are_refused(make):
    with pytest.raises(ValueError, match="2\\^40"):
        make()


def test_sizes_are_whole_numbers():
    for sizes in ((3.0, 2), (3, "2"), (True, None)):
        with pytest.raises(TypeError):
            MLPKernel(sizes, "relu", "float32")
    assert MLPKernel((np.int32(3), np.uint8(2)), "relu", "float32").sizes == (3, 2)


def test_a_batch_may_be_larger_than_all_rows():
    kernel, params, X = network()
    targets, got = Targets(N, np.float32, labels=labels()), []
    for batch in (N, N + 1, 2**62):
        p, optimizer = params.copy(), Optimizer("sgd", len(params), np.float32)
        got.append((kernel.epoch(p, optimizer, X, targets, np.arange(N), batch, 0.1), p))
    for loss, p in got[1:]:
        assert loss == got[0][0]
        np.testing.assert_array_equal(p, got[0][1])


# -- predictors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_result_over_its_own_input_needs_the_same_shape(dtype):
    model = MLPClassifier((8,), random_state=0, dtype=dtype).initialize(2, 5)
    predict, n = model.predictor(), 1000
    block = np.random.default_rng(0).normal(size=5 * n).astype(dtype)
    x, out = block[: 2 * n].reshape(n, 2), block.reshape(n, 5)
    want = predict(x.copy())
    with pytest.raises(ValueError, match="overlap"):
        predict(x, out=out)
    np.testing.assert_array_equal(predict(x), want)
    same = MLPClassifier((8,), random_state=0, dtype=dtype).initialize(5, 5).predictor()
    want = same(out.copy())
    assert same(out, out=out) is out
    np.testing.assert_array_equal(out, want)


def frame(pandas, columns, rows=6):
    return pandas.DataFrame(np.random.default_rng(0).normal(size=(rows, len(columns))), columns=columns)


def test_predictors_know_the_columns_of_their_model():
    pd = pytest.importorskip("pandas")
    X = frame(pd, ["open", "high", "low"], 30)
    predict = MLPClassifier((4,), epochs=1, random_state=0).fit(X, np.arange(30) % 2).predictor()
    want = predict(X.to_numpy())
    np.testing.assert_array_equal(predict(X), want)
    np.testing.assert_array_equal(predict(X.iloc[0]), predict(X.to_numpy()[0]))
    for bad in (X[["low", "open", "high"]], X[["low", "open", "high"]].iloc[0], X.rename(columns={"low": "volume"})):
        with pytest.raises(ValueError, match="feature names"):
            predict(bad)
        with pytest.raises(ValueError, match="feature names"):
            predict.argmax(bad)
    with pytest.raises(ValueError, match="feature names"):
        pickle.loads(pickle.dumps(predict))(X[["low", "open", "high"]])


def test_windows_of_reordered_columns_are_refused():
    pd = pytest.importorskip("pandas")
    for kind in (LSTMClassifier(4, random_state=0), CNNClassifier((4,), random_state=0)):
        model = kind.initialize((6, 2), 2)
        model.feature_names_in_ = np.array(["a", "b"], object)
        predict, window = model.predictor(), frame(pd, ["a", "b"])
        np.testing.assert_array_equal(predict(window), predict(window.to_numpy()))
        with pytest.raises(ValueError, match="another order"):
            predict(window[["b", "a"]])
    stream = LSTMClassifier(4, random_state=0).initialize((6, 2), 2)
    stream.feature_names_in_ = np.array(["a", "b"], object)
    stream = stream.predictor().stream()
    stream.push(window.iloc[0])
    with pytest.raises(ValueError, match="another order"):
        stream.push(window[["b", "a"]].iloc[0])


# -- live candles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("rich", 1, 100, 10, (1, 2), (5,)),
        ("ohlcv4", 3, 1),
        ("condense6", 600, 50),
        ("gold", 4, 1),
        ("regime3", 3, 2**62),
        ("rich", 10**6, 5, 1, (1,), (2,), 2**62),
    ],
)
def test_recipes_that_would_write_beyond_their_rows_are_refused(arguments):
    with pytest.raises(ValueError, match=r"columns|recipe|2\^40"):
        _native.RecipeCore(*arguments)


def test_a_candle_whose_numbers_push_other_candles():
    X, _ = FeatureSet("ohlcv4").transform(synthetic_market(40, random_state=0, interval="5m"))
    model = MLPClassifier((4,), epochs=1, random_state=0).fit(X, np.arange(len(X)) % 2)
    start = 1_700_000_100_000
    rows = {f"s{k}": [(start + 300_000 * i, 10.0, 21.0, 9.0, 10.0 + k, 5.0) for i in range(2)] for k in range(6)}

    def answers(spoil):
        live = LiveForecaster(FeatureSet("ohlcv4"), model, interval="5m")
        live.push_many({name: candles[0] for name, candles in rows.items()})

        class Close:
            def __float__(self):
                if spoil:
                    live.push_many({f"{k}": rows["s1"][0] for k in range(500)})
                    live.feeds.pop("s0", None)
                return 15.0

        candles = {name: pair[1] for name, pair in rows.items()}
        candles["s5"] = (*candles["s5"][:4], Close(), 5.0)
        return live.push_many(candles)

    np.testing.assert_array_equal(answers(True), answers(False))


def test_no_candles_give_no_forecasts():
    X, _ = FeatureSet("ohlcv4").transform(synthetic_market(40, random_state=0, interval="5m"))
    model = MLPClassifier((4,), epochs=1, random_state=0).fit(X, np.arange(len(X)) % 2)
    assert LiveForecaster(FeatureSet("ohlcv4"), model, interval="5m").push_many({}).shape == (0, 2)
