# Forecasts of live candles: check, features, scaling and network in one call on one state.


cdef class ReaderCore:
    """A perceptron that reads rows of features, behind the model's own scaler; immutable, threads may share it."""
    cdef fkd.fkd_reader c
    cdef fkd.fkd_mlp net
    cdef const fkd.fkd_table *table
    cdef Scratch packed
    cdef Scratch scaler
    cdef int typenum
    cdef readonly int64_t n_features
    cdef readonly int64_t n_outputs
    cdef readonly object dtype

    def __cinit__(self, sizes, str activation, dtype, params, *, bint softmax, offset=None, scale=None):
        self.typenum, self.dtype, self.table = type_number(dtype), np.dtype(dtype), T
        cdef bint single = self.typenum == cnp.NPY_FLOAT
        cdef int64_t n = fill_net(&self.net, whole_sizes(sizes, "sizes"), activation)
        cdef cnp.ndarray p = require_plain(params, self.typenum, (n,), "params")
        self.n_features, self.n_outputs = self.net.sizes[0], self.net.sizes[self.net.layers]
        self.packed = Scratch(real_size(single) * fkd.packed_size(T, single, &self.net))
        fkd.pack(T, single, &self.net, cnp.PyArray_DATA(p), self.packed.data)
        self.c.net, self.c.packed, self.c.single, self.c.softmax = &self.net, self.packed.data, single, softmax
        if offset is not None:
            self.scaler = two_rows(offset, scale, self.n_features)
            self.c.offset = <double *>self.scaler.data
            self.c.scale = self.c.offset + self.n_features

    def read(self, X):
        """Outputs of rows of features, (n, n_outputs): the bits that the same rows give one by one."""
        cdef int64_t n = len(X)
        cdef const double *x = <double *>cnp.PyArray_DATA(require_plain(X, cnp.NPY_DOUBLE, (n, self.n_features), "X"))
        cdef Scratch work = Scratch(8 * self.table.candle_scratch(&self.c, n if n else 1))
        result = np.empty((n, self.n_outputs), self.dtype)
        cdef void *y = cnp.PyArray_DATA(<cnp.ndarray>result)
        with nogil:
            self.table.candle_read(&self.c, x, n, y, work.data)
        return result


