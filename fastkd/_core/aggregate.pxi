# Robust aggregation over n rows of one type and length, each contiguous, wherever they lie. Any thread may call these at once.

cdef enum:
    FEW = 32  # rows whose pointers need no memory of their own


cdef object NOTHING = object()
cdef object np_ndarray = np.ndarray


cdef class Rows:
    """A table of pointers to rows: those of a matrix, or arrays of a list. It keeps them alive."""
    cdef object owner
    cdef readonly int64_t n, d
    cdef readonly bint single
    cdef const void **at
    cdef const void *few[FEW]

    def __cinit__(self, rows not None):
        if type(self) is not Rows or not self.fill(rows):
            raise ValueError("rows must be a float32 or float64 matrix with contiguous rows, or a list of plain vectors of one type "
                             "and length")

    def __dealloc__(self):
        if self.at != self.few:
            free(self.at)

    @staticmethod
    def of(rows):
        """The table, or None where a kernel cannot read the rows as they lie."""
        cdef Rows table = Rows.__new__(Rows, NOTHING)
        return table if table.fill(rows) else None

    cdef int room(self, int64_t n) except -1:
        self.n = n
        self.at = self.few
        if n > FEW:
            self.at = <const void **>malloc(n * sizeof(void *))
            if self.at == NULL:
                raise MemoryError(f"could not allocate pointers to {n} rows")
        return 0

    cdef bint fill(self, object rows) except -1:
        cdef cnp.ndarray a
        cdef int64_t i, n
        cdef int dtype
        cdef bint matrix = isinstance(rows, cnp.ndarray)
        if rows is NOTHING:
            return True
        if self.at != NULL or not (type(rows) is np_ndarray or type(rows) is list or type(rows) is tuple):
            return False
        n = cnp.PyArray_DIMS(<cnp.ndarray>rows)[0] if matrix and cnp.PyArray_NDIM(<cnp.ndarray>rows) == 2 else 0 if matrix else len(rows)
        if n == 0 or type(first := rows if matrix else rows[0]) is not np_ndarray:
            return False
        a = <cnp.ndarray>first
        dtype = cnp.PyArray_TYPE(a)
        if dtype != cnp.NPY_FLOAT and dtype != cnp.NPY_DOUBLE or cnp.PyArray_SIZE(a) == 0:
            return False
        self.single = dtype == cnp.NPY_FLOAT
        self.owner = rows
        if matrix:
            self.d = cnp.PyArray_DIMS(a)[1]
            if not cnp.PyArray_ISBEHAVED_RO(a) or (self.d > 1 and cnp.PyArray_STRIDES(a)[1] != (4 if self.single else 8)):
                return False
            self.room(n)
            for i in range(n):
                self.at[i] = <char *>cnp.PyArray_DATA(a) + i * cnp.PyArray_STRIDES(a)[0]
            return True
        self.d = cnp.PyArray_SIZE(a)
        self.room(n)
        for i in range(n):
            row = rows[i]
            if (type(row) is not np_ndarray or not is_plain(row, dtype) or cnp.PyArray_NDIM(<cnp.ndarray>row) != 1
                    or cnp.PyArray_SIZE(<cnp.ndarray>row) != self.d):
                return False
            self.at[i] = cnp.PyArray_DATA(<cnp.ndarray>row)
        if type(rows) is list:
            self.owner = tuple(rows)  # the caller may change its list
        return True

    cdef Rows like(self, int64_t n):
        """A table of this type and length for n pointers, whose rows the owner of this one keeps alive."""
        cdef Rows table = Rows.__new__(Rows, NOTHING)
        table.room(n)
        table.owner, table.d, table.single = self.owner, self.d, self.single
        return table

    def row(self, int64_t i):
        """Row i, read-only, where it lies."""
        cdef cnp.npy_intp d = self.d
        if not 0 <= i < self.n:
            raise IndexError(f"row {i} of {self.n}")
        cdef cnp.ndarray a = <cnp.ndarray>cnp.PyArray_SimpleNewFromData(1, &d, self.dtype(), <void *>self.at[i])
        cnp.set_array_base(a, self)
        cnp.PyArray_CLEARFLAGS(a, cnp.NPY_ARRAY_WRITEABLE)
        return a

    cdef int dtype(self) noexcept:
        return cnp.NPY_FLOAT if self.single else cnp.NPY_DOUBLE

    def new(self):
        """An array for a result, as long as a row and of its type."""
        cdef cnp.npy_intp d = self.d
        return cnp.PyArray_EMPTY(1, &d, self.dtype(), 0)

    def take(self, rows):
        """The table of those rows."""
        cdef list chosen = list(rows)
        cdef Rows table = self.like(len(chosen))
        cdef int64_t i, k = 0
        for i in chosen:
            if not 0 <= i < self.n:
                raise IndexError(f"row {i} of {self.n}")
            table.at[k] = self.at[i]
            k += 1
        return table

    def part(self, int64_t c0, int64_t c1):
        """The table of those columns."""
        cdef Rows table = self.like(self.n)
        cdef int64_t i
        if not 0 <= c0 < c1 <= self.d:
            raise IndexError(f"columns {c0} to {c1} of {self.d}")
        table.d = c1 - c0
        for i in range(self.n):
            table.at[i] = <const char *>self.at[i] + c0 * (4 if self.single else 8)
        return table

    def also(self, row):
        """The table with one more row, an array like the others."""
        cdef Rows table = self.like(self.n + 1)
        memcpy(table.at, self.at, self.n * sizeof(void *))
        table.at[self.n] = self.target(row, 0, self.d)
        table.owner = (self.owner, row)
        return table

    cdef void *target(self, object out, int64_t c0, int64_t c1) except NULL:
        if not (is_plain(out, self.dtype()) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)
                and cnp.PyArray_SIZE(<cnp.ndarray>out) == self.d and 0 <= c0 <= c1 <= self.d):
            raise ValueError("out must be a plain, writeable array as long as the rows, and the columns within it")
        return cnp.PyArray_DATA(<cnp.ndarray>out)

    def not_finite(self):
        """Which rows hold NaN or inf, a list."""
        cdef int64_t i
        cdef list found = []
        cdef int ok
        for i in range(self.n):
            if self.d < NOGIL_FROM:
                ok = fkd.finite(T, self.single, self.at[i], self.d)
            else:
                with nogil:
                    ok = fkd.finite(T, self.single, self.at[i], self.d)
            if not ok:
                found.append(i)
        return found

    def order(self, Sorter by not None, out, int64_t c0, int64_t c1):
        """out[c0:c1] = what `by` wants of the columns. False where rows may hold NaN or inf: out is valid only if they do not."""
        cdef void *to = self.target(out, c0, c1)
        cdef char near[64 * FEW * 8 + 64]
        cdef Scratch far
        cdef void *tile = <void *>((<uintptr_t>near + 63) & ~<uintptr_t>63)
        cdef int finite
        if by.n != self.n:
            raise ValueError(f"a sorter of {by.n} rows for {self.n}")
        if self.n > FEW:
            far = Scratch(64 * self.n * (4 if self.single else 8))
            tile = far.data
        if self.n * (c1 - c0) < 2 * NOGIL_FROM:
            finite = fkd.order(T, self.single, self.at, self.n, c0, c1, &by.how, by.lo, by.hi, by.keep, to, tile)
        else:
            with nogil:
                finite = fkd.order(T, self.single, self.at, self.n, c0, c1, &by.how, by.lo, by.hi, by.keep, to, tile)
        return finite != 0

    def add_sq_distances(self, cnp.ndarray out not None, int64_t first, int64_t step, int kind):
        """out[i, j] += |row i - row j|^2 for i < j and the groups of 4 rows i that fastkd.h gives to worker `first` of `step`.

        Kind 0 is exact; 1 is within 1e-9 of itself; 2 within 1e-5 for float32 rows, 1e-9 for float64.
        """
        cdef double *to = square_matrix(out, self.n, True)
        cdef Scratch memory
        if not 0 <= first < step:
            raise ValueError("first must be among the workers, 0 <= first < step")
        if kind == 1:
            memory = Scratch(fkd.FKD_NEAR * self.n * sizeof(double))
        with nogil:
            if kind == 0:
                fkd.sq_distances(T, self.single, self.at, self.n, self.d, first, step, to)
            elif kind == 1:
                fkd.near_distances(T, self.single, self.at, self.n, self.d, first, step, to, <double *>memory.data)
            else:
                fkd.rough_distances(T, self.single, self.at, self.n, self.d, first, step, to)

    cdef const double *weights(self, object weights) except? NULL:
        if weights is not None and (not is_plain(weights, cnp.NPY_DOUBLE) or cnp.PyArray_SIZE(<cnp.ndarray>weights) != self.n):
            raise ValueError("weights must be float64, one a row")
        if weights is None:
            return NULL
        return <const double *>cnp.PyArray_DATA(<cnp.ndarray>weights)

    def combine(self, weights, out, int64_t c0, int64_t c1):
        """out[c0:c1] = sum_i weights[i] * row i, summed in float64; the mean for None. Whether it is finite."""
        cdef void *to = self.target(out, c0, c1)
        cdef const double *w = self.weights(weights)
        cdef int finite
        if self.n * (c1 - c0) < 2 * NOGIL_FROM:
            finite = fkd.combine(T, self.single, self.at, self.n, w, c0, c1, to)
        else:
            with nogil:
                finite = fkd.combine(T, self.single, self.at, self.n, w, c0, c1, to)
        return finite != 0

    def gap(self, weights, at, double scale, int64_t c0, int64_t c1):
        """Sum over columns c0 .. c1 - 1 of the squares of scale * (at - sum_i weights[i] * row i)."""
        cdef void *to = self.target(at, c0, c1)
        cdef const double *w = self.weights(weights)
        cdef double sum
        with nogil:
            sum = fkd.gap(T, self.single, self.at, self.n, w, c0, c1, to, scale)
        return sum


