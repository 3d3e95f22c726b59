"""Losses in NumPy's long double where rounding could show. The last axis holds the classes; -inf excludes a class."""

import numpy as np


def softmax(logits, temperature=1.0):
    """q_c = exp(z_c / T) / sum_k exp(z_k / T)."""
    return np.exp(log_softmax(logits, temperature)).astype(float)


def log_softmax(logits, temperature=1.0):
    """z_c / T - log sum_k exp(z_k / T), in long double."""
    z = np.asarray(logits, np.longdouble)
    u = (z - z.max(-1, keepdims=True)) / np.longdouble(temperature)
    return u - np.log(np.exp(u).sum(-1, keepdims=True))


def kl_divergence(p, q, eps=1e-10):
    """sum over p_c > eps of p_c ln(p_c / max(q_c, eps)), row by row, in nats."""
    p, q = np.asarray(p, np.longdouble), np.maximum(np.asarray(q, np.longdouble), eps)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > eps, p * np.log(p / q), 0.0).sum(-1).astype(float)


def distillation_rows(
    student, teacher=None, labels=None, *, soft=None, temperature=1.0, kd_weight=0.0, label_smoothing=0.0
):
    """Loss of each row (n,) and its gradient with respect to the student's logits (n, C).

    kd_weight T^2 KL(q_t || q_s) + (1 - kd_weight) CE, gradient kd_weight T (q_s - q_t) + (1 - kd_weight) (p - target).
    The teacher is given by logits or by probabilities `soft` at T; a label of -1 has no cross-entropy.
    """
    z = np.asarray(student, np.longdouble)
    n, n_classes = z.shape
    loss, grad = np.zeros(n, np.longdouble), np.zeros_like(z)
    if teacher is not None or soft is not None:
        q_t = np.exp(log_softmax(teacher, temperature)) if soft is None else np.asarray(soft, np.longdouble)
        log_t = log_softmax(teacher, temperature) if soft is None else np.log(np.where(q_t > 0, q_t, 1.0))
        log_s = log_softmax(z, temperature)
        with np.errstate(invalid="ignore"):
            loss += kd_weight * temperature**2 * np.where(q_t > 0, q_t * (log_t - log_s), 0.0).sum(1)
        grad += kd_weight * temperature * (np.exp(log_s) - q_t)
    if labels is not None:
        labels = np.asarray(labels)
        target = (1 - label_smoothing) * np.eye(n_classes)[np.maximum(labels, 0)] + label_smoothing / n_classes
        hard = (1 - kd_weight) * (labels >= 0)
        with np.errstate(invalid="ignore"):
            loss += hard * np.where(target > 0, -target * log_softmax(z), 0.0).sum(1)
        grad += hard[:, None] * (np.exp(log_softmax(z)) - target)
    return loss.astype(float), grad.astype(float)
