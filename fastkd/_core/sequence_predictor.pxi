# Prediction of one window, of many, and of an LSTM step by step, from weights packed once.


cdef class SequencePredictorCore:
    """Immutable predictor over packed weights; fastkd.deploy.SequencePredictor is its public face."""
    cdef fkd.fkd_network net
    cdef const fkd.fkd_table *table
    cdef int typenum
    cdef bint single
    cdef bint raises
    cdef int64_t row_work
    cdef int64_t state_size
    cdef Scratch packed
    cdef object names  # of the columns, where they are known
    cdef readonly int64_t n_steps
    cdef readonly int64_t n_features
    cdef readonly int64_t n_outputs
    cdef readonly object dtype
    cdef readonly str weights

    def __cinit__(self, SequenceKernel kernel not None, params, shift=None, factor=None, on_nan="nan", names=None, weights=None):
        if on_nan not in ("nan", "raise"):
            raise ValueError(f"on_nan must be 'nan' or 'raise'; got {on_nan!r}")
        weights = kernel.dtype.name if weights is None else weights
        if weights not in (kernel.dtype.name, "bfloat16"):
            raise ValueError(f"weights must be {kernel.dtype.name!r}, as the model has them, or 'bfloat16'; got {weights!r}")
        cdef bint narrow = weights == "bfloat16"
        if narrow and (kernel.net.kind != fkd.FKD_LSTM or not kernel.single):
            raise ValueError("weights='bfloat16' needs an LSTM of dtype float32; "
                             f"got {kernel.kind} of {kernel.dtype.name}: only an LSTM reads all its weights at each step")
        cdef cnp.ndarray p = require_plain(params, kernel.typenum, (kernel.n_parameters,), "params")
        for name, x in (("shift", shift), ("factor", factor)):
            if x is not None:
                require_plain(x, kernel.typenum, kernel.input_shape[1:], name)
        self.net, self.typenum, self.dtype, self.raises = kernel.net, kernel.typenum, kernel.dtype, on_nan == "raise"
        self.net.weights = fkd.FKD_BFLOAT16 if narrow else fkd.FKD_FULL
        self.weights = weights
        self.n_steps, self.n_features = kernel.input_shape
        self.n_outputs = kernel.n_outputs
        self.table, self.single, self.names = T, kernel.single, names
        self.row_work = fkd.network_predict_scratch(self.table, self.single, &self.net, 1)
        self.state_size = fkd.network_state(self.table, self.single, &self.net)
        self.packed = Scratch(real_size(self.single) * fkd.network_packed(self.table, self.single, &self.net))
        fkd.network_pack(self.table, self.single, &self.net, cnp.PyArray_DATA(p), data_or_null(shift), data_or_null(factor), self.packed.data)

    cdef int64_t run(self, const void *x, int64_t n, void *out, void *work) noexcept nogil:
        return fkd.network_predict(self.table, self.single, &self.net, self.packed.data, x, n, 1, out, work)

    cdef int predict(self, cnp.ndarray x, int64_t n, void *out) except -1:
        """n windows of x into out; one window of a usual size needs the stack only."""
        cdef char stack[32768 + 64]
        cdef int64_t bad = 0
        cdef Scratch work
        cdef const void *px = cnp.PyArray_DATA(x)
        cdef void *aligned = <void *>((<uintptr_t>&stack[0] + 63) & ~<uintptr_t>63)
        if n == 1 and self.row_work * real_size(self.single) <= 32768:
            with nogil:
                bad = self.run(px, 1, out, aligned)
        elif n:
            work = Scratch(real_size(self.single) * fkd.network_predict_scratch(self.table, self.single, &self.net, n))
            with nogil:
                bad = self.run(px, n, out, work.data)
        if bad and self.raises:
            raise ValueError(f"{bad} of {n} windows hold a feature that is NaN or infinite")
        return 0

    cdef cnp.ndarray windows(self, object x):
        """x as a plain (steps, features) or (n, steps, features) array of the model's dtype."""
        cdef cnp.ndarray a
        cdef int ndim
        if not is_plain(x, self.typenum):
            if self.names is not None:
                _check.check_names(_check.feature_names(x), self.names)
            x = _check.as_real(x, "x", self.dtype)
        a = <cnp.ndarray>x
        ndim = cnp.PyArray_NDIM(a)
        if not 2 <= ndim <= 3 or cnp.PyArray_DIMS(a)[ndim - 2] != self.n_steps or cnp.PyArray_DIMS(a)[ndim - 1] != self.n_features:
            raise ValueError(f"x must have shape ({self.n_steps}, {self.n_features}) or (windows, {self.n_steps}, {self.n_features}); "
                             f"got {x.shape}")
        return a

    cdef cnp.ndarray output(self, object out, int64_t n, bint batch):
        """`out` checked, or a new array, (n_outputs,) or (n, n_outputs)."""
        cdef cnp.npy_intp[2] dims = [n, self.n_outputs]
        return target(out, 2 if batch else 1, &dims[0 if batch else 1], self.typenum, "out")

    def __call__(self, x, out=None):
        cdef cnp.ndarray a = self.windows(x)
        cdef bint batch = cnp.PyArray_NDIM(a) == 3
        cdef int64_t n = cnp.PyArray_DIMS(a)[0] if batch else 1
        cdef cnp.ndarray y = self.output(out, n, batch)
        if out is not None and overlap(a, y):
            raise ValueError("out overlaps x in memory: give another array")
        self.predict(a, n, cnp.PyArray_DATA(y))
        return y

    def argmax(self, x):
        """Index of the largest output of one window (an int) or of each; -1 where a feature is NaN or infinite."""
        cdef cnp.ndarray a = self.windows(x)
        cdef bint batch = cnp.PyArray_NDIM(a) == 3
        cdef int64_t n = cnp.PyArray_DIMS(a)[0] if batch else 1
        cdef cnp.ndarray y = self.output(None, n, True)
        self.predict(a, n, cnp.PyArray_DATA(y))
        return largest_of_rows(y) if batch else largest(cnp.PyArray_DATA(y), self.single, self.n_outputs)


