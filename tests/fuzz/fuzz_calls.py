"""Calls of the public functions and of the bindings, each made from a random generator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd import aggregate, condense, distill, evaluation, features, federated, losses, models, reference
from fastkd._core import _native


@dataclass
class Call:
    """`run(**arrays)` is the call; `want()`, if there is one, its definition in plain NumPy, within `tolerance`."""

    name: str
    run: Callable[..., Any]
    arrays: dict[str, np.ndarray]
    want: Callable[[], Any] | None = None
    tolerance: float = 0.0


PUBLIC: dict[str, Callable[[np.random.Generator], Call]] = {}
NATIVE: dict[str, Callable[[np.random.Generator], Call]] = {}


def call(table: dict) -> Callable:
    def register(make: Callable[..., Call]) -> Callable[..., Call]:
        table[make.__name__] = make
        return make

    return register


def flat(result: Any) -> list[np.ndarray]:
    """The arrays and numbers in a result."""
    if isinstance(result, dict):
        return [a for key in sorted(result) for a in flat(result[key])]
    if isinstance(result, list | tuple):
        return [a for item in result for a in flat(item)]
    return [] if result is None else [np.array(result)]


SIZES = (1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100, 257)


def size(rng: np.random.Generator, most: int = 257) -> int:
    return int(rng.choice([s for s in SIZES if s <= most]))


def kind(rng: np.random.Generator) -> Any:
    return np.dtype(rng.choice(["float32", "float64"]))


def numbers(rng: np.random.Generator, shape: Any, dtype: Any = np.float64) -> np.ndarray:
    """Normal numbers; now and then ties, zeros, or far from 0."""
    x = rng.normal(size=shape)
    way = rng.integers(5)
    x = np.round(x) if way == 0 else x * (rng.random(shape) < 0.5) if way == 1 else x + 1e3 if way == 2 else x
    return x.astype(dtype)


def shares(rng: np.random.Generator, n: int, C: int, dtype: Any) -> np.ndarray:
    """Probabilities; now and then one-hot, or votes of 100 trees."""
    p = rng.dirichlet(np.ones(C), n)
    way = rng.integers(3)
    if way == 0:
        p = np.eye(C)[p.argmax(1)]
    elif way == 1:
        p = rng.multinomial(100, p) / 100
    return p.astype(dtype)


def classes(rng: np.random.Generator, n: int, C: int, low: int = 0) -> np.ndarray:
    return rng.integers(low, C, n).astype(rng.choice(["int32", "int64"]))


def eps(dtype: Any) -> float:
    return 2e-5 if dtype == np.float32 else 1e-11


# -- losses ------------------------------------------------------------------------------------------------------------


@call(PUBLIC)
def softmax(rng):
    dtype, T, log = kind(rng), 10.0 ** rng.uniform(-2, 2), rng.random() < 0.5
    shape = (size(rng), size(rng, 33)) if rng.random() < 0.8 else (3, size(rng, 33), size(rng, 33))
    z = numbers(rng, shape, dtype)
    function = losses.log_softmax if log else losses.softmax
    definition = reference.log_softmax if log else reference.softmax
    # a float32 logit far from 0 and a small T make large logarithms: relative to the largest
    return Call("softmax", lambda z: function(z, T), {"z": z}, lambda: definition(z.astype(float), T), eps(dtype))


@call(PUBLIC)
def kl_divergence(rng):
    dtype, n, C = kind(rng), size(rng), size(rng, 33)
    p, q = shares(rng, n, C, dtype), rng.dirichlet(np.ones(C), n).astype(dtype)
    return Call(
        "kl_divergence", losses.kl_divergence, {"p": p, "q": q}, lambda: reference.kl_divergence(p, q), eps(dtype)
    )


@call(PUBLIC)
def cross_entropy(rng):
    dtype, n, C = kind(rng), size(rng), size(rng, 33)
    z, y = numbers(rng, (n, C), dtype), classes(rng, n, C)
    want = lambda: reference.distillation_rows(z, labels=y)[0].mean()  # noqa: E731
    return Call("cross_entropy", losses.cross_entropy, {"logits": z, "labels": y}, want, eps(dtype))


@call(PUBLIC)
def distillation_loss(rng):
    dtype, n, C, T, weight = kind(rng), size(rng), size(rng, 33), rng.uniform(0.5, 6), rng.uniform()
    soft = rng.random() < 0.5
    arrays = {"student_logits": numbers(rng, (n, C), dtype), "labels": classes(rng, n, C, -1)}
    arrays["soft_labels" if soft else "teacher_logits"] = (
        shares(rng, n, C, dtype) if soft else numbers(rng, (n, C), dtype)
    )
    if weighted := rng.random() < 0.5:
        arrays["sample_weight"] = rng.uniform(0.1, 2, n)

    def run(**arrays):
        return losses.distillation_loss(**arrays, temperature=T, kd_weight=weight, return_grad=True)

    def want():
        w = arrays["sample_weight"] if weighted else np.ones(n)
        loss, slope = reference.distillation_rows(
            arrays["student_logits"],
            arrays.get("teacher_logits"),
            arrays["labels"],
            soft=arrays.get("soft_labels"),
            temperature=T,
            kd_weight=weight,
        )
        return (w * loss).sum() / w.sum(), w[:, None] * slope / w.sum()

    # soft labels as float32 hold them add up to 1 only within rounding, times T^2 and the size of the logits
    return Call("distillation_loss", run, arrays, want, 200 * eps(dtype))


# -- models and predictors ---------------------------------------------------------------------------------------------


def rows_and_labels(rng, dtype=np.float64):
    n, C = size(rng, 64) + 8, 3
    y = classes(rng, n, C)
    y[:C] = np.arange(C)
    return rng.normal(size=(n, size(rng, 17))).astype(dtype), y, C


@call(PUBLIC)
def fit_classifier(rng):
    X, y, C = rows_and_labels(rng, kind(rng))
    arrays = {"X": X, "y": y, "sample_weight": rng.uniform(0.1, 1, len(y))}
    arrays["teacher_logits"] = numbers(rng, (len(y), C), X.dtype)
    dtype = kind(rng).name

    def run(X, y, **signal):
        model = models.MLPClassifier((5,), epochs=2, random_state=0, dtype=dtype).fit(X, y, **signal)
        return model.parameters, model.predict_proba(X), model.predict_logits(X), model.gradient(X, y, **signal)

    return Call("MLPClassifier", run, arrays)


@call(PUBLIC)
def fit_regressor(rng):
    X, _, _ = rows_and_labels(rng, kind(rng))
    y, dtype = rng.normal(size=len(X)), kind(rng).name
    arrays = {"X": X, "y": y, "sample_weight": rng.uniform(0.1, 1, len(y))}

    def run(X, y, **signal):
        model = models.MLPRegressor((5,), epochs=2, random_state=0, dtype=dtype).fit(X, y, **signal)
        return model.parameters, model.predict(X), model.gradient(X, y, **signal)

    return Call("MLPRegressor", run, arrays)


def recurrent(rng, dtype):
    kinds = [models.LSTMClassifier(4, random_state=0, epochs=1, dtype=dtype)]
    kinds.append(models.CNNClassifier((4,), random_state=0, epochs=1, dtype=dtype))
    return kinds[rng.integers(2)]


@call(PUBLIC)
def fit_windows(rng):
    dtype, n, steps = kind(rng), size(rng, 33) + 3, size(rng, 8)
    y = classes(rng, n, 3)
    y[:3] = np.arange(3)
    model = recurrent(rng, dtype.name)

    def run(X, y):
        fitted = model.fit(X, y)
        return fitted.parameters, fitted.predict_proba(X), fitted.predictor()(X)

    return Call(type(model).__name__, run, {"X": rng.normal(size=(n, steps, 2)).astype(dtype), "y": y})


@call(PUBLIC)
def predictor(rng):
    dtype, n, F, C = kind(rng), size(rng), size(rng, 33), size(rng, 33)
    hidden = tuple(size(rng, 33) for _ in range(rng.integers(4)))
    model = models.MLPClassifier(hidden, random_state=0, dtype=dtype.name, activation="tanh").initialize(F, C)
    x = numbers(rng, (F,) if rng.random() < 0.3 else (n, F), dtype)
    predict, sizes = model.predictor(), (F, *hidden, C)

    def want():
        logits = reference.mlp_forward(model.parameters, sizes, "tanh", np.atleast_2d(x))
        return reference.softmax(logits).reshape(*x.shape[:-1], C)

    def run(x):
        p = predict(x)
        return p, predict(x, out=np.empty_like(p)), predict.argmax(x)

    return Call("Predictor", run, {"x": x}, lambda: [want()], 100 * eps(dtype))


@call(PUBLIC)
def window_predictor(rng):
    dtype, n, steps = kind(rng), size(rng, 100), size(rng, 16)
    predict = recurrent(rng, dtype.name).initialize((steps, 3), 4).predictor()
    x = numbers(rng, (steps, 3) if rng.random() < 0.3 else (n, steps, 3), dtype)
    return Call("SequencePredictor", lambda x: (predict(x), predict.argmax(x)), {"x": x})


@call(PUBLIC)
def stream(rng):
    dtype = kind(rng)
    predict = models.LSTMClassifier(size(rng, 17), random_state=0, dtype=dtype.name).initialize((5, 3), 4).predictor()

    def run(row):
        ticks = predict.stream()
        return ticks.push(row), ticks.push(row), ticks.state

    return Call("SequenceStream", run, {"row": rng.normal(size=3).astype(dtype)})


# -- aggregation -------------------------------------------------------------------------------------------------------


@call(PUBLIC)
def rules(rng):
    dtype, n, d = kind(rng), int(rng.integers(7, 40)), size(rng) + 1
    f = int(rng.integers(0, (n - 3) // 4 + 1))
    U = numbers(rng, (n, d), dtype)
    name = rng.choice(["mean", "median", "trimmed_mean", "meamed", "krum", "multi_krum", "bulyan", "geometric_median"])
    definitions = {
        "mean": lambda: U.astype(float).mean(0),
        "median": lambda: reference.median(U.astype(float)),
        "trimmed_mean": lambda: reference.trimmed_mean(U.astype(float), f),
        "meamed": lambda: reference.mean_near_median(U.astype(float), n - f),
    }
    options = {} if name in ("mean", "median", "geometric_median") else {"f": f}
    rule = getattr(aggregate, name)
    if rng.random() < 0.5:
        return Call(name, lambda U: rule(U, **options), {"U": U}, definitions.get(name), eps(dtype))
    rows = {f"u{i}": row for i, row in enumerate(U)}
    return Call(name, lambda **u: rule(list(u.values()), **options), rows, definitions.get(name), eps(dtype))


# -- evaluation, features, condensation, distillation ------------------------------------------------------------------


@call(PUBLIC)
def evaluate(rng):
    n, C = size(rng) + 2, size(rng, 10) + 1
    y = classes(rng, n, C)

    def run(y, proba):
        report = evaluation.evaluate(y, proba)
        return report.accuracy, report.log_loss, report.brier, report.confusion, evaluation.log_loss(y, proba)

    return Call("evaluate", run, {"y": y, "proba": shares(rng, n, C, kind(rng))})


@call(PUBLIC)
def temperature_of(rng):
    n = size(rng) + 2
    return Call(
        "fit_temperature", evaluation.fit_temperature, {"logits": rng.normal(size=(n, 3)), "y": classes(rng, n, 3)}
    )


@call(PUBLIC)
def risk(rng):
    n = size(rng) + 1

    def run(losses, forecasts):
        return evaluation.coverage(losses, forecasts).p_value, evaluation.expected_shortfall(losses)

    return Call("coverage", run, {"losses": rng.normal(size=n), "forecasts": rng.normal(size=n)})


@call(PUBLIC)
def agreements(rng):
    n = size(rng) + 3
    first, second = classes(rng, n, 3), classes(rng, n, 3)

    def run(y, predicted):
        measures = (evaluation.accuracy, evaluation.balanced_accuracy, evaluation.mcc, evaluation.agreement)
        return [m(y, predicted) for m in measures], evaluation.confusion_matrix(y, predicted, 3)

    return Call("accuracy", run, {"y": first, "predicted": second})


@call(PUBLIC)
def selective(rng):
    n = size(rng) + 2
    arrays = {"y": classes(rng, n, 3), "proba": shares(rng, n, 3, np.float64), "uncertainty": rng.random(n)}

    def run(**arrays):
        curve = evaluation.selective_curve(**arrays)
        return curve.coverage, curve.accuracy, curve.threshold

    return Call("selective_curve", run, arrays)


@call(PUBLIC)
def scaler(rng):
    X = numbers(rng, (size(rng), size(rng, 17)), kind(rng))
    make = [features.Standardizer, features.MinMaxScaler01][rng.integers(2)]

    def run(X):
        fitted = make().fit(X)
        return fitted.scale_, fitted.transform(X), fitted.inverse_transform(X)

    return Call("scaler", run, {"X": X})


@call(PUBLIC)
def windows(rng):
    n = size(rng) + 8
    return Call("windows", lambda X: features.windows(X, 4), {"X": numbers(rng, (n, 3), kind(rng))})


@call(PUBLIC)
def closes(rng):
    close = np.exp(rng.normal(size=size(rng) + 8).cumsum() * 0.01)

    def run(close):
        return features.forward_returns(close, 2), features.direction_labels(close, 0.001)

    return Call("direction_labels", run, {"close": close})


@call(PUBLIC)
def condensed(rng):
    X, y, _ = rows_and_labels(rng, kind(rng))
    method = str(rng.choice(["centroids", "kmedoids", "herding", "gradient_matching", "feature_matching", "kip"]))
    options = {} if method in ("centroids", "kmedoids", "herding") else {"iterations": 2}
    if method not in condense.METHODS:
        method, options = "centroids", {}

    def run(X, y):
        small = condense.condense(X, y, method=method, per_class=1, random_state=0, **options)
        return small.X, small.y

    return Call(f"condense {method}", run, {"X": X, "y": y})


@call(PUBLIC)
def r_operator(rng):
    dtype, n, F = kind(rng), size(rng, 64), size(rng, 17)
    model = models.MLPClassifier((4,), activation="tanh", random_state=0, dtype=dtype.name).initialize(F, 3)
    arrays = {"X": rng.normal(size=(n, F)).astype(dtype), "y": classes(rng, n, 3)}
    arrays["V"] = rng.normal(size=model.n_parameters).astype(dtype)
    return Call("mlp_r_operator", lambda X, y, V: condense.mlp_r_operator(model, X, y, V), arrays)


@call(PUBLIC)
def distilled(rng):
    X, y, _ = rows_and_labels(rng, np.float32)
    teacher = models.MLPClassifier((4,), epochs=1, random_state=0).fit(X, y)

    def run(X, y):
        student = models.MLPClassifier((3,), epochs=1, random_state=1)
        return distill.distill(teacher, student, X, y).parameters

    return Call("distill", run, {"X": X, "y": y})


@call(PUBLIC)
def spreads(rng):
    n, C, members = size(rng), size(rng, 10), int(rng.integers(2, 5))
    probas = np.stack([shares(rng, n, C, np.float64) for _ in range(members)])
    return Call("spread", lambda probas: tuple(distill.spread(probas)), {"probas": probas})


@call(PUBLIC)
def parts(rng):
    y = classes(rng, size(rng) + 20, 3)
    return Call("partition", lambda y: list(federated.partition(y, 3, random_state=0)), {"y": y})


# -- bindings ----------------------------------------------------------------------------------------------------------


def signal_of(rng, n, C, dtype):
    """Options of Targets, which are those of the definition."""
    way = rng.integers(4)
    signal: dict[str, Any] = {}
    if way == 0:
        signal["values"] = rng.normal(size=(n, C)).astype(dtype)
        if rng.random() < 0.5:
            signal["quantile"] = float(rng.uniform(0.05, 0.95))
    else:
        if way != 1:
            signal["labels"] = rng.integers(-1, C, n).astype(np.int32)
        if way != 2:
            soft = rng.random() < 0.5
            signal["soft" if soft else "teacher_logits"] = (
                shares(rng, n, C, dtype) if soft else rng.normal(size=(n, C)).astype(dtype)
            )
            signal["kd_weight"] = float(rng.uniform())
        signal["temperature"] = float(rng.uniform(0.5, 5))
        signal["label_smoothing"] = float(rng.choice([0.0, 0.1]))
    if rng.random() < 0.5:
        signal["weights"] = rng.uniform(0, 2, n).astype(dtype)
    return signal


def network(rng, dtype):
    """(kernel, parameters, activation, loss and gradient by definition) of a perceptron, an LSTM or a CNN."""
    activation = str(rng.choice(["identity", "relu", "tanh", "gelu"]))
    sizes = tuple(size(rng, 33) for _ in range(rng.integers(2, 5)))
    if rng.random() < 0.5:
        kernel = _native.MLPKernel(sizes, activation, dtype)
        definition = lambda p, X, **s: reference.mlp_loss_gradient(p, sizes, activation, X, **s)  # noqa: E731
    else:
        widths = (*(size(rng, 17) for _ in range(rng.integers(1, 3))), sizes[0])
        lstm, pooling, steps = rng.random() < 0.5, str(rng.choice(["last", "mean", "max"])), int(rng.integers(1, 7))
        taps = 1 if lstm else int(rng.integers(1, 6))
        kernel = _native.SequenceKernel(
            "lstm" if lstm else "cnn", steps, widths, sizes, activation, pooling, taps, dtype
        )
        definition = lambda p, X, **s: reference.sequence_loss_gradient(kernel, p, X, **s)  # noqa: E731
    params = (rng.normal(size=kernel.n_parameters) / np.sqrt(max(*kernel.sizes, *kernel.input_shape))).astype(dtype)
    return kernel, params, definition


@call(NATIVE)
def loss_gradient(rng):
    dtype, n = kind(rng), size(rng)
    kernel, params, definition = network(rng, dtype)
    signal = signal_of(rng, n, kernel.n_outputs, dtype)
    arrays = {"params": params, "X": rng.normal(size=(n, *kernel.input_shape)).astype(dtype)}
    given = {k: v for k, v in signal.items() if isinstance(v, np.ndarray)}
    options = {k: v for k, v in signal.items() if k not in given}

    def run(params, X, **given):
        return kernel.loss_gradient(params, X, _native.Targets(n, dtype, **given, **options), l2=0.01)

    # gelu and max pooling of float32 amplify rounding: relative to the largest entry
    want = lambda: definition(params, arrays["X"], l2=0.01, **signal)  # noqa: E731
    return Call("loss_gradient", run, {**arrays, **given}, want, 100 * eps(dtype))


@call(NATIVE)
def epoch(rng):
    dtype, n = kind(rng), size(rng, 100)
    kernel, params, _ = network(rng, dtype)
    C, way = kernel.n_outputs, str(rng.choice(["sgd", "adam"]))
    arrays = {"params": params, "X": rng.normal(size=(n, *kernel.input_shape)).astype(dtype)}
    arrays |= {"labels": rng.integers(-1, C, n).astype(np.int32), "order": rng.permutation(n)}
    batch = int(rng.integers(1, n + 3))

    def run(params, X, labels, order):
        optimizer = _native.Optimizer(way, kernel.n_parameters, dtype)
        params = params if type(params) is not np.ndarray else params.copy()
        loss = kernel.epoch(params, optimizer, X, _native.Targets(n, dtype, labels=labels), order, batch, 0.01)
        return loss, params, optimizer.m, optimizer.v

    return Call("epoch", run, arrays)


@call(NATIVE)
def exits(rng):
    dtype, n = kind(rng), size(rng, 100)
    sizes = tuple(size(rng, 17) for _ in range(rng.integers(4, 6)))
    weights = tuple(rng.uniform(0.5, 1.5, len(sizes) - 2))
    hint, shallow = float(rng.choice([0.0, 0.2])), bool(rng.integers(2))
    losses_ = {"exit_weights": weights, "feature_weight": hint, "shallow_teaches": shallow}
    kernel = _native.ExitsKernel(sizes, "tanh", dtype, **losses_)
    params = (rng.normal(size=kernel.n_parameters) / np.sqrt(max(sizes))).astype(dtype)
    X, y = rng.normal(size=(n, sizes[0])).astype(dtype), rng.integers(-1, sizes[-1], n).astype(np.int32)
    how = {"temperature": 2.0, "kd_weight": 0.4, "label_smoothing": 0.1}

    def run(params, X, labels):
        return kernel.loss_gradient(params, X, _native.Targets(n, dtype, labels=labels, **how), l2=0.01)

    def want():
        return reference.exits_loss_gradient(params, sizes, "tanh", X, labels=y, l2=0.01, **losses_, **how)

    return Call("exits", run, {"params": params, "X": X, "labels": y}, want, 100 * eps(dtype))


def groups(rng, n, most):
    inner = np.sort(rng.choice(np.arange(1, n), min(most, n - 1), replace=False)) if n > 1 else []
    return np.array([0, *inner, n], np.int64)


@call(NATIVE)
def gradient_match(rng):
    dtype, n = kind(rng), size(rng, 64)
    sizes = tuple(size(rng, 17) for _ in range(rng.integers(2, 5)))
    kernel = _native.MLPKernel(sizes, "tanh", dtype)
    starts, distance = groups(rng, n, 3), str(rng.choice(["rowwise", "global", "mse"]))
    scale = 1 / np.sqrt(max(sizes))
    arrays = {
        "params": (scale * rng.normal(size=kernel.n_parameters)).astype(dtype),
        "reals": rng.normal(size=(len(starts) - 1, kernel.n_parameters)).astype(dtype),
        "X": rng.normal(size=(n, sizes[0])).astype(dtype),
        "soft": shares(rng, n, sizes[-1], dtype),
        "starts": starts,
    }

    def run(params, reals, X, soft, starts):
        targets = _native.Targets(n, dtype, soft=soft, kd_weight=1.0)
        return _native.gradient_match(kernel, params, reals, X, targets, starts, distance, want_y=True)

    return Call("gradient_match", run, arrays)


@call(NATIVE)
def feature_match(rng):
    dtype, n, m = kind(rng), size(rng, 64) + 3, size(rng, 64) + 3
    sizes = tuple(size(rng, 17) for _ in range(rng.integers(2, 5)))
    kernel, all_layers = _native.MLPKernel(sizes, "tanh", dtype), bool(rng.integers(2))
    arrays = {
        "params": rng.normal(size=kernel.n_parameters).astype(dtype) / 4,
        "reals": rng.normal(size=(m, sizes[0])).astype(dtype),
        "real_starts": groups(rng, m, 2),
        "X": rng.normal(size=(n, sizes[0])).astype(dtype),
        "starts": groups(rng, n, 2),
    }
    want = lambda: reference.feature_match(  # noqa: E731
        arrays["params"], sizes, "tanh", *(arrays[k] for k in ("reals", "real_starts", "X", "starts")), all_layers
    )
    run = lambda **a: _native.feature_match(kernel, **a, all_layers=all_layers)  # noqa: E731
    return Call("feature_match", run, arrays, want, 100 * eps(dtype))


@call(NATIVE)
def ridge_slopes(rng):
    dtype, m, d, C, n = kind(rng), size(rng, 33), size(rng, 17), size(rng, 8), size(rng, 100)
    depth = int(rng.integers(0, 4))
    options = {"depth": depth, "gamma": 0.3, "weight_variance": 2.0, "bias_variance": 0.1}
    arrays = {k: rng.normal(size=s) for k, s in {"S": (m, d), "a": (m, C), "X": (n, d), "target": (n, C)}.items()}
    arrays = {k: v.astype(dtype) for k, v in arrays.items()}
    want = lambda: reference.ridge_slopes(*arrays.values(), **options)  # noqa: E731
    return Call("ridge_slopes", lambda **a: _native.ridge_slopes(**a, **options), arrays, want, 300 * eps(dtype))


@call(NATIVE)
def descent(rng):
    dtype, n, d = kind(rng), size(rng, 100), size(rng, 33)
    arrays = {k: rng.normal(size=(n, d)).astype(dtype) for k in ("x", "velocity", "slope")}

    def run(x, velocity, slope):
        x, velocity = (a.copy() if type(a) is np.ndarray else a for a in (x, velocity))
        _native.descend(x, velocity, slope, 0.1)
        return x, velocity

    want = lambda: (  # noqa: E731
        arrays["x"] - 0.1 * (0.5 * arrays["velocity"] + arrays["slope"]),
        0.5 * arrays["velocity"] + arrays["slope"],
    )
    return Call("descend", run, arrays, want, 10 * eps(dtype))
