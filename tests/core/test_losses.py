"""Laws of the losses, agreement with their definitions, and what bad input gets, on every instruction set."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastkd import losses, reference

scipy_special = pytest.importorskip("scipy.special")
CLASSES = [1, 2, 3, 4, 5, 10, 16, 17, 33, 100]
TEMPERATURES = [1e-3, 0.1, 1.0, 3.0, 100.0, 1e3]
per_isa = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def logits(seed, n, n_classes, dtype, scale=5.0):
    return (scale * np.random.default_rng(seed).normal(size=(n, n_classes))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_softmax_agrees_with_scipy(each_isa, dtype, n_classes, temperature):
    z = logits(n_classes, 21, n_classes, dtype)
    # what one rounding of (z - max) / T does to the result is the input's doing, not the kernel's
    exact = (z - z.max(1, keepdims=True)).astype(dtype).astype(np.longdouble) / np.longdouble(temperature)
    p, log_p = losses.softmax(z, temperature), losses.log_softmax(z, temperature)
    assert p.dtype == log_p.dtype == dtype
    eps, size = np.finfo(dtype).eps, np.abs(exact)
    want = scipy_special.softmax(exact, axis=1)
    normal = want > np.finfo(dtype).tiny
    assert np.all((np.abs(p - want) <= (4 + 2 * size) * eps * want)[normal])
    assert np.all(np.abs(p - want)[~normal] <= 2 * np.finfo(dtype).tiny)
    log_want = scipy_special.log_softmax(exact, axis=1)
    assert np.all(np.abs(log_p - log_want) <= 4 * eps * np.maximum(1, np.abs(log_want)))


@per_isa
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 40),
    n_classes=st.integers(1, 40),
    temperature=st.floats(1e-3, 1e3),
    scale=st.sampled_from([1e-3, 1.0, 30.0, 1e4]),
)
def test_softmax_laws(each_isa, seed, n, n_classes, temperature, scale):
    z = logits(seed, n, n_classes, np.float64, scale)
    p = losses.softmax(z, temperature)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-14)
    assert np.all(p >= 0)
    shifted = losses.softmax(np.round(z, 3) + 64.0, temperature)
    np.testing.assert_allclose(shifted, losses.softmax(np.round(z, 3), temperature), rtol=1e-6, atol=1e-12)
    assert np.all(np.isfinite(losses.log_softmax(z, temperature)))
    np.testing.assert_array_equal(
        losses.softmax(z, temperature), np.vstack([losses.softmax(r, temperature) for r in z])
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_and_kl_carry_the_same_bits_everywhere(on_all_isas, dtype):
    for n_classes in CLASSES:
        z = logits(n_classes, 37, n_classes, dtype)
        z[0, 0] = -np.inf if n_classes > 1 else 0.0
        p = reference.softmax(z[::-1]).astype(dtype)

        def results(z=z, p=p):
            q = losses.softmax(z, 3.0)
            return b"".join(x.tobytes() for x in (q, losses.log_softmax(z, 0.7), losses.kl_divergence(p, q)))

        assert len(set(on_all_isas(results).values())) == 1


def test_a_class_excluded_by_minus_infinity(each_isa):
    np.testing.assert_array_equal(losses.softmax([[0.0, -np.inf, 0.0]]), [[0.5, 0.0, 0.5]])
    assert losses.log_softmax([0.0, -np.inf])[1] == -np.inf
    student, teacher = np.array([[1.0, -np.inf, 0.0]]), np.array([[0.5, -np.inf, 0.0]])
    loss, grad = losses.distillation_loss(student, teacher, [0], temperature=2.0, return_grad=True)
    both, grad2 = losses.distillation_loss(
        student[:, [0, 2]], teacher[:, [0, 2]], [0], temperature=2.0, return_grad=True
    )
    assert loss == pytest.approx(both, rel=1e-14)
    np.testing.assert_allclose(grad[:, [0, 2]], grad2, rtol=1e-13)
    assert grad[0, 1] == 0
    assert losses.distillation_loss([[0.0, -np.inf]], [[0.0, 0.0]]) == np.inf


@pytest.mark.parametrize("n_classes", [3, 20])
@pytest.mark.parametrize(
    ("dtype", "huge"), [(np.float32, 1e4), (np.float32, 3e38), (np.float64, 1e4), (np.float64, 1.7e308)]
)
def test_finite_logits_of_any_size_stay_finite(each_isa, n_classes, dtype, huge):
    z = np.zeros((5, n_classes), dtype)
    z[0, 0], z[1, 1], z[2, :2], z[3] = huge, -huge, (huge, -huge), huge
    for temperature in (1e-3, 1.0, 1e3):
        assert np.all(np.isfinite(losses.softmax(z, temperature)))
        assert np.all(np.isfinite(losses.log_softmax(z, temperature)))
        loss, grad = losses.distillation_loss(
            z, z[::-1].copy(), np.arange(5) % 3, temperature=temperature, return_grad=True
        )
        assert np.isfinite(loss)
        assert loss >= 0
        assert np.all(np.isfinite(grad))


@per_isa
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 40),
    n_classes=st.sampled_from([2, 3, 4, 7, 16, 17, 50]),
    dtype=st.sampled_from([np.float32, np.float64]),
    temperature=st.sampled_from([0.1, 1.0, 2.5, 20.0]),
    kd_weight=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    kind=st.sampled_from(["teacher", "soft", "labels", "both"]),
    weighted=st.booleans(),
)
def test_distillation_loss_is_its_definition(
    each_isa, seed, n, n_classes, dtype, temperature, kd_weight, kind, weighted
):
    rng = np.random.default_rng(seed)
    z, t = logits(seed, n, n_classes, dtype, 2.0), logits(seed + 1, n, n_classes, dtype, 2.0)
    labels = rng.integers(-1 if kind != "labels" else 0, n_classes, n)
    weights = rng.uniform(0.1, 2.0, n).astype(dtype) if weighted else None
    given = {
        "teacher": {"teacher_logits": t},
        "soft": {"soft_labels": losses.softmax(t, temperature), "labels": labels},
        "labels": {"labels": labels},
        "both": {"teacher_logits": t, "labels": labels},
    }[kind]
    loss, grad = losses.distillation_loss(
        z, temperature=temperature, kd_weight=kd_weight, sample_weight=weights, return_grad=True, **given
    )
    weight = 1.0 if kind == "teacher" else 0.0 if kind == "labels" else kd_weight
    rows, slope = reference.distillation_rows(
        z,
        None if kind in ("labels", "soft") else t,
        given.get("labels"),
        soft=given.get("soft_labels"),
        temperature=temperature,
        kd_weight=weight,
    )
    w = np.ones(n) if weights is None else weights.astype(float)
    w /= w.sum()
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    assert grad.dtype == dtype
    assert loss == pytest.approx(w @ rows, rel=tolerance, abs=tolerance * max(1, temperature**2))
    np.testing.assert_allclose(grad, slope * w[:, None], rtol=0, atol=tolerance * max(1, temperature))


@pytest.mark.parametrize("n_classes", [2, 3, 5, 20])
@pytest.mark.parametrize("kd_weight", [0.0, 0.7, 1.0])
def test_gradient_is_the_derivative(each_isa, n_classes, kd_weight):
    z, t, labels = (
        logits(1, 4, n_classes, np.float64, 1.0),
        logits(2, 4, n_classes, np.float64),
        np.array([0, 1, -1, 0]),
    )
    options = {"temperature": 3.0, "kd_weight": kd_weight}
    _, grad = losses.distillation_loss(z, t, labels, return_grad=True, **options)
    step = 1e-5
    for i in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[i] += step
        down[i] -= step
        slope = losses.distillation_loss(up, t, labels, **options) - losses.distillation_loss(
            down, t, labels, **options
        )
        assert grad[i] == pytest.approx(slope / (2 * step), rel=1e-6, abs=1e-9)


def test_high_temperature_limit(each_isa):
    # Hinton, Vinyals and Dean 2015, section 2.1: for centered logits T^2 KL has gradient (z_s - z_t) / C
    z, t = (x - x.mean(1, keepdims=True) for x in (logits(3, 6, 4, np.float64, 1.0), logits(4, 6, 4, np.float64, 1.0)))
    _, grad = losses.distillation_loss(z, t, temperature=1000.0, return_grad=True)
    np.testing.assert_allclose(grad * len(z), (z - t) / 4, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [3, 40])
def test_loss_keeps_its_digits_where_student_and_teacher_agree(each_isa, dtype, n_classes):
    t = logits(5, 8, n_classes, dtype, 2.0)
    near = (t + dtype(2**-9) * np.random.default_rng(6).integers(-3, 4, t.shape)).astype(dtype)
    far_t, far_z = logits(7, 8, n_classes, dtype, 2.0), logits(8, 8, n_classes, dtype, 2.0)
    for z, teacher, temperature in ((near, t, 1.0), (near, t, 3.0), (far_z, far_t, 1e6), (near + dtype(512), t, 1.0)):
        gap = (teacher.astype(np.longdouble) - z) / temperature
        q = scipy_special.softmax(teacher.astype(np.longdouble) / temperature, axis=1)
        d = gap - (q * gap).sum(1, keepdims=True)
        want = float(temperature**2 * np.log1p((q * (np.expm1(-d) + d)).sum(1)).mean())
        got = losses.distillation_loss(z, teacher, temperature=temperature)
        assert got == pytest.approx(want, rel=2e-4 if dtype == np.float32 else 1e-8)
    assert losses.distillation_loss(t, t, temperature=2.0) == 0.0


@per_isa
@given(seed=st.integers(0, 2**31), n_classes=st.integers(1, 40), eps=st.sampled_from([0.0, 1e-10, 1e-3]))
def test_kl_laws(each_isa, seed, n_classes, eps):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(n_classes, 0.3), size=(2, 9))
    kl = losses.kl_divergence(p, q, eps=eps)
    np.testing.assert_allclose(kl, reference.kl_divergence(p, q, eps), rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(losses.kl_divergence(p, p), 0)
    if eps == 0:
        assert np.all(kl >= 0)
        np.testing.assert_allclose(kl, scipy_special.rel_entr(p, q).sum(1), rtol=1e-9, atol=1e-14)


def test_kl_edges(each_isa):
    assert losses.kl_divergence([0.5, 0.5], [1.0, 0.0], eps=0) == np.inf
    assert losses.kl_divergence([1.0, 0.0], [0.5, 0.5], eps=0) == pytest.approx(np.log(2))
    assert losses.kl_divergence([0.5, 0.5], [1.0, 0.0]) == pytest.approx(0.5 * np.log(0.5) + 0.5 * np.log(0.5 / 1e-10))
    p = np.array([0.5, 0.5])
    shift = np.array([2.0**-30, -(2.0**-30)])  # exactly representable: KL = 2 * 2^-60 to first order
    assert losses.kl_divergence(p, p + shift, eps=0) == pytest.approx(2.0**-59, rel=1e-6)
    assert losses.kl_divergence(np.float32([[0.5, 0.5]]), np.float32([[0.25, 0.75]])).dtype == np.float32
    assert losses.kl_divergence(np.ones((2, 3, 4)) / 4, np.ones((2, 3, 4)) / 4).shape == (2, 3)


def test_cross_entropy(each_isa):
    z = logits(9, 6, 3, np.float64)
    y = np.array([0, 1, 2, 0, 1, 2])
    log_p = reference.log_softmax(z)
    assert losses.cross_entropy(z, y) == pytest.approx(-log_p[np.arange(6), y].mean(), rel=1e-13)
    smooth = -(0.9 * log_p[np.arange(6), y] + 0.1 * log_p.mean(1)).mean()
    assert losses.cross_entropy(z, y, label_smoothing=0.1) == pytest.approx(smooth, rel=1e-13)


def test_in_place_and_leading_axes(each_isa):
    z = logits(10, 12, 3, np.float32).reshape(2, 6, 3)
    want = losses.softmax(z)
    assert losses.softmax(z, out=z) is z
    np.testing.assert_array_equal(z, want)
    assert losses.softmax(np.empty((0, 3))).shape == (0, 3)
    np.testing.assert_array_equal(losses.softmax(np.asfortranarray(want[0])), losses.softmax(want[0]))


@pytest.mark.parametrize("n_classes", [3, 20])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_without_a_softmax_are_named(each_isa, n_classes, bad):
    z = np.zeros((40, n_classes))
    z[33] = bad
    for call in (
        losses.softmax,
        losses.log_softmax,
        lambda x: losses.distillation_loss(x, np.zeros_like(z)),
        lambda x: losses.distillation_loss(np.zeros_like(z), x),
    ):
        with pytest.raises(ValueError, match="row 33"):
            call(z)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_bad_temperatures(temperature):
    for call in (losses.softmax, losses.log_softmax):
        with pytest.raises(ValueError, match="temperature must be finite and > 0"):
            call([0.0, 1.0], temperature)
    with pytest.raises(ValueError, match="temperature must be finite and > 0"):
        losses.distillation_loss([[0.0, 1.0]], [[0.0, 1.0]], temperature=temperature)


@pytest.mark.parametrize("wrong", [[1j, 2.0], ["a", "b"], [object(), None]])
def test_what_is_not_real_is_a_type_error(wrong):
    with pytest.raises(TypeError, match="must hold real numbers"):
        losses.softmax(wrong)


def test_other_errors():
    z = np.zeros((2, 3))
    with pytest.raises(ValueError, match="needs a teacher"):
        losses.distillation_loss(z)
    with pytest.raises(ValueError, match="not both"):
        losses.distillation_loss(z, z, soft_labels=z)
    with pytest.raises(ValueError, match="shape"):
        losses.distillation_loss(z, np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"labels must be in 0 \.\. 2.*got 3 in row 1"):
        losses.distillation_loss(z, z, [0, 3])
    with pytest.raises(ValueError, match=r"got -1 in row 0"):
        losses.cross_entropy(z, [-1, 0])
    with pytest.raises(ValueError, match="kd_weight must lie in"):
        losses.distillation_loss(z, z, kd_weight=1.5)
    with pytest.raises(ValueError, match="not a probability distribution"):
        losses.distillation_loss(z, soft_labels=z)
    with pytest.raises(ValueError, match="sample_weight"):
        losses.distillation_loss(z, z, sample_weight=[0.0, 0.0])
    with pytest.raises(ValueError, match="out must be a float64 array of shape"):
        losses.softmax(z, out=np.empty((3, 2)))
    frozen = np.empty((2, 3))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        losses.softmax(z, out=frozen)
    with pytest.raises(ValueError, match="p row 0"):
        losses.kl_divergence([[-0.5, 1.5]], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="at least one class"):
        losses.softmax(np.empty((3, 0)))
    with pytest.raises(ValueError, match="at least one class"):
        losses.softmax(1.0)


@pytest.mark.parametrize("n", range(1, 12))
def test_a_sum_of_huge_losses_stays_finite(each_isa, n):
    z = np.tile([1.7e308, -1.7e308, 0.0], (n, 1))
    assert np.isfinite(losses.cross_entropy(z, np.ones(n, int)))
    assert np.isfinite(losses.distillation_loss(z, z[:, ::-1].copy()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [3, 20])
def test_any_finite_temperature_gives_a_softmax(each_isa, dtype, n_classes):
    z = logits(12, 5, n_classes, dtype)
    z[0, 1] = -np.inf
    for temperature in (1e-320, 1e-39, 1e60, 1e160, 1.7e308):
        p = losses.softmax(z, temperature)
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
        assert p[0, 1] == 0


def test_out_that_overlaps_the_input_is_refused():
    memory = np.zeros(41)
    with pytest.raises(ValueError, match="overlaps"):
        losses.softmax(memory[:40].reshape(10, 4), out=memory[1:].reshape(10, 4))


@pytest.mark.parametrize("temperature", [1e3, 1e5, 1e8])
def test_gradient_keeps_its_digits_at_high_temperatures(each_isa, temperature):
    """q_s - q_t is a difference of nearly equal numbers there: 1 / (C T) of what it is made of."""
    rng = np.random.default_rng(0)
    for classes in (3, 40):
        student, teacher = (rng.normal(size=(50, classes)).astype(np.float32) for _ in range(2))
        options = {"temperature": temperature, "return_grad": True}
        _, grad = losses.distillation_loss(student, teacher, **options)
        _, exact = losses.distillation_loss(student.astype(np.float64), teacher.astype(np.float64), **options)
        assert np.abs(grad - exact).max() < 3e-6 * np.abs(exact).max()


@pytest.mark.parametrize(("dtype", "temperature"), [(np.float32, 1e-39), (np.float64, 1e-320)])
def test_loss_stays_a_number_at_vanishing_temperatures(each_isa, dtype, temperature):
    loss, grad = losses.distillation_loss(
        np.array([[0, 5, 1]], dtype), np.array([[3, 0, 1]], dtype), [0], temperature=temperature, return_grad=True
    )
    hard, hard_grad = losses.distillation_loss(np.array([[0, 5, 1]], dtype), labels=[0], return_grad=True)
    assert loss == pytest.approx(0.3 * hard)
    np.testing.assert_allclose(grad, 0.3 * hard_grad, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-320, 1e-40, 1e38, 1e308])
def test_only_ratios_of_weights_count(size):
    student, labels = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), [0, 1, 2, 1]
    weights = np.array([1.0, 0.5, 0.25, 1.0])
    expected = losses.distillation_loss(student, labels=labels, sample_weight=weights)
    loss = losses.distillation_loss(student, labels=labels, sample_weight=weights * size)
    assert loss == pytest.approx(expected, rel=1e-3)


def test_rows_of_weight_zero_do_not_count_even_if_their_loss_is_infinite():
    student = np.array([[1.0, -np.inf], [0.5, 0.0]])
    expected = losses.distillation_loss(student[1:], labels=[0])
    assert losses.distillation_loss(student, labels=[1, 0], sample_weight=[0.0, 2.0]) == pytest.approx(expected)


def test_teacher_beyond_the_range_of_the_student():
    student = np.array([[1.0, 2.0, 0.0]], np.float32)
    loss = losses.distillation_loss(student, np.array([[1e300, 1e300 - 1e290, -1e300]]), temperature=1.0)
    assert loss == pytest.approx(losses.distillation_loss(student, soft_labels=[[1.0, 0.0, 0.0]], temperature=1.0))


@pytest.mark.parametrize("kd_weight", [0.0, 0.5])
def test_the_bad_array_is_named(kd_weight):
    good, bad = np.zeros((3, 2)), np.array([[0, 0], [0, 0], [np.nan, 0.0]])
    with pytest.raises(ValueError, match="teacher_logits row 2"):
        losses.distillation_loss(good, bad, [0, 1, 0], kd_weight=kd_weight)
    with pytest.raises(ValueError, match="student_logits row 2"):
        losses.distillation_loss(bad, good, [0, 1, 0], kd_weight=kd_weight)


def test_labels_have_the_shape_of_the_rows():
    logits = np.zeros((2, 3, 4))
    assert losses.distillation_loss(logits, labels=np.zeros((2, 3), int)) == pytest.approx(np.log(4))
    with pytest.raises(ValueError, match=r"labels must have shape \(2, 3\)"):
        losses.distillation_loss(logits, labels=np.zeros((3, 2), int))