cdef class StreamCore:
    """An LSTM's state between ticks; fastkd.deploy.SequenceStream is its public face."""
    cdef readonly SequencePredictorCore predictor
    cdef cnp.ndarray memory
    cdef Scratch work

    def __cinit__(self, SequencePredictorCore predictor not None):
        if predictor.net.kind != fkd.FKD_LSTM:
            raise TypeError("only an LSTM keeps a state between steps; a CNN needs the whole window")
        self.predictor = predictor
        self.memory = np.zeros(predictor.state_size, predictor.dtype)
        self.work = Scratch(real_size(predictor.single) * predictor.row_work)

    @property
    def n_seen(self):
        """Steps since the last reset."""
        high, low = self.memory[-2:].tolist()
        return int(2.0**24 * high + low)

    @property
    def state(self):
        """All that the stream remembers, a 1-D array (a copy); assign such an array to go on from there."""
        return self.memory.copy()

    @state.setter
    def state(self, value):
        array = _check.as_real(value, "state", self.predictor.dtype)
        if array.shape != (self.predictor.state_size,) or not np.isfinite(array).all():
            raise ValueError(f"state must be {self.predictor.state_size} finite numbers, as a stream of this model gave them")
        high, low = array[-2:].tolist()
        if not (0 <= high <= 2.0**24 and 0 <= low < 2.0**24 and high == int(high) and low == int(low)):
            raise ValueError(f"the last two entries of state must be the number of steps, high * 2^24 + low; got {high}, {low}")
        self.memory[...] = array

    def reset(self):
        """Forget everything, as before the first step."""
        self.memory[...] = 0

    def push(self, row, out=None):
        cdef SequencePredictorCore p = self.predictor
        cdef cnp.ndarray x, y
        cdef int bad
        if not is_plain(row, p.typenum):
            if p.names is not None:
                _check.check_names(_check.feature_names(row), p.names)
            row = _check.as_real(row, "row", p.dtype)
        x = <cnp.ndarray>row
        if cnp.PyArray_NDIM(x) != 1 or cnp.PyArray_DIMS(x)[0] != p.n_features:
            raise ValueError(f"row must have shape ({p.n_features},), the features of one step; got {row.shape}")
        y = p.output(out, 1, False)
        if out is not None and overlap(x, y):
            raise ValueError("out overlaps row in memory: give another array")
        bad = fkd.network_push(p.table, p.single, &p.net, p.packed.data, cnp.PyArray_DATA(self.memory), cnp.PyArray_DATA(x), 1,
                               cnp.PyArray_DATA(y), self.work.data)
        if bad and p.raises:
            raise ValueError("row holds a feature that is NaN, infinite, or too large for the network; the state is as before")
        return y
