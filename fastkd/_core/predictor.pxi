# Prediction inside a trading loop: weights packed once, nothing allocated when `out` is given, no state that threads could share.


cdef class PredictorCore:
    """Immutable predictor over packed weights; fastkd.deploy.Predictor is its public face."""
    cdef fkd.fkd_mlp net
    cdef const fkd.fkd_table *table
    cdef int typenum
    cdef bint single
    cdef bint softmax
    cdef bint raises
    cdef int64_t row_work
    cdef Scratch packed
    cdef object names  # of the columns, where they are known
    cdef readonly int64_t n_features
    cdef readonly int64_t n_outputs
    cdef readonly object dtype

    def __cinit__(self, sizes, str activation, dtype, params, on_nan="nan", output="softmax", names=None):
        if on_nan not in ("nan", "raise"):
            raise ValueError(f"on_nan must be 'nan' or 'raise'; got {on_nan!r}")
        if output not in ("softmax", "identity"):
            raise ValueError(f"output must be 'softmax' or 'identity'; got {output!r}")
        self.typenum, self.dtype, self.table = type_number(dtype), np.dtype(dtype), T
        self.single, self.names = self.typenum == cnp.NPY_FLOAT, names
        cdef int64_t n = fill_net(&self.net, whole_sizes(sizes, "sizes"), activation)
        cdef cnp.ndarray p = require_plain(params, self.typenum, (n,), "params")
        self.softmax, self.raises = output == "softmax", on_nan == "raise"
        self.n_features, self.n_outputs = self.net.sizes[0], self.net.sizes[self.net.layers]
        self.row_work = fkd.predict_scratch(self.table, self.single, &self.net, 1)
        self.packed = Scratch(real_size(self.single) * fkd.packed_size(self.table, self.single, &self.net))
        fkd.pack(self.table, self.single, &self.net, cnp.PyArray_DATA(p), self.packed.data)

    cdef int64_t run(self, const void *x, int64_t n, void *out, void *work) noexcept nogil:
        return fkd.predict(self.table, self.single, &self.net, self.packed.data, x, n, self.softmax, out, work)

    cdef int predict(self, cnp.ndarray x, int64_t n, void *out) except -1:
        """n rows of x into out; small jobs use the stack and keep the GIL."""
        cdef char stack[8192 + 64]
        cdef int64_t bad
        cdef Scratch work
        cdef const void *px = cnp.PyArray_DATA(x)
        if n == 1 and self.row_work * real_size(self.single) <= 8192:
            bad = self.run(px, 1, out, <void *>((<uintptr_t>&stack[0] + 63) & ~<uintptr_t>63))
        elif n:
            work = Scratch(real_size(self.single) * fkd.predict_scratch(self.table, self.single, &self.net, n))
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
        if not is_plain(x, self.typenum):
            if self.names is not None:
                _check.check_names(_check.feature_names(x), self.names)
            x = _check.as_real(x, "x", self.dtype)
        a = <cnp.ndarray>x
        if not 1 <= cnp.PyArray_NDIM(a) <= 2 or cnp.PyArray_DIMS(a)[cnp.PyArray_NDIM(a) - 1] != self.n_features:
            raise ValueError(f"x must have shape ({self.n_features},) or (rows, {self.n_features}); got {x.shape}")
        return a

    def __call__(self, x, out=None):
        cdef cnp.ndarray a = self.rows(x)
        cdef int ndim = cnp.PyArray_NDIM(a)
        cdef cnp.npy_intp dims[2]
        cdef int64_t n = 1
        dims[0] = dims[1] = self.n_outputs
        if ndim == 2:
            dims[0] = n = cnp.PyArray_DIMS(a)[0]
        cdef cnp.ndarray y = target(out, ndim, dims, self.typenum, "out")
        if out is not None and overlap(a, y) and not (cnp.PyArray_DATA(a) == cnp.PyArray_DATA(y) and same_shape(a, y)):
            raise ValueError("out overlaps x in memory: give another array, or x itself where it has the shape of the result")
        self.predict(a, n, cnp.PyArray_DATA(y))
        return y

    def argmax(self, x):
        """Index of the largest output of one row (an int) or of each row; -1 where a feature is NaN or infinite."""
        cdef cnp.ndarray a = self.rows(x)
        cdef bint batch = cnp.PyArray_NDIM(a) == 2
        cdef int64_t n = cnp.PyArray_DIMS(a)[0] if batch else 1
        cdef cnp.npy_intp[2] dims = [n, self.n_outputs]
        cdef cnp.ndarray y = target(None, 2, dims, self.typenum, "")
        self.predict(a, n, cnp.PyArray_DATA(y))
        return largest_of_rows(y) if batch else largest(cnp.PyArray_DATA(y), self.single, self.n_outputs)


cdef cnp.ndarray largest_of_rows(cnp.ndarray y):
    """Index of the first maximum of each row, -1 for a row with a NaN."""
    cdef int64_t i, n = cnp.PyArray_DIMS(y)[0], C = cnp.PyArray_DIMS(y)[1]
    cdef bint single = cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT
    cdef const char *p = <const char *>cnp.PyArray_DATA(y)
    cdef cnp.ndarray result = <cnp.ndarray>cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(y), cnp.NPY_INT64, 0)
    cdef int64_t *to = <int64_t *>cnp.PyArray_DATA(result)
    for i in range(n):
        to[i] = largest(p + i * C * real_size(single), single, C)
    return result


cdef int64_t largest(const void *p, bint single, int64_t n) noexcept nogil:
    """Index of the first maximum, -1 if an entry is NaN."""
    return first_largest(<const float *>p, n) if single else first_largest(<const double *>p, n)


cdef int64_t first_largest(const real *p, int64_t n) noexcept nogil:
    cdef int64_t i, best = 0
    for i in range(n):
        if p[i] != p[i]:
            return -1
        if p[i] > p[best]:
            best = i
    return best
