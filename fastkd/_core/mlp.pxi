# Multi-layer perceptrons.

cdef dict ACTIVATIONS = {"identity": fkd.FKD_IDENTITY, "relu": fkd.FKD_RELU, "tanh": fkd.FKD_TANH, "gelu": fkd.FKD_GELU}


cdef int64_t fill_net(fkd.fkd_mlp *net, object sizes, str activation) except -1:
    """Fills the C description and returns the number of parameters."""
    cdef int i
    cdef int64_t n = 0
    sizes = tuple(int(s) for s in sizes)
    if not 2 <= len(sizes) <= fkd.FKD_MAX_LAYERS + 1 or min(sizes) < 1:
        raise ValueError(f"sizes must be 2 to {fkd.FKD_MAX_LAYERS + 1} positive numbers (features, hidden ..., outputs); got {sizes}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
    net.layers = <int>(len(sizes) - 1)
    net.activation = ACTIVATIONS[activation]
    for i in range(net.layers + 1):
        net.sizes[i] = sizes[i]
        if i:
            n += (net.sizes[i - 1] + 1) * net.sizes[i]
    return n


cdef class MLPKernel(Kernel):
    """A perceptron."""
    cdef fkd.fkd_mlp net
    cdef readonly tuple sizes
    cdef readonly str activation

    def __init__(self, sizes, str activation, dtype):
        self.typenum, self.dtype = type_number(dtype), np.dtype(dtype)
        self.n_parameters = fill_net(&self.net, sizes, activation)
        self.sizes, self.activation = tuple(int(s) for s in sizes), activation
        self.input_shape, self.n_outputs = (self.net.sizes[0],), self.net.sizes[self.net.layers]

    def __reduce__(self):
        return MLPKernel, (self.sizes, self.activation, self.dtype)

    cdef int64_t scratch_size(self, int64_t rows) noexcept nogil:
        return T.f32.mlp_scratch(&self.net, rows) if self.typenum == cnp.NPY_FLOAT else T.f64.mlp_scratch(&self.net, rows)

    cdef int64_t packed_size(self) noexcept nogil:
        return T.f32.packed_size(&self.net) if self.typenum == cnp.NPY_FLOAT else T.f64.packed_size(&self.net)

    cdef int64_t predict_size(self, int64_t rows) noexcept nogil:
        return T.f32.predict_scratch(&self.net, rows) if self.typenum == cnp.NPY_FLOAT else T.f64.predict_scratch(&self.net, rows)

    cdef void pack(self, const void *params, void *packed) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            T.f32.pack(&self.net, <float *>params, <float *>packed)
        else:
            T.f64.pack(&self.net, <double *>params, <double *>packed)

    cdef int64_t predict(self, const void *packed, const void *x, int64_t n, int softmax, void *out, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.predict(&self.net, <float *>packed, <float *>x, n, softmax, <float *>out, <float *>work)
        return T.f64.predict(&self.net, <double *>packed, <double *>x, n, softmax, <double *>out, <double *>work)

    cdef double gradient(self, const void *params, const void *x, Targets t, double l2, void *grad, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.mlp_gradient(&self.net, <float *>params, <float *>x, &t.f32, t.n_rows, l2, <float *>grad, <float *>work)
        return T.f64.mlp_gradient(&self.net, <double *>params, <double *>x, &t.f64, t.n_rows, l2, <double *>grad, <double *>work)

    cdef double train(self, const void *x, Targets t, const int64_t *order, int64_t n, int64_t batch, double l2,
                      const fkd.fkd_optimizer *how, void *params, void *m, void *v, int64_t *step, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.mlp_epoch(&self.net, <float *>x, &t.f32, order, n, batch, l2, how, <float *>params, <float *>m, <float *>v, step,
                                 <float *>work)
        return T.f64.mlp_epoch(&self.net, <double *>x, &t.f64, order, n, batch, l2, how, <double *>params, <double *>m, <double *>v, step,
                             <double *>work)