cdef class Sorter:
    """How columns of n values are sorted, and what is wanted of them; fastkd.h explains runs, pairs and halves."""
    cdef fkd.fkd_sorter how
    cdef readonly int64_t n, lo, hi, keep
    cdef Scratch memory

    def __cinit__(self, int64_t n, list runs not None, list pairs not None, bint halves, int64_t lo, int64_t hi, int64_t keep):
        cdef int64_t k, end
        cdef uint16_t *to
        if not 1 <= n <= 65535:
            raise ValueError(f"order statistics serve at most 65535 clients; got {n}")
        self.memory = Scratch((len(runs) + len(pairs)) * sizeof(uint16_t))
        to = <uint16_t *>self.memory.data
        for k, end in enumerate([*runs, *pairs]):
            if not 0 <= end < n:
                raise ValueError(f"row {end} of {n}")
            to[k] = <uint16_t>end
        self.how.runs, self.how.n_runs = to, len(runs)
        self.how.pairs, self.how.n_pairs = to + len(runs), len(pairs) // 2
        self.how.halves, self.how.integers = halves, fkd.fkd_integers_first()
        self.n, self.lo, self.hi, self.keep = n, lo, hi, keep
        if not (0 <= lo < hi <= n and 0 <= keep <= n) or (halves and (keep != 0 or lo + hi != n)):
            raise ValueError("ranks must be among the rows, and in the middle for halves")
        if len(runs) == 0 or to[0] != 0:
            raise ValueError("runs must begin at 0")
        for k in range(self.how.n_runs):
            end = to[k + 1] if k + 1 < self.how.n_runs else n
            if not 1 <= end - to[k] <= 32:
                raise ValueError("runs must have 1 to 32 rows each")


