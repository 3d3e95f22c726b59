"""Losses of hostile rows against their definition in long double: zeros, ties, agreement, offsets, underflow."""

import numpy as np
import pytest

from fastkd import losses, reference
from fastkd._core._native import ExitsKernel, MLPKernel, Optimizer, SequenceKernel, Targets, r_operator

CLASSES = [2, 3, 5, 16, 17, 40]
TEMPERATURES = [1e-3, 0.1, 1.0, 3.0, 30.0, 1e3]
EXACT = float(np.finfo(np.longdouble).eps)


def tolerances(dtype, student, soft, temperature, kd_weight, n_labels, rows, slope):
    """Of each row's loss and gradient: a few ulp of the result, and of what the inputs' own rounding does to it."""
    eps, n_classes = np.finfo(dtype).eps, student.shape[1]
    # a soft label within an ulp, a logarithm of a sum near 1, the definition's own rounding
    noise = (8 * eps * soft + 200 * EXACT) * kd_weight * temperature**2 * n_classes
    spread = np.ptp(np.where(np.isfinite(student), student, 0), axis=1) / temperature
    loss = 256 * eps * np.abs(rows) + noise * (1 + soft * spread) + 8 * eps * n_labels
    grad = 24 * eps * (np.abs(slope).max(axis=1) + n_labels) + 8 * eps * kd_weight * temperature
    return loss, grad + 100 * EXACT * temperature + 4 * np.finfo(dtype).tiny


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_of_each_row_is_its_definition(each_isa, hostile, dtype, n_classes, temperature, soft):
    draw, n = hostile(n_classes, n_classes, dtype), 37
    student = draw.logits(n)
    teacher = draw.labels(n) if soft else draw.teacher(student)
    given = {"soft_labels" if soft else "teacher_logits": teacher, "temperature": temperature, "return_grad": True}
    for labels, kd_weight in ((None, 1.0), (draw.rng.integers(-1, n_classes, n), 0.4)):
        rows, slope = reference.distillation_rows(
            student,
            None if soft else teacher,
            labels,
            soft=teacher if soft else None,
            temperature=temperature,
            kd_weight=kd_weight,
        )
        loss_slack, grad_slack = tolerances(
            dtype, student, soft, temperature, kd_weight, labels is not None, rows, slope
        )
        grad = losses.distillation_loss(student, labels=labels, kd_weight=kd_weight, **given)[1] * n
        assert np.all(np.abs(grad - slope).max(axis=1) <= grad_slack)
        for r in range(n):
            one = {k: v[r : r + 1] if isinstance(v, np.ndarray) else v for k, v in given.items()}
            loss, _ = losses.distillation_loss(
                student[r : r + 1], labels=None if labels is None else labels[r : r + 1], kd_weight=kd_weight, **one
            )
            assert abs(loss - rows[r]) <= loss_slack[r], (r, student[r], teacher[r])


def kernels(dtype, n_classes, temperature, seed):
    """(name, kernel, definition of loss and gradient, inputs, parameters): students of every kind, sure of a class."""
    rng = np.random.default_rng(seed)
    sizes, widths = (5, 8, 6, n_classes), (2, 4)
    mlp = MLPKernel(sizes, "tanh", dtype)
    found = [("mlp", mlp, lambda p, X, **s: reference.mlp_loss_gradient(p, sizes, "tanh", X, **s), (5,))]
    for kind in ("lstm", "cnn"):
        net = SequenceKernel(kind, 5, widths, (4, n_classes), "tanh", "mean", 1 + 2 * (kind == "cnn"), dtype)
        found.append((kind, net, lambda p, X, net=net, **s: reference.sequence_loss_gradient(net, p, X, **s), (5, 2)))
    for name, kernel, definition, shape in found:
        params = rng.normal(size=kernel.n_parameters) / 2
        params[-n_classes:] += (
            8 * min(1, temperature) * (np.arange(n_classes) == rng.integers(n_classes))
        )  # the head's bias
        yield name, kernel, definition, shape, params.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [3, 5, 20])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0, 30.0])
def test_training_learns_from_sure_teachers_by_the_definition(each_isa, hostile, dtype, n_classes, temperature):
    n, relative = 40, 1e-3 if dtype == np.float32 else 1e-9
    draw = hostile(7 + n_classes, n_classes, dtype)
    onehot = np.eye(n_classes, dtype=dtype)
    for name, kernel, definition, shape, params in kernels(dtype, n_classes, temperature, 3):
        X = draw.rng.normal(size=(n, *shape)).astype(dtype)
        sure = int(np.argmax(params[-n_classes:]))  # teacher and student agree, but for the classes it excludes
        minus = np.where(np.arange(n_classes) == sure, 0, -np.inf).astype(dtype)
        for signal in (
            {"soft": np.repeat(onehot[sure : sure + 1], n, axis=0)},
            {"soft": draw.labels(n)},
            {"teacher_logits": np.repeat(minus[None], n, axis=0)},
            {"teacher_logits": draw.teacher(draw.logits(n)), "labels": draw.rng.integers(-1, n_classes, n)},
        ):
            options = {"temperature": temperature, "kd_weight": 0.5 if "labels" in signal else 1.0, **signal}
            if "labels" in signal:
                options["labels"] = options["labels"].astype(np.int32)
            want, slope = definition(params, X, **options)
            loss, grad = kernel.loss_gradient(params, X, Targets(n, dtype, **options))
            assert loss == pytest.approx(want, rel=relative), name
            np.testing.assert_allclose(grad, slope, rtol=0, atol=relative * np.abs(slope).max())
            trained = params.copy()
            optimizer, rate = Optimizer("sgd", len(params), dtype, momentum=0.0), 1 / np.abs(slope).max()
            told = kernel.epoch(trained, optimizer, X, Targets(n, dtype, **options), np.arange(n)[::-1].copy(), n, rate)
            assert told == pytest.approx(want, rel=relative), name
            np.testing.assert_allclose(trained, params - rate * slope, rtol=0, atol=2 * relative)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shallow_teaches", [False, True])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 3.0])
