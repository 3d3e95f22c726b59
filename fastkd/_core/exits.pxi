# Perceptrons with a classifier at every hidden layer: gradient and whole epochs over flat parameter vectors.

cdef class ExitsKernel(Kernel):
    """Shape and losses of a perceptron with exits (fastkd.h, fkd_exits); takes the place of MLPKernel in training."""
    cdef fkd.fkd_mlp net
    cdef fkd.fkd_exits exits
    cdef readonly tuple sizes, exit_weights
    cdef readonly str activation

    def __init__(self, sizes, str activation, dtype, exit_weights, *, double feature_weight=0.0, bint shallow_teaches=False):
        cdef int64_t n = fill_net(&self.net, sizes, activation)
        cdef int i
        if self.net.layers < 3:
            raise ValueError(f"exits need at least two hidden layers; got sizes {tuple(sizes)}")
        weights = tuple(float(w) for w in exit_weights)
        if len(weights) != self.net.layers - 1 or not all(0 <= w <= 1e30 for w in weights):
            raise ValueError(f"exit_weights must be {self.net.layers - 1} finite numbers >= 0, one an exit; got {weights}")
        if not 0 <= feature_weight <= 1e30:
            raise ValueError(f"feature_weight must be finite and >= 0; got {feature_weight}")
        self.exits.shallow_teaches, self.exits.feature_weight = shallow_teaches, feature_weight
        for i in range(self.net.layers - 1):
            self.exits.weights[i] = weights[i]
            if i < self.net.layers - 2:
                n += (self.net.sizes[i + 1] + 1) * self.net.sizes[self.net.layers]
                if feature_weight > 0:
                    n += (self.net.sizes[i + 1] + 1) * self.net.sizes[self.net.layers - 1]
        self.n_parameters = n
        self.typenum, self.dtype = type_number(dtype), np.dtype(dtype)
        self.input_shape, self.n_outputs = (self.net.sizes[0],), self.net.sizes[self.net.layers]
        self.sizes, self.activation, self.exit_weights = tuple(int(s) for s in sizes), activation, weights

    cdef int check_targets(self, Targets t) except -1:
        if t.f64.kind != fkd.FKD_CLASSES or t.f64.teacher != NULL or t.f64.labels == NULL:
            raise ValueError("exits learn from labels, without a teacher of their own")
        return t.fits(self)

    cdef int64_t scratch_size(self, int64_t rows) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.exits_scratch(&self.net, &self.exits, rows)
        return T.f64.exits_scratch(&self.net, &self.exits, rows)

    cdef double gradient(self, const void *params, const void *x, Targets t, double l2, void *grad, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.exits_gradient(&self.net, &self.exits, <float *>params, <float *>x, &t.f32, t.n_rows, l2, <float *>grad, <float *>work)
        return T.f64.exits_gradient(&self.net, &self.exits, <double *>params, <double *>x, &t.f64, t.n_rows, l2, <double *>grad, <double *>work)

    cdef double train(self, const void *x, Targets t, const int64_t *order, int64_t n, int64_t batch, double l2,
                      const fkd.fkd_optimizer *how, void *params, void *m, void *v, int64_t *step, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return T.f32.exits_epoch(&self.net, &self.exits, <float *>x, &t.f32, order, n, batch, l2, how, <float *>params, <float *>m, <float *>v,
                                     step, <float *>work)
        return T.f64.exits_epoch(&self.net, &self.exits, <double *>x, &t.f64, order, n, batch, l2, how, <double *>params, <double *>m, <double *>v,
                                 step, <double *>work)
