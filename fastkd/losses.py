"""Losses of knowledge distillation. The last axis holds the classes; leading axes are rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd import _check
from fastkd._core import _native

__all__ = ["cross_entropy", "distillation_loss", "kl_divergence", "log_softmax", "softmax", "softmax_with_temperature"]


def softmax(logits: Any, temperature: float = 1.0, *, out: np.ndarray | None = None) -> np.ndarray:
    """Tempered softmax, q_c = exp(z_c / T) / sum_k exp(z_k / T) (Hinton, Vinyals and Dean 2015, eq. 1).

    Parameters
    ----------
    logits : array of shape (..., C)
        Finite logits of any size; -inf is a class with probability 0.
    temperature : float
        T, finite and > 0. Larger is softer; 1 is the plain softmax.
    out : ndarray, optional
        Where to write: shape and dtype of the result, C-contiguous; may be `logits` itself. Unspecified after an error.

    Returns
    -------
    ndarray of shape (..., C)
        float32 for float32 logits, else float64. The same bits on every instruction set.

    Raises
    ------
    ValueError
        For a row with NaN or +inf or nothing but -inf (named), a bad temperature or `out`.
    TypeError
        For complex numbers, objects or strings.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.losses import softmax
    >>> softmax(np.log([0.7, 0.25, 0.05]), 2.0).round(3)
    array([0.536, 0.32 , 0.143])
    """
    return _native.softmax(logits, temperature, False, out)


softmax_with_temperature = softmax


def log_softmax(logits: Any, temperature: float = 1.0, *, out: np.ndarray | None = None) -> np.ndarray:
    """Logarithm of `softmax`, z_c / T - log sum_k exp(z_k / T), without forming the probabilities.

    Parameters, result and errors are those of `softmax`; -inf logits give -inf, finite ones never do.

    Examples
    --------
    >>> from fastkd.losses import log_softmax
    >>> log_softmax([0.0, -1000.0])
    array([    0., -1000.])
    """
    return _native.softmax(logits, temperature, True, out)


def kl_divergence(p: Any, q: Any, *, eps: float = 1e-10) -> Any:
    """Kullback-Leibler divergence KL(p || q) = sum_c p_c ln(p_c / q_c) of each row, in nats.

    Terms with p <= eps count as 0 and q is clamped at eps from below, as is common with estimated probabilities;
    ``eps=0`` is the exact definition: infinite where q = 0 < p. Computed in float64 and accurate where p is close to
    q. To compare logits, use `distillation_loss`, which needs no clamping.

    Parameters
    ----------
    p, q : arrays of shape (..., C)
        Probabilities, row by row.
    eps : float
        Clamp, >= 0.

    Returns
    -------
    array of shape (...)
        float32 if both are float32, else float64. Never below 0 by more than what clamped or unnormalized rows bring
        in themselves.

    Raises
    ------
    ValueError
        For negative or non-finite entries (row named), shapes that differ, or eps < 0.

    Examples
    --------
    >>> from fastkd.losses import kl_divergence
    >>> round(float(kl_divergence([0.7, 0.25, 0.05], [0.6, 0.3, 0.1])), 6)
    0.027668
    """
    a, b = _check.as_real(p, "p"), _check.as_real(q, "q")
    eps = _check.as_float(eps, "eps")
    if not 0 <= eps < np.inf:
        raise ValueError(f"eps must be finite and >= 0; got {eps!r}")
    if a.shape != b.shape or a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(f"p and q must have one shape (..., C) with C >= 1; got {a.shape} and {b.shape}")
    dtype = np.float32 if a.dtype == b.dtype == np.float32 else np.float64
    rows_p, rows_q = (_check.plain(x, np.float64).reshape(-1, a.shape[-1]) for x in (a, b))
    for name, rows in (("p", rows_p), ("q", rows_q)):
        good = (rows >= 0) & (rows < np.inf)
        if not good.all():
            row = int(np.flatnonzero(~good.all(axis=1))[0])
            raise ValueError(f"{name} row {row} is not made of finite probabilities >= 0: {rows[row][:8]}")
    kl = _native.kl(rows_p, rows_q, eps) if len(rows_p) else np.empty(0)
    rounding = 4 * a.shape[-1] * np.finfo(dtype).eps  # of entries that sum to 1 only within their own precision
    kl[(kl < 0) & (kl > -rounding)] = 0.0
    return kl.astype(dtype, copy=False).reshape(a.shape[:-1])[()]


def cross_entropy(logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> float:
    """Mean cross-entropy of softmax(logits) with class labels, in nats.

    With smoothing the target is (1 - e) onehot + e / C (Szegedy et al. 2016, section 7).

    Parameters
    ----------
    logits : array of shape (n, C)
    labels : integer array of shape (n,)
        Classes 0 .. C-1.
    label_smoothing : float
        e in [0, 1].

    Raises
    ------
    ValueError
        For labels out of range, a row without a softmax, or a bad smoothing.

    Examples
    --------
    >>> from fastkd.losses import cross_entropy
    >>> round(cross_entropy([[2.0, 0.0, 0.0]], [0]), 6)
    0.239545
    """
    smoothing = _check.as_fraction(label_smoothing, "label_smoothing")
    if labels is None:
        raise ValueError("cross_entropy needs labels")
    return float(_native.distillation_loss(logits, None, 0, labels, None, 1.0, 0.0, smoothing, False, False)[0])


def distillation_loss(
    student_logits: Any,
    teacher_logits: Any = None,
    labels: Any = None,
    *,
    soft_labels: Any = None,
    temperature: float = 3.0,
    kd_weight: float = 0.7,
    sample_weight: Any = None,
    return_grad: bool = False,
) -> Any:
    """Distillation loss kd_weight T^2 KL(q_t || q_s) + (1 - kd_weight) CE(labels, p_s), averaged over the rows.

    q = softmax(z / T), p = softmax(z), teacher first, nats (Hinton, Vinyals and Dean 2015). The gradient with respect
    to the student's logits is kd_weight T (q_s - q_t) / n for the soft term and (1 - kd_weight) (p_s - onehot) / n
    for the hard one. Both come out of one pass over the logits, accurate also where student and teacher nearly agree
    or T is large.

    Parameters
    ----------
    student_logits : array of shape (n, C)
    teacher_logits : array of shape (n, C), optional
    labels : integer array of shape (n,), optional
        -1 marks an unlabelled row, which has the soft term only. Without labels kd_weight is 1.
    soft_labels : array of shape (n, C), optional
        The teacher's probabilities, already at `temperature`, in place of its logits. Without any teacher kd_weight
        is 0.
    temperature : float
        T, finite and > 0.
    kd_weight : float
        Weight of the soft term, in [0, 1].
    sample_weight : array of shape (n,), optional
        The mean over rows becomes sum(w_r loss_r) / sum(w_r).
    return_grad : bool
        Also return the gradient, an array like `student_logits`.

    Returns
    -------
    float, or (float, ndarray)
        The loss can be inf only if the student gives -inf to a class that has teacher or label mass.

    Raises
    ------
    ValueError
        If there is neither teacher nor labels, both kinds of teacher, shapes that differ, labels out of range, a row
        without a softmax (named), or options out of range.

    Examples
    --------
    >>> from fastkd.losses import distillation_loss
    >>> loss, grad = distillation_loss([[1.0, 0.0, -1.0]], [[2.0, 0.0, -2.0]], temperature=3.0, return_grad=True)
    >>> round(loss, 6), grad.round(4).tolist()
    (0.286609, [[-0.3429, 0.0972, 0.2457]])
    """
    if teacher_logits is not None and soft_labels is not None:
        raise ValueError("give teacher_logits or soft_labels, not both")
    teacher = soft_labels if teacher_logits is None else teacher_logits
    kind = 0 if teacher is None else 2 if teacher_logits is None else 1
    if teacher is None and labels is None:
        raise ValueError("distillation_loss needs a teacher (teacher_logits or soft_labels), labels, or both")
    t = _check.as_positive(temperature, "temperature")
    weight = _check.as_fraction(kd_weight, "kd_weight")
    if teacher is None:
        weight = 0.0
    elif labels is None:
        weight = 1.0
    loss, grad = _native.distillation_loss(
        student_logits, teacher, kind, labels, sample_weight, t, weight, 0.0, kind != 0, return_grad
    )
    return (float(loss), grad) if return_grad else float(loss)
