# Networks over windows of time: LSTM layers or convolutions, pooling, a perceptron as head.

cdef dict BODIES = {"lstm": fkd.FKD_LSTM, "cnn": fkd.FKD_CNN}
cdef dict POOLINGS = {"last": fkd.FKD_LAST, "mean": fkd.FKD_MEAN, "max": fkd.FKD_MAX}


cdef int64_t fill_network(fkd.fkd_network *net, str kind, int64_t steps, tuple widths, tuple sizes, str activation, str pooling,
                          int64_t kernel_size) except -1:
    """Fills the C description from `whole_sizes` and returns the number of parameters."""
    cdef int i
    if kind not in BODIES:
        raise ValueError(f"kind must be 'lstm' or 'cnn'; got {kind!r}")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}; got {pooling!r}")
    if not (1 <= steps <= 1 << 24 and 1 <= kernel_size <= 1 << 16) or (kind == "lstm" and kernel_size != 1):
        raise ValueError(f"steps must lie in 1 .. 2^24, kernel_size in 1 .. 2^16 (1 for an LSTM); got {steps} and {kernel_size}")
    total = fill_net(&net.head, sizes, activation)
    if sizes[0] != widths[-1]:
        raise ValueError(f"the head must take the {widths[-1]} outputs of the last layer; got {sizes}")
    for n_in, n_out in zip(widths, widths[1:]):
        total += (n_in + n_out + 1) * 4 * n_out if kind == "lstm" else (kernel_size * n_in + 1) * n_out
    checked_total(total, "a network")
    checked_total(steps * kernel_size * max(widths), "a window")
    net.kind, net.layers, net.pooling = BODIES[kind], <int>(len(widths) - 1), POOLINGS[pooling]
    net.weights = fkd.FKD_FULL
    net.steps, net.kernel = steps, kernel_size
    for i in range(net.layers + 1):
        net.widths[i] = widths[i]
    return total


cdef class SequenceKernel(Kernel):
    """A network over windows (steps, features): body `kind` of `widths` (features, then each layer), head of `sizes`."""
    cdef fkd.fkd_network net
    cdef readonly str kind
    cdef readonly tuple widths, sizes
    cdef readonly str activation, pooling
    cdef readonly int64_t kernel_size

    def __cinit__(self, str kind, int64_t steps, widths, sizes, str activation, str pooling, int64_t kernel_size, dtype):
        self.set_type(dtype)
        self.widths, self.sizes = whole_sizes(widths, "widths"), whole_sizes(sizes, "sizes")
        self.n_parameters = fill_network(&self.net, kind, steps, self.widths, self.sizes, activation, pooling, kernel_size)
        self.kind, self.activation, self.pooling, self.kernel_size = kind, activation, pooling, kernel_size
        self.input_shape, self.n_outputs = (steps, self.net.widths[0]), self.net.head.sizes[self.net.head.layers]

    def __reduce__(self):
        return SequenceKernel, (self.kind, self.net.steps, self.widths, self.sizes, self.activation, self.pooling, self.kernel_size, self.dtype)

    cdef int64_t scratch_size(self, int64_t rows) noexcept nogil:
        return fkd.network_scratch(T, self.single, &self.net, rows)

    cdef int64_t packed_size(self) noexcept nogil:
        return fkd.network_packed(T, self.single, &self.net)

    cdef int64_t predict_size(self, int64_t rows) noexcept nogil:
        return fkd.network_predict_scratch(T, self.single, &self.net, rows)

    cdef void pack(self, const void *params, void *packed) noexcept nogil:
        fkd.network_pack(T, self.single, &self.net, params, NULL, NULL, packed)

    cdef int64_t predict(self, const void *packed, const void *x, int64_t n, int softmax, void *out, void *work) noexcept nogil:
        return fkd.network_predict(T, self.single, &self.net, packed, x, n, softmax, out, work)

    cdef double gradient(self, const void *params, const void *x, Targets t, double l2, void *grad, void *work) noexcept nogil:
        return fkd.network_gradient(T, self.single, &self.net, params, x, t.of_type, t.n_rows, l2, grad, work)

    cdef double train(self, const void *x, Targets t, const int64_t *order, int64_t n, int64_t batch, double l2,
                      const fkd.fkd_optimizer *how, void *params, void *m, void *v, int64_t *step, void *work) noexcept nogil:
        return fkd.network_epoch(T, self.single, &self.net, x, t.of_type, order, n, batch, l2, how, params, m, v, step, work)