def test_exits_teach_each_other_also_where_they_are_sure(each_isa, dtype, shallow_teaches, temperature):
    sizes, n, rng = (4, 8, 6, 3), 30, np.random.default_rng(11)
    kernel = ExitsKernel(sizes, "tanh", dtype, (1.0, 1.0), shallow_teaches=shallow_teaches)
    params = (rng.normal(size=kernel.n_parameters) * min(1, temperature) / 4).astype(dtype)
    ends = kernel.n_parameters, MLPKernel(sizes, "tanh", dtype).n_parameters  # both exits' biases
    pupil, teacher = ends if not shallow_teaches else ends[::-1]
    params[teacher - 3] += 800 * temperature  # the other classes underflow
    params[pupil - 3] += 7 * temperature
    X, labels = rng.normal(size=(n, 4)).astype(dtype), np.full(n, -1, np.int32)
    signal = {"labels": labels, "temperature": temperature, "kd_weight": 1.0}
    losses_of = {"exit_weights": (1.0, 1.0), "shallow_teaches": shallow_teaches}
    want, slope = reference.exits_loss_gradient(params, sizes, "tanh", X, **losses_of, **signal)
    loss, grad = kernel.loss_gradient(params, X, Targets(n, dtype, **signal))
    relative = 1e-3 if dtype == np.float32 else 1e-9
    assert loss == pytest.approx(want, rel=relative)
    np.testing.assert_allclose(grad, slope, rtol=0, atol=relative * np.abs(slope).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [3, 20])
@pytest.mark.parametrize(
    "temperature", [1e-40, 1e-30, 1e-3, 831.0, 1e15, 3e37, 9e37, 1e38, 1e40, 1e60, 1e300, 1e307, 1.7e308]
)
def test_softmax_of_huge_logits_at_any_temperature_is_its_definition(each_isa, dtype, n_classes, temperature):
    most = np.finfo(dtype).max
    z = np.zeros((38, n_classes), dtype)
    for r in range(38):
        z[r] = np.linspace(-1, 1, n_classes) * most / dtype(10.0) ** (r if dtype == np.float32 else 8 * r)
    z[7, 0] = -np.inf
    want = reference.log_softmax(z, temperature)
    size = np.abs(np.where(np.isfinite(want), want, 0))
    eps = np.finfo(dtype).eps
    p, log_p = losses.softmax(z, temperature), losses.log_softmax(z, temperature)
    assert np.all(np.abs(p - np.exp(want)) <= (8 + 4 * size) * eps * np.exp(want) + np.finfo(dtype).tiny)
    fits = want >= -most
    assert np.all((np.abs(log_p - want) <= 4 * eps * np.maximum(1, size))[fits])
    np.testing.assert_array_equal(log_p[~fits & np.isfinite(z)], -most)
    assert log_p[7, 0] == -np.inf


def test_log_softmax_scales_before_the_difference_overflows(each_isa):
    most = np.finfo(np.float64).max
    np.testing.assert_allclose(losses.log_softmax([most, -most], 831.0), [0.0, -2 * (most / 831)], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [3, 20])
def test_the_r_operator_learns_from_sure_teachers_by_the_definition(each_isa, hostile, dtype, n_classes):
    sizes, n, relative = (5, 8, n_classes), 40, 1e-3 if dtype == np.float32 else 1e-9
    draw, kernel = hostile(n_classes, n_classes, dtype), MLPKernel(sizes, "tanh", dtype)
    V, params = (draw.rng.normal(size=(2, kernel.n_parameters)) / 2).astype(dtype)
    params[-n_classes] += 8
    X = draw.rng.normal(size=(n, 5)).astype(dtype)
    for soft in (np.eye(n_classes, dtype=dtype)[np.zeros(n, int)], draw.labels(n)):
        got = r_operator(kernel, params, V, X, Targets(n, dtype, soft=soft, kd_weight=1.0), want_y=True)
        want = reference.r_operator(params, sizes, "tanh", X, V, soft=soft)
        for a, b in zip(got, want):
            np.testing.assert_allclose(a, b, rtol=0, atol=relative * np.abs(b).max())
