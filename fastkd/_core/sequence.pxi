# Networks over windows of time: LSTM layers or convolutions, pooling, a perceptron as head.

cdef dict BODIES = {"lstm": fkd.FKD_LSTM, "cnn": fkd.FKD_CNN}
cdef dict POOLINGS = {"last": fkd.FKD_LAST, "mean": fkd.FKD_MEAN, "max": fkd.FKD_MAX}


cdef int64_t fill_network(fkd.fkd_network *net, str kind, int64_t steps, widths, sizes, str activation, str pooling,
                          int64_t kernel_size) except -1:
    """Fills the C description and returns the number of parameters."""
    cdef int i
    cdef int64_t n
    widths = tuple(int(w) for w in widths)
    if kind not in BODIES:
        raise ValueError(f"kind must be 'lstm' or 'cnn'; got {kind!r}")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}; got {pooling!r}")
    if not 2 <= len(widths) <= fkd.FKD_MAX_LAYERS + 1 or min(widths) < 1:
        raise ValueError(f"widths must be 2 to {fkd.FKD_MAX_LAYERS + 1} positive numbers (features, then of each layer); got {widths}")
    if steps < 1 or kernel_size < 1 or (kind == "lstm" and kernel_size != 1):
        raise ValueError(f"steps and kernel_size must be >= 1, kernel_size 1 for an LSTM; got {steps} and {kernel_size}")
    n = fill_net(&net.head, sizes, activation)
    if net.head.sizes[0] != widths[len(widths) - 1]:
        raise ValueError(f"the head must take the {widths[len(widths) - 1]} outputs of the last layer; got {sizes}")
    net.kind, net.layers, net.pooling = BODIES[kind], <int>(len(widths) - 1), POOLINGS[pooling]
    net.steps, net.kernel = steps, kernel_size
    for i in range(net.layers + 1):
        net.widths[i] = widths[i]
        if i and kind == "lstm":
            n += (net.widths[i - 1] + net.widths[i] + 1) * 4 * net.widths[i]
        elif i:
            n += (kernel_size * net.widths[i - 1] + 1) * net.widths[i]
    return n


cdef class SequenceKernel(Kernel):
    """A network over windows (steps, features): body `kind` of `widths` (features, then each layer), head of `sizes`."""
    cdef fkd.fkd_network net
    cdef readonly str kind
    cdef readonly tuple widths, sizes
    cdef readonly str activation, pooling
    cdef readonly int64_t kernel_size

    def __init__(self, str kind, int64_t steps, widths, sizes, str activation, str pooling, int64_t kernel_size, dtype):
        self.typenum, self.dtype = type_number(dtype), np.dtype(dtype)
        self.n_parameters = fill_network(&self.net, kind, steps, widths, sizes, activation, pooling, kernel_size)
        self.kind, self.activation, self.pooling, self.kernel_size = kind, activation, pooling, kernel_size
        self.widths, self.sizes = tuple(int(w) for w in widths), tuple(int(s) for s in sizes)
        self.input_shape, self.n_outputs = (steps, self.net.widths[0]), self.net.head.sizes[self.net.head.layers]

    def __reduce__(self):
        return SequenceKernel, (self.kind, self.net.steps, self.widths, self.sizes, self.activation, self.pooling, self.kernel_size, self.dtype)

    cdef int64_t scratch_size(self, int64_t rows) noexcept nogil:
        return T.f32.network_scratch(&self.net, rows) if self.typenum == cnp.NPY_FLOAT else T.f64.network_scratch(&self.net, rows)

    cdef int64_t packed_size(self) noexcept nogil:
        return T.f32.network_packed(&self.net) if self.typenum == cnp.NPY_FLOAT else T.f64.network_packed(&self.net)

    cdef int64_t predict_size(self, int64_t rows) noexcept nogil:
        return T.f32.network_predict_scratch(&self.net, rows) if self.typenum == cnp.NPY_FLOAT else T.f64.network_predict_scratch(&self.net, rows)

    cdef void pack(self, const void *params, void *packed) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            T.f32.network_pack(&self.net, <float *>params, NULL, NULL, <float *>packed)
        else:
            T.f64.network_pack(&self.net, <double *>params, NULL, NULL, <double *>packed)

    cdef int64_t predict(self, const void *packed, const void *x, int64_t n, int softmax, void *out, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.network_predict(&self.net, <float *>packed, <float *>x, n, softmax, <float *>out, <float *>work)
        return T.f64.network_predict(&self.net, <double *>packed, <double *>x, n, softmax, <double *>out, <double *>work)

    cdef double gradient(self, const void *params, const void *x, Targets t, double l2, void *grad, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.network_gradient(&self.net, <float *>params, <float *>x, &t.f32, t.n_rows, l2, <float *>grad, <float *>work)
        return T.f64.network_gradient(&self.net, <double *>params, <double *>x, &t.f64, t.n_rows, l2, <double *>grad, <double *>work)

    cdef double train(self, const void *x, Targets t, const int64_t *order, int64_t n, int64_t batch, double l2,
                      const fkd.fkd_optimizer *how, void *params, void *m, void *v, int64_t *step, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.network_epoch(&self.net, <float *>x, &t.f32, order, n, batch, l2, how, <float *>params, <float *>m, <float *>v, step,
                                 <float *>work)
        return T.f64.network_epoch(&self.net, <double *>x, &t.f64, order, n, batch, l2, how, <double *>params, <double *>m, <double *>v, step,
                             <double *>work)
