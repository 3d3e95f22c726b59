# Perceptrons with a classifier at every hidden layer: gradient and whole epochs over flat parameter vectors.

cdef class ExitsKernel:
    """Shape and losses of a perceptron with exits (fastkd.h, fkd_exits); takes the place of MLPKernel in training."""
    cdef fkd.fkd_mlp net
    cdef fkd.fkd_exits exits
    cdef int typenum
    cdef readonly tuple sizes, exit_weights
    cdef readonly str activation
    cdef readonly object dtype
    cdef readonly int64_t n_parameters

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
        self.sizes, self.activation, self.exit_weights = tuple(int(s) for s in sizes), activation, weights

    cdef Scratch scratch(self, int64_t rows):
        cdef int64_t n
        if self.typenum == cnp.NPY_FLOAT:
            n = 4 * T.f32.exits_scratch(&self.net, &self.exits, rows)
        else:
            n = 8 * T.f64.exits_scratch(&self.net, &self.exits, rows)
        return Scratch(<size_t>n)

    cdef int fits(self, Targets t) except -1:
        labels = t.keep[0]
        if t.typenum != self.typenum or t.f64.kind != fkd.FKD_CLASSES or t.f64.teacher != NULL or labels is None:
            raise ValueError(f"exits learn from labels, without a teacher of their own, in {self.dtype}")
        if t.n_rows and int(labels.max()) >= self.net.sizes[self.net.layers]:
            raise ValueError(f"label {labels.max()} is out of range for {self.net.sizes[self.net.layers]} classes")
        return 0

    def loss_gradient(self, params, X, Targets targets not None, double l2=0.0):
        """(mean loss of all exits + 0.5 l2 |W|^2, its gradient as a flat vector; teachers count as constants)."""
        cdef cnp.ndarray p = require_plain(params, self.typenum, (self.n_parameters,), "params")
        cdef cnp.ndarray x = require_plain(X, self.typenum, (targets.n_rows, self.net.sizes[0]), "X")
        cdef int64_t n = targets.n_rows
        self.fits(targets)
        if n == 0:
            raise ValueError("the gradient needs at least one row")
        cdef cnp.ndarray g = np.empty(self.n_parameters, self.dtype)
        cdef Scratch work = self.scratch(n)
        cdef double loss
        cdef void *pp = cnp.PyArray_DATA(p)
        cdef void *px = cnp.PyArray_DATA(x)
        cdef void *pg = cnp.PyArray_DATA(g)
        with nogil:
            if self.typenum == cnp.NPY_FLOAT:
                loss = T.f32.exits_gradient(&self.net, &self.exits, <float *>pp, <float *>px, &targets.f32, n, l2, <float *>pg, <float *>work.data)
            else:
                loss = T.f64.exits_gradient(&self.net, &self.exits, <double *>pp, <double *>px, &targets.f64, n, l2, <double *>pg, <double *>work.data)
        return loss, g

    def epoch(self, params, Optimizer optimizer not None, X, Targets targets not None, order, int64_t batch_size, double learning_rate,
              double l2=0.0):
        """One pass over the rows in `order`, params and optimizer updated in place; the mean data loss as it was trained."""
        cdef cnp.ndarray p = require_plain(params, self.typenum, (self.n_parameters,), "params")
        cdef cnp.ndarray x = require_plain(X, self.typenum, (targets.n_rows, self.net.sizes[0]), "X")
        cdef cnp.ndarray o = require_plain(order, cnp.NPY_INT64, (None,), "order")
        cdef cnp.ndarray m = require_plain(optimizer.m, self.typenum, (self.n_parameters,), "optimizer.m")
        cdef cnp.ndarray v = require_plain(optimizer.v, self.typenum, (None,), "optimizer.v")
        cdef int64_t n = cnp.PyArray_SIZE(o)
        self.fits(targets)
        if optimizer.kind == "adam" and v.shape[0] != self.n_parameters:
            raise ValueError(f"optimizer.v must have shape ({self.n_parameters},)")
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1; got {batch_size}")
        if n and not (0 <= o.min() and o.max() < targets.n_rows):
            raise ValueError(f"order must hold row indices in 0 .. {targets.n_rows - 1}")
        if not (p.flags.writeable and m.flags.writeable and v.flags.writeable):
            raise ValueError("params and the optimizer's arrays must be writeable: an epoch updates them in place")
        cdef Scratch work = self.scratch(batch_size)
        cdef fkd.fkd_optimizer how = optimizer.how
        cdef int64_t step = optimizer.step
        cdef double loss
        cdef const int64_t *po = <const int64_t *>cnp.PyArray_DATA(o)
        cdef void *pp = cnp.PyArray_DATA(p)
        cdef void *px = cnp.PyArray_DATA(x)
        cdef void *pm = cnp.PyArray_DATA(m)
        cdef void *pv = cnp.PyArray_DATA(v)
        how.learning_rate = learning_rate
        with nogil:
            if self.typenum == cnp.NPY_FLOAT:
                loss = T.f32.exits_epoch(&self.net, &self.exits, <float *>px, &targets.f32, po, n, batch_size, l2, &how, <float *>pp, <float *>pm,
                                         <float *>pv, &step, <float *>work.data)
            else:
                loss = T.f64.exits_epoch(&self.net, &self.exits, <double *>px, &targets.f64, po, n, batch_size, l2, &how, <double *>pp, <double *>pm,
                                         <double *>pv, &step, <double *>work.data)
        optimizer.step = step
        return loss
