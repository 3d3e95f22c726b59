# softmax, KL and the distillation loss.


cdef inline double checked_temperature(object temperature) except -1:
    cdef double t
    if type(temperature) is float:
        t = <double>temperature
    else:
        t = _check.as_float(temperature, "temperature")
    if not (0 < t <= 1.7976931348623157e308):
        raise ValueError(f"temperature must be finite and > 0; got {temperature!r}")
    return t


def softmax(logits, temperature, bint log, out):
    cdef cnp.ndarray x = real_array(logits, "logits")
    cdef double t = checked_temperature(temperature)
    cdef int ndim = cnp.PyArray_NDIM(x)
    cdef cnp.ndarray y = like(x, out, "out")
    cdef int64_t size = cnp.PyArray_SIZE(x), C, n, bad
    if ndim == 0 or cnp.PyArray_DIMS(x)[ndim - 1] == 0:
        raise ValueError(f"logits need at least one class on the last axis; got shape {(<object>x).shape}")
    if size == 0:
        return y
    C = cnp.PyArray_DIMS(x)[ndim - 1]
    n = size // C
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *py = cnp.PyArray_DATA(y)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    if size < NOGIL_FROM:
        bad = fkd.softmax(T, single, px, n, C, 1 / t, log, py)
    else:
        with nogil:
            bad = fkd.softmax(T, single, px, n, C, 1 / t, log, py)
    if bad >= 0:
        _check.raise_bad_row("logits", bad, (<object>x).shape)
    return y


def kl(cnp.ndarray p not None, cnp.ndarray q not None, double eps):
    """Rows of plain float64 arrays of one shape (n, C), n, C >= 1."""
    if cnp.PyArray_NDIM(p) != 2 or not is_plain(p, cnp.NPY_DOUBLE) or not is_plain(q, cnp.NPY_DOUBLE) or not same_shape(p, q):
        raise ValueError("p and q must be plain float64 arrays of one shape (n, C)")
    cdef int64_t n = cnp.PyArray_DIMS(p)[0], C = cnp.PyArray_DIMS(p)[1]
    if n == 0 or C == 0:
        raise ValueError("p and q need at least one row and one class")
    cdef cnp.ndarray out = target(None, 1, cnp.PyArray_DIMS(p), cnp.NPY_DOUBLE, "")
    cdef double *to = <double *>cnp.PyArray_DATA(out)
    cdef const double *a = <const double *>cnp.PyArray_DATA(p)
    cdef const double *b = <const double *>cnp.PyArray_DATA(q)
    with nogil:
        T.kl(a, b, n, C, eps, to)
    return out


def distillation_loss(student, teacher, int kind, labels, sample_weight, double temperature, double kd_weight, double label_smoothing,
                      bint unlabelled, bint want_grad):
    """(loss, grad or None); kind says what `teacher` is: 0 nothing, 1 logits, 2 probabilities at the temperature."""
    cdef cnp.ndarray s = real_array(student, "student_logits"), t = None, w = None, lab = None, g = None
    cdef str teacher_name = "teacher_logits" if kind == fkd.FKD_LOGITS else "soft_labels"
    cdef fkd.fkd_distill how
    cdef double total, loss = 0, scale
    cdef Scratch scratch = None
    if kind and not is_plain(teacher, cnp.PyArray_TYPE(s)):
        teacher = _check.as_array(teacher, teacher_name)
    if labels is not None:
        labels = _check.as_array(labels, "labels")
    if sample_weight is not None:
        sample_weight = _check.as_real(sample_weight, "sample_weight", np.float64)
    # from here on no Python code of the caller runs
    cdef int ndim = cnp.PyArray_NDIM(s)
    cdef int64_t size = cnp.PyArray_SIZE(s), C, n, bad
    if ndim == 0 or size == 0:
        raise ValueError(f"student_logits need at least one row and one class; got shape {(<object>s).shape}")
    C = cnp.PyArray_DIMS(s)[ndim - 1]
    n = size // C
    cdef bint single = cnp.PyArray_TYPE(s) == cnp.NPY_FLOAT
    if kind:
        if is_plain(teacher, cnp.PyArray_TYPE(s)) and same_shape(s, <cnp.ndarray>teacher):
            t = <cnp.ndarray>teacher
        else:
            t = <cnp.ndarray>_check.as_teacher(teacher, s, teacher_name)
        if kind == fkd.FKD_PROBABILITIES:
            _check.require_distributions(t, "soft_labels")
        elif kd_weight == 0:  # the kernel will not look at it
            _check.require_softmax("teacher_logits", t)
    if labels is not None:
        if ndim != 2 and labels.shape != (<object>s).shape[:ndim - 1]:
            raise ValueError(f"labels must have shape {(<object>s).shape[:ndim - 1]}; got {labels.shape}")
        lab = <cnp.ndarray>int32_labels(labels if ndim == 2 else labels.reshape(-1), n, C, unlabelled)
    total = n
    if sample_weight is not None:
        w, total = _check.as_weights(sample_weight, n, (<object>s).dtype)
    scale = 1 / total
    if want_grad:
        g = like(s, None, "grad")
    if C > 16:
        scratch = Scratch(real_size(single) * 5 * (C + 16))
    how.temperature, how.kd_weight, how.label_smoothing, how.teacher = temperature, kd_weight, label_smoothing, kind
    cdef void *ps = cnp.PyArray_DATA(s)
    cdef void *pt = cnp.PyArray_DATA(t) if kind else NULL
    cdef void *pw = cnp.PyArray_DATA(w) if sample_weight is not None else NULL
    cdef void *pg = cnp.PyArray_DATA(g) if want_grad else NULL
    cdef void *pk = scratch.data if C > 16 else NULL
    cdef const int32_t *pl = <const int32_t *>cnp.PyArray_DATA(lab) if labels is not None else NULL
    with nogil:
        bad = fkd.distill_loss(T, single, ps, pt, pl, pw, n, C, &how, scale, &loss, pg, pk)
    if bad >= 0:
        _check.require_softmax("student_logits" if kind else "logits", s)
        _check.require_softmax("teacher_logits", t)
    return loss / total, g