cdef class LiveCore:
    """Candle in, forecast out; fastkd.forecast.LiveForecaster is its public face."""
    cdef readonly FeedCore feed
    cdef readonly ReaderCore reader
    cdef Scratch row_  # of features, the last
    cdef Scratch work
    cdef readonly dict feeds  # of push_many: symbol -> FeedCore
    cdef dict readers  # of symbols that have a network of their own
    cdef Scratch many
    cdef int64_t room  # of `many`, in symbols
    cdef list order    # symbols of the last push_many, and their feeds: the next one mostly has the same
    cdef list ordered

    def __cinit__(self, FeedCore feed not None, ReaderCore reader not None):
        self.feed, self.feeds, self.readers = feed, {}, {}
        self.order, self.ordered = [], []
        self._exchange(reader)

    def _exchange(self, ReaderCore reader not None, symbol=None):
        """Another network from the next candle on, for one symbol or for all that have none of their own."""
        cdef ReaderCore now = self.reader
        if reader.n_features != self.feed.c.recipe.columns:
            raise ValueError(f"the model takes {reader.n_features} features; the feature set gives {self.feed.c.recipe.columns}")
        if now is not None and (reader.n_outputs != now.n_outputs or reader.typenum != now.typenum):
            raise ValueError(f"a model of {now.n_outputs} outputs in {now.dtype} can only be exchanged for such; "
                             f"got {reader.n_outputs} in {reader.dtype}")
        cdef Scratch work = Scratch(8 * reader.table.candle_scratch(&reader.c, fkd.FKD_PREDICT_ROWS))
        if now is None:
            self.row_ = Scratch(8 * reader.n_features)
        if symbol is None:
            self.reader, self.work = reader, work
        else:
            self.readers[symbol] = (reader, work)

    def push(self, *candle, out=None, others=None):
        """Take the next closed candle.

        Parameters
        ----------
        candle : Candle, a sequence, or plain arguments start_ms, open, high, low, close, volume[, turnover]
            Starts are UTC milliseconds. Later than the one before.
        out : numpy.ndarray, shape (n_outputs,), of the model's dtype, optional
            Filled and returned; then nothing is allocated.
        others : mapping of symbol to candle, optional
            See `fastkd.features.FeatureStream.push`.

        Returns
        -------
        numpy.ndarray, shape (n_outputs,), or None
            Probabilities of `classes_`, or values of a regressor; None during the first ``n_warmup`` candles. NaN
            where a feature is too large for the model's dtype.

        Raises
        ------
        CandleError
            The candle is not later than the last, impossible or off the grid of the interval, or candles are missing
            before it and ``on_gap="raise"``. Nothing has changed then.
        """
        cdef ReaderCore m = self.reader  # both now: another thread may exchange them while the candle is taken
        cdef Scratch work = self.work
        cdef cnp.npy_intp n = m.n_outputs
        cdef double *row = <double *>self.row_.data
        cdef object one = candle[0] if len(candle) == 1 else candle
        cdef cnp.ndarray y = target(out, 1, &n, m.typenum, "out")
        if not self.feed.take(one, others, row):
            return None
        m.table.candle_read(&m.c, row, 1, cnp.PyArray_DATA(y), work.data)
        return y

    @property
    def row(self):
        """Features of the candle that `push` took last, (n_features,) float64; None while windows fill."""
        if self.feed.words[0].i <= self.feed.c.recipe.warmup:
            return None
        result = np.empty(self.feed.c.recipe.columns)
        memcpy(cnp.PyArray_DATA(<cnp.ndarray>result), self.row_.data, 8 * self.feed.c.recipe.columns)
        return result

    def push_many(self, dict candles not None, out=None):
        """Take the next closed candle of each of many symbols.

        Parameters
        ----------
        candles : dict of symbol to candle, or None
            Each symbol has a state of its own, which begins with its first candle, and its own network if `exchange`
            gave it one. None where a symbol has no candle this time.
        out : numpy.ndarray, shape (len(candles), n_outputs), of the model's dtype, optional

        Returns
        -------
        numpy.ndarray, shape (len(candles), n_outputs)
            What `push` gives for each symbol, in the order of `candles`; a row of NaN where that is None.

        Raises
        ------
        CandleError
            As `push`, and names the symbol. No symbol's state has changed then.
        """
        cdef int64_t n = len(candles), i = 0, k = 0, columns = self.reader.n_features, outputs = self.reader.n_outputs
        cdef int64_t item = real_size(self.reader.typenum == cnp.NPY_FLOAT)
        cdef cnp.npy_intp[2] dims = [n, outputs]
        cdef const fkd.fkd_feed *feed = &self.feed.c  # that of all symbols, so that it stays in L1
        cdef const fkd.fkd_table *table = self.feed.table
        cdef ReaderCore own
        cdef Scratch many = self.many  # nobody else's while this call runs: reading a candle may run code of the caller
        cdef int64_t room = self.room
        cdef fkd.fkd_candle *c
        cdef double *rows
        cdef int64_t *places
        cdef fkd.fkd_word **states
        cdef char *y
        cdef int code
        cdef int64_t last
        if self.feed.c.recipe.n_others:
            raise ValueError("push_many takes no features of other symbols: use one LiveForecaster a symbol")
        cdef cnp.ndarray result = target(out, 2, dims, self.reader.typenum, "out")
        cdef char *to = <char *>cnp.PyArray_DATA(result)
        self.many, self.room = None, 0
        if many is None or n > room:
            many, room = Scratch(n * (sizeof(fkd.fkd_candle) + 8 * columns + 8 * outputs + 16)), n
        c = <fkd.fkd_candle *>many.data
        rows = <double *>(c + room)
        y = <char *>(rows + room * columns)
        places = <int64_t *>(y + 8 * room * outputs)
        states = <fkd.fkd_word **>(places + room)
        cdef list feeds = self.feeds_of(candles)
        for symbol, candle in candles.items():  # first all checks, then all changes
            if i == n:
                raise RuntimeError("the dict of candles changed while it was read")
            states[i] = NULL
            if candle is not None:
                read_candle(candle, c + i)
                states[i] = (<FeedCore>feeds[i]).words
                code = table.candle_check(feed, states[i], c + i)
                if code < 0:
                    raise candle_error(f"{symbol}: {feeds[i]._refusal(code, c[i].start_ms, candle)}")
            i += 1
        for i in range(n):
            if states[i] != NULL:
                last = states[i][2].i
                code = table.candle_push(feed, states[i], c + i, NULL, rows + k * columns)
                if code & fkd.FKD_GAP:
                    (<FeedCore>feeds[i]).note_gap(c[i].start_ms, last)
                if code & fkd.FKD_READY:
                    places[k] = i
                    k += 1
        self.reader.table.candle_read(&self.reader.c, rows, k, to if k == n else y, self.work.data)
        if k < n:
            memset(to, 0xFF, n * outputs * item)  # NaN
        for i in range(k if k < n else 0):
            memcpy(to + places[i] * outputs * item, y + i * outputs * item, outputs * item)
        if self.readers:
            symbols = list(candles)
            for i in range(k):
                if symbols[places[i]] in self.readers:
                    own, work = self.readers[symbols[places[i]]]
                    own.table.candle_read(&own.c, rows + i * columns, 1, to + places[i] * outputs * item, (<Scratch>work).data)
        self.many, self.room = many, room
        return result

    cdef list feeds_of(self, dict candles):
        """The feed of each symbol, new ones made."""
        cdef int64_t i = 0, n = len(self.order)
        for symbol in candles:
            if i >= n or symbol is not self.order[i]:
                break
            i += 1
        if i == n == len(candles):
            return self.ordered
        feeds = []
        for symbol in candles:
            feed = self.feeds.get(symbol)
            if feed is None:
                feed = self.feeds[symbol] = self._new_feed(symbol)
            feeds.append(feed)
        self.order, self.ordered = list(candles), feeds
        return feeds

    def _new_feed(self, symbol):
        raise NotImplementedError
