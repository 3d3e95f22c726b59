# What all networks share: targets, optimizers, forward, gradient and whole epochs over flat parameter vectors.


cdef cnp.ndarray require_plain(object x, int dtype, tuple shape, str name):
    """The array that the caller promised: type, shape (None = any length) and layout."""
    cdef int i
    cdef bint ok = is_plain(x, dtype) and cnp.PyArray_NDIM(<cnp.ndarray>x) == len(shape)
    if ok:
        for i in range(len(shape)):
            ok &= shape[i] is None or cnp.PyArray_DIMS(<cnp.ndarray>x)[i] == <int64_t>shape[i]
    if not ok:
        got = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        want = {cnp.NPY_FLOAT: "float32", cnp.NPY_DOUBLE: "float64", cnp.NPY_INT64: "int64", cnp.NPY_INT32: "int32"}[dtype]
        raise ValueError(f"{name} must be a C-contiguous {want} array of shape {shape}; got {got}")
    return <cnp.ndarray>x


cdef inline int type_number(object dtype) except -1:
    d = np.dtype(dtype)
    if d == np.float32:
        return cnp.NPY_FLOAT
    if d == np.float64:
        return cnp.NPY_DOUBLE
    raise ValueError(f"dtype must be float32 or float64; got {d}")


cdef class Targets:
    """What a network learns from, checked once and shared by all epochs. Options as in fastkd.h (fkd_targets)."""
    cdef readonly int64_t n_rows
    cdef readonly int64_t n_outputs
    cdef int typenum
    cdef int32_t top           # label
    cdef fkd.fkd_targets_f32 f32
    cdef fkd.fkd_targets_f64 f64
    cdef const void *of_type   # the one that kernels of this type take
    cdef tuple keep

    def __cinit__(self, int64_t n_rows, dtype, *, labels=None, soft=None, teacher_logits=None, values=None, weights=None,
                  double temperature=1.0, double kd_weight=0.0, double label_smoothing=0.0, quantile=None):
        cdef cnp.ndarray rows
        self.n_rows, self.n_outputs, self.typenum, self.top = n_rows, -1, type_number(dtype), -1
        teacher = soft if teacher_logits is None else teacher_logits
        if values is not None and (teacher is not None or labels is not None):
            raise ValueError("give values (regression) or labels and a teacher (classification), not both")
        if values is None and teacher is None and labels is None:
            raise ValueError("give labels, a teacher or values")
        if soft is not None and teacher_logits is not None:
            raise ValueError("give soft or teacher_logits, not both")
        for name, x in (("teacher", teacher), ("values", values)):
            if x is not None:
                rows = require_plain(x, self.typenum, (n_rows, None), name)
                self.n_outputs = cnp.PyArray_DIMS(rows)[1]
        if labels is not None:
            labels = self.own_labels(require_plain(labels, cnp.NPY_INT32, (n_rows,), "labels"))
        if weights is not None:
            require_plain(weights, self.typenum, (n_rows,), "weights")
        if not 0 < temperature <= 1.7976931348623157e308:
            raise ValueError(f"temperature must be finite and > 0; got {temperature}")
        if not 0 <= kd_weight <= 1 or not 0 <= label_smoothing <= 1:
            raise ValueError(f"kd_weight and label_smoothing must lie in [0, 1]; got {kd_weight} and {label_smoothing}")
        if quantile is not None and not 0 < quantile < 1:
            raise ValueError(f"quantile must lie in (0, 1); got {quantile}")
        cdef fkd.fkd_targets_f64 *t = &self.f64
        t.kind = fkd.FKD_CLASSES if values is None else fkd.FKD_SQUARED if quantile is None else fkd.FKD_QUANTILE
        t.how.temperature, t.how.kd_weight, t.how.label_smoothing = temperature, kd_weight, label_smoothing
        t.how.teacher = fkd.FKD_NO_TEACHER if teacher is None else fkd.FKD_PROBABILITIES if soft is not None else fkd.FKD_LOGITS
        t.quantile = 0.5 if quantile is None else quantile
        t.labels = <const int32_t *>data_or_null(labels)
        t.teacher, t.values, t.weights = <double *>data_or_null(teacher), <double *>data_or_null(values), <double *>data_or_null(weights)
        self.f32.kind, self.f32.how, self.f32.quantile, self.f32.labels = t.kind, t.how, t.quantile, t.labels
        self.f32.teacher, self.f32.values, self.f32.weights = <float *>t.teacher, <float *>t.values, <float *>t.weights
        self.of_type = <void *>&self.f32 if self.typenum == cnp.NPY_FLOAT else <void *>&self.f64
        self.keep = (labels, teacher, values, weights)

    cdef cnp.ndarray own_labels(self, cnp.ndarray labels):
        """A copy, which nobody can change, and the largest of them."""
        cdef cnp.ndarray copy = <cnp.ndarray>cnp.PyArray_NewCopy(labels, cnp.NPY_CORDER)
        cdef const int32_t *x = <const int32_t *>cnp.PyArray_DATA(copy)
        cdef int64_t i
        cdef int32_t low = -1
        for i in range(self.n_rows):
            low = min(low, x[i])
            self.top = max(self.top, x[i])
        if low < -1:
            raise ValueError(f"labels must be >= 0, or -1 for an unlabelled row; got {low}")
        return copy

    cdef int fits(self, Kernel net) except -1:
        if self.typenum != net.typenum or (self.n_outputs >= 0 and self.n_outputs != net.n_outputs):
            raise ValueError(f"targets ({self.n_outputs} outputs) do not fit the network of {net.n_outputs} outputs in {net.dtype}")
        if self.top >= net.n_outputs:
            raise ValueError(f"label {self.top} is out of range for {net.n_outputs} classes")
        return 0


