# Multi-layer perceptrons.

cdef dict ACTIVATIONS = {"identity": fkd.FKD_IDENTITY, "relu": fkd.FKD_RELU, "tanh": fkd.FKD_TANH, "gelu": fkd.FKD_GELU}


cdef tuple whole_sizes(object sizes, str name):
    """Sizes as Python ints: 2 to FKD_MAX_LAYERS + 1 positive ones."""
    cdef tuple whole = tuple(index(s) for s in sizes)
    if not 2 <= len(whole) <= fkd.FKD_MAX_LAYERS + 1 or min(whole) < 1:
        raise ValueError(f"{name} must be 2 to {fkd.FKD_MAX_LAYERS + 1} positive numbers (features, hidden ..., outputs); got {whole}")
    return whole


cdef int64_t fill_net(fkd.fkd_mlp *net, tuple sizes, str activation) except -1:
    """Fills the C description from `whole_sizes` and returns the number of parameters."""
    cdef int i
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
    cdef int64_t n = checked_total(sum([(a + 1) * b for a, b in zip(sizes, sizes[1:])]), "a network")
    net.layers = <int>(len(sizes) - 1)
    net.activation = ACTIVATIONS[activation]
    for i in range(net.layers + 1):
        net.sizes[i] = sizes[i]
    return n


cdef class MLPKernel(Kernel):
    """A perceptron."""
    cdef fkd.fkd_mlp net
    cdef readonly tuple sizes
    cdef readonly str activation

    def __cinit__(self, sizes, str activation, dtype):
        self.set_type(dtype)
        self.sizes, self.activation = whole_sizes(sizes, "sizes"), activation
        self.n_parameters = fill_net(&self.net, self.sizes, activation)
        self.input_shape, self.n_outputs = (self.net.sizes[0],), self.net.sizes[self.net.layers]

    def __reduce__(self):
        return MLPKernel, (self.sizes, self.activation, self.dtype)

    cdef int64_t scratch_size(self, int64_t rows) noexcept nogil:
        return fkd.mlp_scratch(T, self.single, &self.net, rows)

    cdef int64_t packed_size(self) noexcept nogil:
        return fkd.packed_size(T, self.single, &self.net)

    cdef int64_t predict_size(self, int64_t rows) noexcept nogil:
        return fkd.predict_scratch(T, self.single, &self.net, rows)

    cdef void pack(self, const void *params, void *packed) noexcept nogil:
        fkd.pack(T, self.single, &self.net, params, packed)

    cdef int64_t predict(self, const void *packed, const void *x, int64_t n, int softmax, void *out, void *work) noexcept nogil:
        return fkd.predict(T, self.single, &self.net, packed, x, n, softmax, out, work)

    cdef double gradient(self, const void *params, const void *x, Targets t, double l2, void *grad, void *work) noexcept nogil:
        return fkd.mlp_gradient(T, self.single, &self.net, params, x, t.of_type, t.n_rows, l2, grad, work)

    cdef double train(self, const void *x, Targets t, const int64_t *order, int64_t n, int64_t batch, double l2,
                      const fkd.fkd_optimizer *how, void *params, void *m, void *v, int64_t *step, void *work) noexcept nogil:
        return fkd.mlp_epoch(T, self.single, &self.net, x, t.of_type, order, n, batch, l2, how, params, m, v, step, work)
