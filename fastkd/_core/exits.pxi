# Perceptrons with a classifier at every hidden layer: gradient and whole epochs over flat parameter vectors.

cdef class ExitsKernel(Kernel):
    """Shape and losses of a perceptron with exits (fastkd.h, fkd_exits); takes the place of MLPKernel in training."""
    cdef fkd.fkd_mlp net
    cdef fkd.fkd_exits exits
    cdef readonly tuple sizes, exit_weights
    cdef readonly str activation

    def __cinit__(self, sizes, str activation, dtype, exit_weights, *, double feature_weight=0.0, bint shallow_teaches=False):
        cdef int i
        self.set_type(dtype)
        self.sizes, self.activation = whole_sizes(sizes, "sizes"), activation
        self.n_parameters = fill_net(&self.net, self.sizes, activation)
        if self.net.layers < 3:
            raise ValueError(f"exits need at least two hidden layers; got sizes {self.sizes}")
        self.exit_weights = tuple(float(w) for w in exit_weights)
        if len(self.exit_weights) != self.net.layers - 1 or not all([0 <= w <= 1e30 for w in self.exit_weights]):
            raise ValueError(f"exit_weights must be {self.net.layers - 1} finite numbers >= 0, one an exit; got {self.exit_weights}")
        if not 0 <= feature_weight <= 1e30:
            raise ValueError(f"feature_weight must be finite and >= 0; got {feature_weight}")
        self.exits.shallow_teaches, self.exits.feature_weight = shallow_teaches, feature_weight
        for i in range(self.net.layers - 1):
            self.exits.weights[i] = self.exit_weights[i]
        deepest, classes = self.sizes[-2:]
        hints = deepest if feature_weight > 0 else 0
        total = self.n_parameters + sum([(n + 1) * (classes + hints) for n in self.sizes[1:-2]])
        self.n_parameters = checked_total(total, "a network with exits")
        self.input_shape, self.n_outputs = (self.net.sizes[0],), self.net.sizes[self.net.layers]

    cdef int check_targets(self, Targets t) except -1:
        if t.f64.kind != fkd.FKD_CLASSES or t.f64.teacher != NULL or t.f64.labels == NULL:
            raise ValueError("exits learn from labels, without a teacher of their own")
        return t.fits(self)

    cdef int64_t scratch_size(self, int64_t rows) noexcept nogil:
        return fkd.exits_scratch(T, self.single, &self.net, &self.exits, rows)

    cdef double gradient(self, const void *params, const void *x, Targets t, double l2, void *grad, void *work) noexcept nogil:
        return fkd.exits_gradient(T, self.single, &self.net, &self.exits, params, x, t.of_type, t.n_rows, l2, grad, work)

    cdef double train(self, const void *x, Targets t, const int64_t *order, int64_t n, int64_t batch, double l2,
                      const fkd.fkd_optimizer *how, void *params, void *m, void *v, int64_t *step, void *work) noexcept nogil:
        return fkd.exits_epoch(T, self.single, &self.net, &self.exits, x, t.of_type, order, n, batch, l2, how, params, m, v, step, work)