cdef double *square_matrix(object D, int64_t n, bint written) except NULL:
    if (not is_plain(D, cnp.NPY_DOUBLE) or cnp.PyArray_NDIM(<cnp.ndarray>D) != 2 or cnp.PyArray_DIMS(<cnp.ndarray>D)[0] != n
            or cnp.PyArray_DIMS(<cnp.ndarray>D)[1] != n or n == 0 or (written and not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>D))):
        raise ValueError("distances must be a plain float64 array (n, n), writeable where they are written")
    return <double *>cnp.PyArray_DATA(<cnp.ndarray>D)


def mirror(cnp.ndarray D not None):
    """Copies what is above the diagonal of a float64 matrix below it; returns the largest entry there, inf for a NaN."""
    cdef int64_t n = len(D), i, j
    cdef double *x = square_matrix(D, n, True)
    cdef double top = 0
    for i in range(n):
        for j in range(i + 1, n):
            x[j * n + i] = x[i * n + j]
            if not x[i * n + j] <= top:
                top = x[i * n + j] if x[i * n + j] > top else INFINITY
    return top


def krum_choice(cnp.ndarray D not None, int64_t neighbors, int64_t m, double slack, double tiny):
    """(Krum scores, positions of the m lowest or None where errors of slack * score + tiny leave them open). D is symmetric, n <= 64."""
    cdef int64_t n = len(D), i, j, k
    cdef const double *x = square_matrix(D, n, False)
    cdef double row[64]
    cdef double sum, high
    if n > 64 or not 0 <= neighbors < n or not 1 <= m <= n:
        raise ValueError("n must be at most 64, with fewer neighbors than rows, and m from 1 to n")
    cdef cnp.npy_intp length = n
    cdef cnp.ndarray scores = <cnp.ndarray>cnp.PyArray_EMPTY(1, &length, cnp.NPY_DOUBLE, 0)
    cdef double *s = <double *>cnp.PyArray_DATA(scores)
    for i in range(n):
        ascending(x + i * n, n, row)
        sum = 0
        for j in range(neighbors + 1):  # the 0 of a row to itself adds nothing
            sum += row[j]
        s[i] = sum
    ascending(s, n, row)
    high = row[m - 1] + (slack * row[m - 1] + tiny)
    length = m
    cdef cnp.ndarray chosen = <cnp.ndarray>cnp.PyArray_EMPTY(1, &length, cnp.NPY_INT64, 0)
    cdef int64_t *to = <int64_t *>cnp.PyArray_DATA(chosen)
    k = 0
    for i in range(n):
        if s[i] - (slack * s[i] + tiny) <= high:
            if k < m:
                to[k] = i
            k += 1
    return scores, chosen if k == m else None


