# Features of candles: tables, and streams that take one candle after the other.

cdef dict RECIPE_KINDS = {"ohlcv4": fkd.FKD_OHLCV4, "regime3": fkd.FKD_REGIME3, "condense6": fkd.FKD_CONDENSE6, "rich": fkd.FKD_RICH}
cdef dict GAP_POLICIES = {"raise": fkd.FKD_RAISE, "reset": fkd.FKD_RESET, "bridge": fkd.FKD_BRIDGE}


cdef class RecipeCore:
    """A recipe of features; immutable. fastkd.features.recipe.Recipe is its public face."""
    cdef fkd.fkd_recipe c
    cdef Scratch lengths
    cdef tuple arguments  # for copies and other processes

    def __cinit__(self, str kind, int64_t columns, int64_t warmup, int64_t volume_window=1, tuple horizons=(),
                  tuple windows=(), int64_t n_others=0, double limit=INFINITY, bint log1p=False):
        cdef int64_t i
        cdef int64_t *to
        if kind not in RECIPE_KINDS:
            raise ValueError(f"the recipe must be one of {', '.join(RECIPE_KINDS)}; got {kind!r}")
        self.c.kind, self.c.columns, self.c.warmup, self.c.volume_window = RECIPE_KINDS[kind], columns, warmup, volume_window
        self.c.limit, self.c.log1p, self.c.n_others = limit, log1p, n_others
        self.c.n_horizons, self.c.n_windows = len(horizons), len(windows)
        self.c.width = {"condense6": 7, "rich": 11 + 2 * n_others}.get(kind, 6)
        cdef tuple lengths = horizons + windows
        if not (columns >= 1 and warmup >= 0 and n_others >= 0 and min(lengths, default=1) >= 1
                and max(lengths, default=0) <= warmup and 1 <= volume_window <= warmup + (kind != "condense6")):
            raise ValueError(f"lengths beyond the warm-up of {warmup} candles: {lengths}, {volume_window}")
        made = {"ohlcv4": 4, "regime3": 3, "condense6": 6}.get(kind, len(horizons) * (1 + <object>n_others) + 3 * len(windows) + 7)
        if columns != made:
            raise ValueError(f"the recipe {kind} with these lengths makes {made} columns; got {columns}")
        checked_total((<object>warmup + 1) * (11 + 2 * <object>n_others), "a window of candles")
        cdef double divisor[3]
        cdef double *scales
        divisor[0], divisor[1], divisor[2] = 1.0, 4.0 * 0.69314718055994530942, 1.0
        self.lengths = Scratch(8 * (len(lengths) + 3 * len(windows) + 1))
        to = <int64_t *>self.lengths.data
        for i in range(len(lengths)):
            to[i] = lengths[i]
        self.c.horizons, self.c.windows = to, to + self.c.n_horizons
        self.c.scales = scales = <double *>(to + len(lengths))
        scales[0] = 1.0 / (2.0**50 * volume_window)
        for i in range(3 * len(windows)):
            scales[i] = 1.0 / (2.0**50 * divisor[i % 3] * self.c.windows[i // 3])
        self.arguments = (kind, columns, warmup, volume_window, horizons, windows, n_others, limit, log1p)

    def __reduce__(self):
        return RecipeCore, self.arguments

    def rows(self, start_ms, open, high, low, close, volume, others, offset=None, scale=None):
        """Features of all candles but the first `warmup`, (n - warmup, columns); candles are known to be good."""
        cdef FeedCore feed = FeedCore(self, offset=offset, scale=scale)
        cdef int64_t n = len(start_ms)
        cdef fkd.fkd_word *state = <fkd.fkd_word *>feed.own.data
        cdef const int64_t *t = <int64_t *>cnp.PyArray_DATA(require_plain(start_ms, cnp.NPY_INT64, (n,), "start_ms"))
        cdef const double *o = <double *>cnp.PyArray_DATA(require_plain(open, cnp.NPY_DOUBLE, (n,), "open"))
        cdef const double *h = <double *>cnp.PyArray_DATA(require_plain(high, cnp.NPY_DOUBLE, (n,), "high"))
        cdef const double *l = <double *>cnp.PyArray_DATA(require_plain(low, cnp.NPY_DOUBLE, (n,), "low"))
        cdef const double *c = <double *>cnp.PyArray_DATA(require_plain(close, cnp.NPY_DOUBLE, (n,), "close"))
        cdef const double *v = <double *>cnp.PyArray_DATA(require_plain(volume, cnp.NPY_DOUBLE, (n,), "volume"))
        cdef const double *k = <double *>cnp.PyArray_DATA(require_plain(others, cnp.NPY_DOUBLE, (n, self.c.n_others), "others"))
        X = np.empty((max(n - self.c.warmup, 0), self.c.columns))
        cdef double *x = <double *>cnp.PyArray_DATA(<cnp.ndarray>X)
        with nogil:
            T.candle_rows(&feed.c, t, o, h, l, c, v, k, n, state, x)
        return X


cdef class FeedCore:
    """A stream of candles and the features of each; fastkd.features.FeatureStream is its public face."""
    cdef fkd.fkd_feed c
    cdef RecipeCore recipe
    cdef Scratch own         # state of the stream
    cdef fkd.fkd_word *words  # the same
    cdef Scratch scaler      # offset and scale of each column
    cdef readonly cnp.ndarray closes  # last close of each other symbol; never written to
    cdef const fkd.fkd_table *table
    cdef readonly int64_t n_gaps      # places at which candles were missing
    cdef readonly int64_t n_missing   # candles that were missing there
    cdef readonly int64_t shortest_step  # between starts, 0 before the second candle

    def __cinit__(self, RecipeCore recipe not None, *, int64_t step_ms=0, int64_t phase_ms=0, str on_gap="bridge",
                  offset=None, scale=None):
        self.recipe, self.table = recipe, T
        self.c.recipe, self.c.step_ms, self.c.phase_ms = recipe.c, step_ms, phase_ms
        if on_gap not in GAP_POLICIES:
            raise ValueError(f"on_gap must be 'raise', 'reset' or 'bridge'; got {on_gap!r}")
        if step_ms < 0:
            raise ValueError(f"step_ms must be >= 0; got {step_ms}")
        self.c.on_gap = GAP_POLICIES[on_gap]
        self.own = new_state(recipe)
        self.words = <fkd.fkd_word *>self.own.data
        self.closes = np.full(recipe.c.n_others, np.nan)
        if offset is not None:
            self.scaler = two_rows(offset, scale, recipe.c.columns)
            self.c.offset = <double *>self.scaler.data
            self.c.scale = self.c.offset + recipe.c.columns

    cdef int take(self, object candle, object others, double *row) except -1:
        """Push a candle; 1 if its row is complete."""
        cdef fkd.fkd_candle c
        cdef fkd.fkd_word *state = self.words
        cdef int64_t before = state[0].i, last = state[2].i
        cdef int code
        cdef cnp.ndarray closes = self.closes
        read_candle(candle, &c)
        if self.c.recipe.n_others:
            if (code := self.table.candle_check(&self.c, state, &c)) >= 0:
                closes = require_plain(self._closes(c.start_ms, others), cnp.NPY_DOUBLE, (self.c.recipe.n_others,), "closes")
        elif others:
            raise ValueError(f"these features take no other symbols; got {', '.join(others)}")
        code = self.table.candle_push(&self.c, state, &c, <double *>cnp.PyArray_DATA(closes), row)
        if code < 0:
            raise candle_error(self._refusal(code, c.start_ms, candle))
        self.closes = closes
        if before and (not self.shortest_step or c.start_ms - last < self.shortest_step):
            self.shortest_step = c.start_ms - last
        if code & fkd.FKD_GAP:
            self.note_gap(c.start_ms, last)
        return code & fkd.FKD_READY

    cdef int note_gap(self, int64_t start_ms, int64_t last_ms) except -1:
        cdef int64_t missing = (start_ms - last_ms) // self.c.step_ms - 1
        self.n_gaps += 1
        self.n_missing += missing
        self._report(missing, start_ms)
        return 0

    @property
    def count(self):
        """Candles taken since the beginning, or since the last gap where gaps begin anew."""
        return self.words[0].i

    @property
    def last_ms(self):
        """Start of the last candle, UTC milliseconds; None before the first."""
        return self.words[2].i if self.words[0].i else None

    def recent(self):
        """What rows to come depend on, oldest first: [start_ms, open, high, low, close, volume, [closes of the others]]."""
        cdef int64_t i, k, others = self.c.recipe.n_others
        cdef Scratch candles = Scratch((self.c.recipe.warmup + 1) * (sizeof(fkd.fkd_candle) + 8 * others))
        cdef fkd.fkd_candle *c = <fkd.fkd_candle *>candles.data
        cdef double *closes = <double *>(c + self.c.recipe.warmup + 1)
        cdef int64_t n = self.table.candle_recent(&self.c.recipe, self.words, c, closes)
        return [[c[i].start_ms, c[i].open, c[i].high, c[i].low, c[i].close, c[i].volume,
                 [closes[i * others + k] for k in range(others)]] for i in range(n)]

    def _refusal(self, int code, int64_t start_ms, candle):
        return f"candle refused with code {code}: {candle}"

    def _report(self, int64_t missing, int64_t start_ms):
        pass

    def restore(self, candles, int64_t shortest_step):
        """Take what `recent` gave, whatever is missing between them; the stream must be new."""
        cdef fkd.fkd_candle c
        cdef fkd.fkd_feed feed = self.c
        cdef Scratch row = Scratch(8 * self.c.recipe.columns)
        cdef int code
        if self.words[0].i:
            raise ValueError("only a new stream can take a state")
        feed.on_gap = fkd.FKD_BRIDGE
        for *candle, others in candles:
            closes = np.array(others, np.float64)
            if closes.shape != (self.c.recipe.n_others,) or not (np.isfinite(closes) & (closes > 0)).all():
                raise ValueError(f"expected {self.c.recipe.n_others} closes of other symbols; got {others}")
            read_candle(tuple(candle), &c)
            code = self.table.candle_push(&feed, self.words, &c, <double *>cnp.PyArray_DATA(<cnp.ndarray>closes), <double *>row.data)
            if code < 0:
                raise candle_error(self._refusal(code, c.start_ms, candle))
            self.closes = closes
        self.shortest_step = shortest_step

    def push(self, candle, others=None):
        """Take the next closed candle.

        Parameters
        ----------
        candle : Candle, or a sequence start_ms, open, high, low, close, volume
            Later than the one before.
        others : mapping of symbol to candle, optional
            For each of the feature set's `symbols` its latest candle that starts no later than this one, if there is
            one that was not given before; else None or nothing, and its last close counts on.

        Returns
        -------
        numpy.ndarray, shape (n_features,), float64, or None
            The row; None during the first ``n_warmup`` candles. `known_at_ms` tells when it could be known.

        Raises
        ------
        CandleError
            The candle is not later than the last, impossible or off the grid of the interval, or candles are missing
            before it and ``on_gap="raise"``. The stream stays as it was.
        """
        cdef cnp.npy_intp n = self.c.recipe.columns
        cdef cnp.ndarray row = <cnp.ndarray>cnp.PyArray_EMPTY(1, &n, cnp.NPY_DOUBLE, 0)
        return row if self.take(candle, others, <double *>cnp.PyArray_DATA(row)) else None


cdef Scratch new_state(RecipeCore recipe):
    cdef size_t n_bytes = 8 * T.candle_state(&recipe.c)
    cdef Scratch state = Scratch(n_bytes)
    memset(state.data, 0, n_bytes)
    return state


cdef Scratch two_rows(object offset, object scale, int64_t n):
    cdef Scratch both = Scratch(16 * n)
    cdef cnp.ndarray a = require_plain(_check.plain(offset, np.float64), cnp.NPY_DOUBLE, (n,), "offset")
    cdef cnp.ndarray b = require_plain(_check.plain(scale, np.float64), cnp.NPY_DOUBLE, (n,), "scale")
    memcpy(both.data, cnp.PyArray_DATA(a), 8 * n)
    memcpy(<double *>both.data + n, cnp.PyArray_DATA(b), 8 * n)
    return both


cdef int read_candle(object candle, fkd.fkd_candle *c) except -1:
    """A Candle, or any sequence start_ms, open, high, low, close, volume[, ...] of real numbers."""
    if not isinstance(candle, tuple) or len(<tuple>candle) < 6:
        candle = as_candle(candle)
    cdef tuple values = <tuple>candle  # not checked: an assignment would refuse Candle, a subclass
    cdef object start = values[0]
    if type(start) is not int:
        start = as_start(start)
    c.start_ms = clipped(start)
    c.open = values[1]
    c.high = values[2]
    c.low = values[3]
    c.close = values[4]
    c.volume = values[5]
    return 0


cdef tuple as_candle(object candle):
    if hasattr(candle, "candle"):
        raise TypeError("expected a Candle; got a LiveCandle: push its .candle")
    if isinstance(candle, (str, bytes)) or not hasattr(candle, "__len__") or hasattr(candle, "keys"):
        raise TypeError(f"expected a Candle or start_ms, open, high, low, close, volume; got {type(candle).__name__}")
    if len(candle) < 6:
        raise ValueError(f"expected start_ms, open, high, low, close, volume; got {len(candle)} value(s)")
    return tuple(candle)


cdef object as_start(object start):
    """A start of any kind of number as an int; TypeError, or ValueError for a fraction."""
    if isinstance(start, bool) or not hasattr(start, "__int__") or isinstance(start, str):
        raise TypeError(f"start_ms must be a whole number of milliseconds; got {start!r}")
    if start != start or start in (INFINITY, -INFINITY) or int(start) != start:
        raise candle_error(f"start_ms must be a whole number of milliseconds; got {start}")
    return int(start)


cdef object candle_error(str message):
    from fastkd.market.errors import CandleError

    return CandleError(message)


cdef inline int64_t clipped(object start) except? -1:
    cdef int overflow = 0
    cdef int64_t value = PyLong_AsLongLongAndOverflow(start, &overflow)
    return value if overflow == 0 else overflow * (<int64_t>1 << 62)
