# Prediction inside a trading loop: weights packed once, nothing allocated when `out` is given, no state that threads could share.


cdef class PredictorCore:
    """Immutable predictor over packed weights; fastkd.deploy.Predictor is its public face."""
    cdef fkd.fkd_mlp net
    cdef const fkd.fkd_table *table
    cdef int typenum
    cdef bint softmax
    cdef bint raises
    cdef int64_t row_work
    cdef Scratch packed
    cdef readonly int64_t n_features
    cdef readonly int64_t n_outputs
    cdef readonly object dtype

    def __init__(self, sizes, str activation, dtype, params, on_nan="nan", output="softmax"):
        if on_nan not in ("nan", "raise"):
            raise ValueError(f"on_nan must be 'nan' or 'raise'; got {on_nan!r}")
        if output not in ("softmax", "identity"):
            raise ValueError(f"output must be 'softmax' or 'identity'; got {output!r}")
        self.typenum, self.dtype, self.table = type_number(dtype), np.dtype(dtype), T
        cdef int64_t n = fill_net(&self.net, sizes, activation)
        cdef cnp.ndarray p = require_plain(params, self.typenum, (n,), "params")
        cdef bint single = self.typenum == cnp.NPY_FLOAT
        cdef const fkd.fkd_table *t = self.table
        self.softmax, self.raises = output == "softmax", on_nan == "raise"
        self.n_features, self.n_outputs = self.net.sizes[0], self.net.sizes[self.net.layers]
        self.row_work = t.f32.predict_scratch(&self.net, 1) if single else t.f64.predict_scratch(&self.net, 1)
        self.packed = Scratch((4 if single else 8) * (t.f32.packed_size(&self.net) if single else t.f64.packed_size(&self.net)))
        if single:
            t.f32.pack(&self.net, <float *>cnp.PyArray_DATA(p), <float *>self.packed.data)
        else:
            t.f64.pack(&self.net, <double *>cnp.PyArray_DATA(p), <double *>self.packed.data)

    cdef int64_t run(self, const void *x, int64_t n, void *out, void *work) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT:
            return self.table.f32.predict(&self.net, <float *>self.packed.data, <float *>x, n, self.softmax, <float *>out, <float *>work)
        return self.table.f64.predict(&self.net, <double *>self.packed.data, <double *>x, n, self.softmax, <double *>out, <double *>work)

    cdef int predict(self, cnp.ndarray x, int64_t n, void *out) except -1:
        """n rows of x into out; small jobs use the stack and keep the GIL."""
        cdef char stack[8192 + 64]
        cdef int64_t bad
        cdef int64_t item = 4 if self.typenum == cnp.NPY_FLOAT else 8
        cdef Scratch work
        cdef const void *px = cnp.PyArray_DATA(x)
        if n == 1 and self.row_work * item <= 8192:
            bad = self.run(px, 1, out, <void *>((<uintptr_t>&stack[0] + 63) & ~<uintptr_t>63))
        elif n:
            work = Scratch(item * (self.table.f32.predict_scratch(&self.net, n) if item == 4 else self.table.f64.predict_scratch(&self.net, n)))
            if n < 16:
                bad = self.run(px, n, out, work.data)
            else:
                with nogil:
                    bad = self.run(px, n, out, work.data)
        else:
            bad = 0
        if bad and self.raises:
            raise ValueError(f"{bad} of {n} rows hold a feature that is NaN or infinite")
        return 0

    cdef cnp.ndarray rows(self, object x):
        """x as a plain (n_features,) or (n, n_features) array of the model's dtype."""
        cdef cnp.ndarray a
        if self.table == NULL:
            raise TypeError("this predictor was made without a model")
        if not is_plain(x, self.typenum):
            x = _check.as_real(x, "x", self.dtype)
        a = <cnp.ndarray>x
        if not 1 <= cnp.PyArray_NDIM(a) <= 2 or cnp.PyArray_DIMS(a)[cnp.PyArray_NDIM(a) - 1] != self.n_features:
            raise ValueError(f"x must have shape ({self.n_features},) or (rows, {self.n_features}); got {x.shape}")
        return a

    def __call__(self, x, out=None):
        cdef cnp.ndarray a = self.rows(x), y
        cdef int ndim = cnp.PyArray_NDIM(a)
        cdef cnp.npy_intp dims[2]
        cdef int64_t n = 1
        dims[0] = dims[1] = self.n_outputs
        if ndim == 2:
            dims[0] = n = cnp.PyArray_DIMS(a)[0]
        if out is None:
            y = <cnp.ndarray>cnp.PyArray_EMPTY(ndim, dims, self.typenum, 0)
        else:
            if not (is_plain(out, self.typenum) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)
                    and cnp.PyArray_NDIM(<cnp.ndarray>out) == ndim
                    and cnp.PyArray_DIMS(<cnp.ndarray>out)[0] == dims[0]
                    and cnp.PyArray_DIMS(<cnp.ndarray>out)[ndim - 1] == self.n_outputs):
                _check.require_out(out, tuple(dims[i] for i in range(ndim)), self.dtype)
            y = <cnp.ndarray>out
            if overlap(a, y):
                raise ValueError("out overlaps x in memory: give another array, or x itself")
        self.predict(a, n, cnp.PyArray_DATA(y))
        return y

    def argmax(self, x):
        """Index of the largest output of one row (an int) or of each row; -1 where a feature is NaN or infinite."""
        cdef cnp.ndarray a = self.rows(x), y
        cdef int64_t i, c, best, n = cnp.PyArray_DIMS(a)[0] if cnp.PyArray_NDIM(a) == 2 else 1
        y = <cnp.ndarray>np.empty((n, self.n_outputs), self.dtype)
        self.predict(a, n, cnp.PyArray_DATA(y))
        if cnp.PyArray_NDIM(a) == 1:
            return largest(cnp.PyArray_DATA(y), self.typenum, self.n_outputs)
        result = np.empty(n, np.int64)
        for i in range(n):
            (<int64_t *>cnp.PyArray_DATA(<cnp.ndarray>result))[i] = largest(
                <char *>cnp.PyArray_DATA(y) + i * self.n_outputs * (4 if self.typenum == cnp.NPY_FLOAT else 8), self.typenum,
                self.n_outputs)
        return result


cdef int64_t largest(const void *p, int typenum, int64_t n) noexcept nogil:
    """Index of the first maximum, -1 if an entry is NaN."""
    cdef int64_t i, best = 0
    cdef double x, top = (<float *>p)[0] if typenum == cnp.NPY_FLOAT else (<double *>p)[0]
    if top != top:
        return -1
    for i in range(1, n):
        x = (<float *>p)[i] if typenum == cnp.NPY_FLOAT else (<double *>p)[i]
        if x != x:
            return -1
        if x > top:
            top, best = x, i
    return best