cdef inline void *data_or_null(object x) noexcept:
    return NULL if x is None else cnp.PyArray_DATA(<cnp.ndarray>x)


cdef class Optimizer:
    """State of SGD with momentum ("sgd": m is the velocity) or Adam ("adam": first and second moments m, v)."""
    cdef readonly str kind
    cdef readonly object m, v
    cdef public int64_t step
    cdef fkd.fkd_optimizer how

    def __cinit__(self, str kind, int64_t n_parameters, dtype, *, double momentum=0.9, double beta1=0.9, double beta2=0.999,
                  double epsilon=1e-8):
        if kind not in ("sgd", "adam"):
            raise ValueError(f"optimizer must be 'adam' or 'sgd'; got {kind!r}")
        self.kind, self.step = kind, 0
        self.m, self.v = np.zeros(n_parameters, dtype), np.zeros(n_parameters if kind == "adam" else 0, dtype)
        self.how.kind = fkd.FKD_ADAM if kind == "adam" else fkd.FKD_SGD
        self.how.momentum, self.how.beta1, self.how.beta2, self.how.epsilon = momentum, beta1, beta2, epsilon


cdef class Kernel:
    """A network's shape; weights stay with the caller, as one flat vector. Subclasses say which C functions compute it."""
    cdef int typenum
    cdef bint single
    cdef readonly object dtype
    cdef readonly int64_t n_parameters
    cdef readonly int64_t n_outputs
    cdef readonly tuple input_shape

    cdef int set_type(self, object dtype) except -1:
        self.typenum, self.dtype = type_number(dtype), np.dtype(dtype)
        self.single = self.typenum == cnp.NPY_FLOAT
        return 0

    cdef int check_targets(self, Targets t) except -1:
        return t.fits(self)

    cdef int64_t scratch_size(self, int64_t rows) noexcept nogil:
        return 0

    cdef int64_t packed_size(self) noexcept nogil:
        return 0

    cdef int64_t predict_size(self, int64_t rows) noexcept nogil:
        return 0

    cdef void pack(self, const void *params, void *packed) noexcept nogil:
        pass

    cdef int64_t predict(self, const void *packed, const void *x, int64_t n, int softmax, void *out, void *work) noexcept nogil:
        return 0

    cdef double gradient(self, const void *params, const void *x, Targets t, double l2, void *grad, void *work) noexcept nogil:
        return 0

    cdef double train(self, const void *x, Targets t, const int64_t *order, int64_t n, int64_t batch, double l2,
                      const fkd.fkd_optimizer *how, void *params, void *m, void *v, int64_t *step, void *work) noexcept nogil:
        return 0

    def forward(self, params, X, out=None):
        """Outputs (n, n_outputs) of the last, linear layer; a row with a feature that is not finite gives NaN."""
        cdef cnp.ndarray p = require_plain(params, self.typenum, (self.n_parameters,), "params")
        cdef cnp.ndarray x = require_plain(X, self.typenum, (None, *self.input_shape), "X")
        cdef int64_t n = cnp.PyArray_DIMS(x)[0]
        cdef cnp.npy_intp[2] dims = [n, self.n_outputs]
        cdef cnp.ndarray y = target(out, 2, dims, self.typenum, "out")
        if out is not None:
            apart({"X": x, "params": p, "out": y})
        if n == 0:
            return y
        cdef Scratch packed = Scratch(real_size(self.single) * self.packed_size())
        cdef Scratch work = Scratch(real_size(self.single) * self.predict_size(n))
        cdef void *pp = cnp.PyArray_DATA(p)
        cdef void *px = cnp.PyArray_DATA(x)
        cdef void *py = cnp.PyArray_DATA(y)
        with nogil:
            self.pack(pp, packed.data)
            self.predict(packed.data, px, n, 0, py, work.data)
        return y

    def loss_gradient(self, params, X, Targets targets not None, double l2=0.0, grad=None):
        """(mean loss + 0.5 l2 |W|^2, its gradient as a flat vector)."""
        cdef cnp.ndarray p = require_plain(params, self.typenum, (self.n_parameters,), "params")
        cdef cnp.ndarray x = require_plain(X, self.typenum, (targets.n_rows, *self.input_shape), "X")
        cdef int64_t n = targets.n_rows
        self.check_targets(targets)
        if n == 0:
            raise ValueError("the gradient needs at least one row")
        cdef cnp.ndarray g = target(grad, 1, cnp.PyArray_DIMS(p), self.typenum, "grad")
        if grad is not None:
            apart({"X": x, "params": p, "grad": g})
        cdef Scratch work = Scratch(real_size(self.single) * self.scratch_size(n))
        cdef double loss
        cdef void *pp = cnp.PyArray_DATA(p)
        cdef void *px = cnp.PyArray_DATA(x)
        cdef void *pg = cnp.PyArray_DATA(g)
        with nogil:
            loss = self.gradient(pp, px, targets, l2, pg, work.data)
        return loss, g

    def epoch(self, params, Optimizer optimizer not None, X, Targets targets not None, order, int64_t batch_size, double learning_rate,
              double l2=0.0):
        """One pass over the rows in `order`, params and optimizer updated in place; the mean data loss as it was trained."""
        cdef cnp.ndarray p = require_plain(params, self.typenum, (self.n_parameters,), "params")
        cdef cnp.ndarray x = require_plain(X, self.typenum, (targets.n_rows, *self.input_shape), "X")
        cdef cnp.ndarray o = <cnp.ndarray>cnp.PyArray_NewCopy(require_plain(order, cnp.NPY_INT64, (None,), "order"), cnp.NPY_CORDER)
        cdef cnp.ndarray m = require_plain(optimizer.m, self.typenum, (self.n_parameters,), "optimizer.m")
        moments = self.n_parameters if optimizer.kind == "adam" else 0
        cdef cnp.ndarray v = require_plain(optimizer.v, self.typenum, (moments,), "optimizer.v")
        cdef int64_t n = cnp.PyArray_SIZE(o), i
        cdef const int64_t *po = <const int64_t *>cnp.PyArray_DATA(o)
        cdef bint inside = True
        self.check_targets(targets)
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1; got {batch_size}")
        for i in range(n):
            inside &= (po[i] >= 0) & (po[i] < targets.n_rows)
        if not inside:
            raise ValueError(f"order must hold row indices in 0 .. {targets.n_rows - 1}")
        if not (cnp.PyArray_ISWRITEABLE(p) and cnp.PyArray_ISWRITEABLE(m) and cnp.PyArray_ISWRITEABLE(v)):
            raise ValueError("params and the optimizer's arrays must be writeable: an epoch updates them in place")
        apart({"X": x, "params": p, "optimizer.m": m, "optimizer.v": v})
        batch_size = min(batch_size, max(n, 1))
        cdef Scratch work = Scratch(real_size(self.single) * self.scratch_size(batch_size))
        cdef fkd.fkd_optimizer how = optimizer.how
        cdef int64_t step = optimizer.step
        cdef double loss
        cdef void *pp = cnp.PyArray_DATA(p)
        cdef void *px = cnp.PyArray_DATA(x)
        cdef void *pm = cnp.PyArray_DATA(m)
        cdef void *pv = cnp.PyArray_DATA(v)
        how.learning_rate = learning_rate
        with nogil:
            loss = self.train(px, targets, po, n, batch_size, l2, &how, pp, pm, pv, &step, work.data)
        optimizer.step = step
        return loss