def bulyan_choice(cnp.ndarray D not None, int64_t f, double slack):
    """The n - 2f rows that Krum takes one after the other from those that are left, in that order, by symmetric distances D.

    None where errors of slack times a distance leave a choice open; with slack 0 the lower of equals is taken. With L rows left
    a score is the sum of the max(L - f - 2, 1) smallest distances to them. When a row goes, so does one neighbor of every
    score: that row where it was one, else the farthest. So scores are kept by subtraction, and only those within its rounding
    errors of the lowest are summed afresh.
    """
    cdef int64_t n = len(D)
    cdef const double *x = square_matrix(D, n, False)
    if not 0 <= 2 * f < n:
        raise ValueError(f"f must be >= 0 and less than n / 2; got n={n}, f={f}")
    cdef cnp.ndarray places = <cnp.ndarray>np.argsort(D, axis=1, kind="stable").astype(np.int64, copy=False)
    cdef const int64_t *by = <const int64_t *>cnp.PyArray_DATA(places)
    cdef Scratch memory = Scratch(n * (2 * sizeof(double) + sizeof(int64_t) + 1))
    cdef double *score = <double *>memory.data
    cdef double *initial = score + n  # what errors are a share of
    cdef int64_t *far = <int64_t *>(initial + n)  # place of the farthest neighbor
    cdef char *gone = <char *>(far + n)
    cdef list chosen = []
    cdef int64_t i, k, best, second, close, neighbors, left = n
    cdef double rounding = 8 * n * 2.220446049250313e-16, high, error
    memset(gone, 0, n)
    for i in range(n):
        fresh_score(x + i * n, by + i * n, gone, i, n, max(n - f - 2, 1), score + i, initial + i, far + i)
    while left > 2 * f:
        neighbors = max(left - f - 2, 1)
        high = INFINITY
        for i in range(n):
            error = rounding * initial[i] + slack * score[i]
            if not gone[i] and score[i] + error < high:
                high = score[i] + error
        best, second, close = -1, -1, 0
        for i in range(n):
            error = rounding * initial[i] + slack * score[i]
            if gone[i] or (score[i] - error > high and score[i] < INFINITY) or (score[i] == INFINITY and high < INFINITY):
                continue
            close += 1
            if slack == 0:
                fresh_score(x + i * n, by + i * n, gone, i, n, neighbors, score + i, initial + i, far + i)
            if best < 0 or score[i] < score[best]:
                best, second = i, best
            else:
                second = i
        # two rows that are each other's only neighbor have the same score, whatever its error
        if slack > 0 and close > 1:
            if (close > 2 or neighbors > 1 or by[best * n + far[best]] != second
                    or by[second * n + far[second]] != best):
                return None
            best = min(best, second)
        chosen.append(best)
        gone[best] = 1
        left -= 1
        for i in range(n):
            if gone[i]:
                continue
            if left - f - 2 >= 1:
                k = by[i * n + far[i]]
                if x[i * n + best] < x[i * n + k] or (x[i * n + best] == x[i * n + k] and best <= k):
                    k = best  # it was a neighbor
                score[i] -= x[i * n + k]
                if score[i] - score[i] == 0:
                    while far[i] > 0 and (gone[by[i * n + far[i]]] or by[i * n + far[i]] == k or by[i * n + far[i]] == i):
                        far[i] -= 1
                    continue
            fresh_score(x + i * n, by + i * n, gone, i, n, max(left - f - 2, 1), score + i, initial + i, far + i)
    return np.array(chosen, np.int64)


cdef void fresh_score(const double *row, const int64_t *by, const char *gone, int64_t i, int64_t n, int64_t neighbors, double *score,
                      double *initial, int64_t *far) noexcept nogil:
    """Sum of row i's smallest distances to others that are left, and the place of the last one in their order."""
    cdef int64_t j, k = 0
    score[0] = 0
    for j in range(n):
        if by[j] != i and not gone[by[j]]:
            score[0] += row[by[j]]
            far[0] = j
            k += 1
            if k == neighbors:
                break
    initial[0] = score[0] if score[0] < INFINITY else 0


cdef void ascending(const double *x, int64_t n, double *to) noexcept nogil:
    """Sorted as they come: for up to 64 sooner than any other way."""
    cdef int64_t j, k
    cdef double v
    for j in range(n):
        v = x[j]
        k = j
        while k > 0 and to[k - 1] > v:
            to[k] = to[k - 1]
            k -= 1
        to[k] = v
