# The recipe "rich" for live candles: the generator of fastkd/features/rich.py, statement by statement.

from libc.math cimport cos, log, log1p, sin, sqrt

ctypedef double (*unary)(double) noexcept nogil

cdef enum:
    DAY_MS = 86400000
    KINDS = 3  # of squares: close to close, high to low, Garman and Klass

cdef double SQUARE_UNITS = 2.0**50
cdef double MAX_SQUARE = 4.0
cdef double VOLUME_UNITS = 2.0**20
cdef double MAX_LOG_VOLUME = 64.0


cdef inline int64_t in_units(double value, double limit, double units) noexcept:
    return <int64_t>((value if value < limit else limit) * units)


cdef class RichRows:
    """send(values) takes a candle and returns its row, or None while the first window is incomplete."""
    cdef int n_horizons, n_windows, n_others, longest, depth, n_columns
    cdef int64_t count, warmup, volume_window, volume_sum, volume_squares
    cdef double last_volume, last_close, garman_klass, radians
    cdef unary sine, cosine  # called through pointers: a compiler would merge them into another function
    cdef Scratch memory
    cdef double *scaler      # (2, n_columns): offset and scale of each column; NULL for none
    cdef double *scales      # (n_windows, 2): of the sums, and of Parkinson's
    cdef double *closes      # (1 + n_others, longest): rings of log closes, then of the other symbols
    cdef int64_t *horizons
    cdef int64_t *windows
    cdef int64_t *totals     # (n_windows, KINDS)
    cdef int64_t *squares    # (depth, KINDS): ring
    cdef int64_t *volumes    # (volume_window,): ring

    def __cinit__(self, tuple horizons, tuple windows, int64_t volume_window, int n_others, int64_t warmup,
                  object offset, object scale):
        cdef int i
        self.n_horizons, self.n_windows, self.n_others = len(horizons), len(windows), n_others
        self.longest, self.depth = max(horizons) + 1, max(windows)
        self.warmup, self.volume_window = warmup, volume_window
        self.n_columns = self.n_horizons * (1 + n_others) + KINDS * self.n_windows + 7
        self.garman_klass = 2.0 * log(2.0) - 1.0
        self.radians = 2.0 * np.pi / DAY_MS
        self.sine, self.cosine = sin, cos
        cdef size_t doubles = 2 * self.n_columns + 2 * self.n_windows + (1 + n_others) * self.longest
        cdef size_t integers = (self.n_horizons + (1 + KINDS) * self.n_windows + KINDS * self.depth + volume_window)
        self.memory = Scratch(8 * (doubles + integers))
        memset(self.memory.data, 0, 8 * (doubles + integers))
        self.scaler = NULL
        self.scales = <double *>self.memory.data + 2 * self.n_columns
        self.closes = self.scales + 2 * self.n_windows
        self.horizons = <int64_t *>(self.closes + (1 + n_others) * self.longest)
        self.windows = self.horizons + self.n_horizons
        self.totals = self.windows + self.n_windows
        self.squares = self.totals + KINDS * self.n_windows
        self.volumes = self.squares + KINDS * self.depth
        for i in range(self.n_horizons):
            self.horizons[i] = horizons[i]
        for i in range(self.n_windows):
            self.windows[i] = windows[i]
            self.scales[2 * i] = 1.0 / (SQUARE_UNITS * 1.0 * self.windows[i])
            self.scales[2 * i + 1] = 1.0 / (SQUARE_UNITS * (4.0 * log(2.0)) * self.windows[i])

        if offset is not None:
            self.scaler = <double *>self.memory.data
            for i in range(self.n_columns):
                self.scaler[i] = offset[i]
                self.scaler[self.n_columns + i] = scale[i]

    def send(self, tuple values):
        cdef int64_t start = values[0]
        cdef double open_ = values[1], high = values[2], low = values[3], close = values[4], volume = values[5]
        cdef cnp.npy_intp n_columns = self.n_columns
        cdef cnp.ndarray row = <cnp.ndarray>cnp.PyArray_EMPTY(1, &n_columns, cnp.NPY_DOUBLE, 0)
        cdef double *out = <double *>cnp.PyArray_DATA(row)
        cdef tuple others = values[6]
        cdef int i, kind, other
        cdef int64_t oldest, units

        cdef double log_close = log(close)
        out = self.returns(self.closes, log_close, out)
        cdef double change = log_close - self.last_close
        cdef double span = log(high) - log(low), body = log_close - log(open_)
        self.last_close = log_close

        cdef double size = high - low
        cdef double top = close if close > open_ else open_, bottom = open_ if close > open_ else close
        out[0] = (close - open_) / size if size > 0.0 else 0.0
        out[1] = (high - top) / size if size > 0.0 else 0.0
        out[2] = (bottom - low) / size if size > 0.0 else 0.0
        out += 3

        cdef double square = span * span
        cdef int64_t[KINDS] new
        new[0] = in_units(change * change, MAX_SQUARE, SQUARE_UNITS)
        new[1] = in_units(square, MAX_SQUARE, SQUARE_UNITS)
        new[2] = in_units(0.5 * square - self.garman_klass * (body * body), MAX_SQUARE, SQUARE_UNITS)
        for i in range(self.n_windows):
            oldest = KINDS * ((self.count + self.depth - self.windows[i]) % self.depth)
            for kind in range(KINDS):
                self.totals[KINDS * i + kind] += new[kind] - self.squares[oldest + kind]
                out[kind] = sqrt(<double>self.totals[KINDS * i + kind] * self.scales[2 * i + (kind == 1)])
            out += KINDS
        for kind in range(KINDS):
            self.squares[KINDS * (self.count % self.depth) + kind] = new[kind]

        cdef double log_volume = log1p(volume)
        units = in_units(log_volume, MAX_LOG_VOLUME, VOLUME_UNITS)
        oldest = self.volumes[self.count % self.volume_window]
        self.volumes[self.count % self.volume_window] = units
        self.volume_sum += units - oldest
        self.volume_squares += units * units - oldest * oldest
        cdef double mean = <double>self.volume_sum / <double>self.volume_window
        cdef double variance = <double>self.volume_squares / <double>self.volume_window - mean * mean
        cdef double angle = <double>((start % DAY_MS + DAY_MS) % DAY_MS) * self.radians
        out[0] = log_volume - self.last_volume
        out[1] = (<double>units - mean) / sqrt(variance) if variance > 1.0 else 0.0
        out[2] = self.sine(angle)
        out[3] = self.cosine(angle)
        out += 4
        self.last_volume = log_volume

        for other in range(self.n_others):
            out = self.returns(self.closes + (1 + other) * self.longest, log(<double>others[other]), out)
        self.count += 1
        if self.count <= self.warmup:
            return None
        if self.scaler != NULL:
            out = <double *>cnp.PyArray_DATA(row)
            for i in range(self.n_columns):
                out[i] = (out[i] - self.scaler[i]) / self.scaler[self.n_columns + i]
        return row

    cdef double *returns(self, double *ring, double log_close, double *out) noexcept:
        """Log returns over all horizons; the close goes into its ring."""
        cdef int i
        ring[self.count % self.longest] = log_close
        for i in range(self.n_horizons):
            out[i] = log_close - ring[(self.count + self.longest - self.horizons[i]) % self.longest]
        return out + self.n_horizons
