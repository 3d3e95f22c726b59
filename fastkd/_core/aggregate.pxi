# Robust aggregation over n rows that are separate one-dimensional arrays of one type and length. Any thread may call these at once.


cdef class Rows:
    """A table of pointers to rows, which it keeps alive."""
    cdef readonly list arrays
    cdef readonly int64_t n, d
    cdef readonly bint single
    cdef Scratch table

    def __cinit__(self, list arrays not None):
        cdef int64_t i
        cdef int dtype
        self.n = len(arrays)
        if self.n == 0 or not isinstance(arrays[0], cnp.ndarray):
            raise ValueError("rows must be a list of at least one array")
        dtype = cnp.PyArray_TYPE(<cnp.ndarray>arrays[0])
        self.d = cnp.PyArray_SIZE(<cnp.ndarray>arrays[0])
        if dtype != cnp.NPY_FLOAT and dtype != cnp.NPY_DOUBLE:
            raise TypeError("rows must be float32 or float64")
        self.single = dtype == cnp.NPY_FLOAT
        self.arrays = arrays
        self.table = Scratch(self.n * sizeof(void *))
        for i in range(self.n):
            row = arrays[i]
            if not is_plain(row, dtype) or cnp.PyArray_SIZE(<cnp.ndarray>row) != self.d:
                raise ValueError("rows must be plain arrays of one type and length")
            (<void **>self.table.data)[i] = cnp.PyArray_DATA(<cnp.ndarray>row)

    cdef void *target(self, object out, int64_t c0, int64_t c1) except NULL:
        if not (is_plain(out, cnp.NPY_FLOAT if self.single else cnp.NPY_DOUBLE) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)
                and cnp.PyArray_SIZE(<cnp.ndarray>out) == self.d and 0 <= c0 <= c1 <= self.d):
            raise ValueError("out must be a plain, writeable array as long as the rows, and the columns within it")
        return cnp.PyArray_DATA(<cnp.ndarray>out)

    def not_finite(self):
        """Which rows hold NaN or inf, a list."""
        cdef const void **rows = <const void **>self.table.data
        cdef int64_t i
        cdef list found = []
        cdef int ok
        for i in range(self.n):
            if self.d < NOGIL_FROM:
                ok = T.f32.finite(<const float *>rows[i], self.d) if self.single else T.f64.finite(<const double *>rows[i], self.d)
            else:
                with nogil:
                    ok = T.f32.finite(<const float *>rows[i], self.d) if self.single else T.f64.finite(<const double *>rows[i], self.d)
            if not ok:
                found.append(i)
        return found

    def order(self, cnp.ndarray runs not None, cnp.ndarray pairs not None, bint halves, int64_t lo, int64_t hi, int64_t keep, out,
              int64_t c0, int64_t c1):
        """out[c0:c1] = mean of ranks lo .. hi - 1 of the columns, or of the `keep` values nearest to their medians.

        False where the rows may hold NaN or inf: out is valid only if they do not. fastkd.h says what sorts the columns.
        """
        cdef void *to = self.target(out, c0, c1)
        cdef fkd.fkd_sorter how
        cdef Scratch tile = Scratch(64 * self.n * (4 if self.single else 8))
        cdef int64_t k, end
        cdef int finite
        if (not is_plain(runs, cnp.NPY_UINT16) or not is_plain(pairs, cnp.NPY_UINT16) or not 0 <= lo < hi <= self.n
                or not 0 <= keep <= self.n or (halves and (keep != 0 or lo + hi != self.n))):
            raise ValueError("runs and pairs must be uint16, and the ranks among the rows, in the middle for halves")
        how.runs, how.n_runs = <const uint16_t *>cnp.PyArray_DATA(runs), cnp.PyArray_SIZE(runs)
        how.pairs, how.n_pairs = <const uint16_t *>cnp.PyArray_DATA(pairs), cnp.PyArray_SIZE(pairs) // 2
        how.halves = halves
        for k in range(how.n_runs):
            end = how.runs[k + 1] if k + 1 < how.n_runs else self.n
            if not 1 <= end - how.runs[k] <= 32 or (k == 0 and how.runs[0] != 0):
                raise ValueError("runs must begin at 0 and have 1 to 32 rows each")
        with nogil:
            if self.single:
                finite = T.f32.order(<const float **>self.table.data, self.n, c0, c1, &how, lo, hi, keep, <float *>to, <float *>tile.data)
            else:
                finite = T.f64.order(<const double **>self.table.data, self.n, c0, c1, &how, lo, hi, keep, <double *>to,
                                     <double *>tile.data)
        return bool(finite)

    def add_sq_distances(self, cnp.ndarray out not None, int64_t first, int64_t step, bint rough=False):
        """out[i, j] += |row i - row j|^2 for i < j and every step-th group of 4 rows i from group `first` on.

        Rough ones are within 1e-5 of themselves for float32 rows, 1e-9 for float64.
        """
        if not is_plain(out, cnp.NPY_DOUBLE) or cnp.PyArray_SIZE(out) != self.n * self.n or first < 0 or step < 1:
            raise ValueError("out must be a float64 array (n, n), first >= 0 and step >= 1")
        cdef double *to = <double *>cnp.PyArray_DATA(out)
        with nogil:
            if self.single and rough:
                T.f32.rough_distances(<const float **>self.table.data, self.n, self.d, first, step, to)
            elif rough:
                T.f64.rough_distances(<const double **>self.table.data, self.n, self.d, first, step, to)
            elif self.single:
                T.f32.sq_distances(<const float **>self.table.data, self.n, self.d, first, step, to)
            else:
                T.f64.sq_distances(<const double **>self.table.data, self.n, self.d, first, step, to)

    def combine(self, cnp.ndarray weights not None, out, int64_t c0, int64_t c1):
        """out[c0:c1] = sum_i weights[i] * row i, summed in float64."""
        cdef void *to = self.target(out, c0, c1)
        if not is_plain(weights, cnp.NPY_DOUBLE) or cnp.PyArray_SIZE(weights) != self.n:
            raise ValueError("weights must be float64, one a row")
        cdef const double *w = <const double *>cnp.PyArray_DATA(weights)
        with nogil:
            if self.single:
                T.f32.combine(<const float **>self.table.data, self.n, w, c0, c1, <float *>to)
            else:
                T.f64.combine(<const double **>self.table.data, self.n, w, c0, c1, <double *>to)

    def gap(self, cnp.ndarray weights not None, at, double scale, int64_t c0, int64_t c1):
        """Sum over columns c0 .. c1 - 1 of the squares of scale * (at - sum_i weights[i] * row i)."""
        cdef void *to = self.target(at, c0, c1)
        cdef double sum
        if not is_plain(weights, cnp.NPY_DOUBLE) or cnp.PyArray_SIZE(weights) != self.n:
            raise ValueError("weights must be float64, one a row")
        cdef const double *w = <const double *>cnp.PyArray_DATA(weights)
        with nogil:
            if self.single:
                sum = T.f32.gap(<const float **>self.table.data, self.n, w, c0, c1, <const float *>to, scale)
            else:
                sum = T.f64.gap(<const double **>self.table.data, self.n, w, c0, c1, <const double *>to, scale)
        return sum


def alike(rows):
    """Whether a list or tuple holds plain vectors of one type, float32 or float64, and one length."""
    cdef int dtype
    if not (type(rows) is list or type(rows) is tuple) or len(rows) == 0 or not isinstance(rows[0], cnp.ndarray):
        return False
    dtype = cnp.PyArray_TYPE(<cnp.ndarray>rows[0])
    if (dtype != cnp.NPY_FLOAT and dtype != cnp.NPY_DOUBLE) or cnp.PyArray_SIZE(<cnp.ndarray>rows[0]) == 0:
        return False
    for row in rows:
        if (not is_plain(row, dtype) or cnp.PyArray_NDIM(<cnp.ndarray>row) != 1
                or cnp.PyArray_SIZE(<cnp.ndarray>row) != cnp.PyArray_SIZE(<cnp.ndarray>rows[0])):
            return False
    return True


def mirror(cnp.ndarray D not None):
    """Copies what is above the diagonal of a float64 matrix below it; returns the largest entry there, inf for a NaN."""
    cdef int64_t n = cnp.PyArray_DIMS(D)[0], i, j
    cdef double *x = <double *>cnp.PyArray_DATA(D)
    cdef double top = 0
    if not is_plain(D, cnp.NPY_DOUBLE) or cnp.PyArray_SIZE(D) != n * n:
        raise ValueError("D must be a float64 array (n, n)")
    for i in range(n):
        for j in range(i + 1, n):
            x[j * n + i] = x[i * n + j]
            if not x[i * n + j] <= top:
                top = x[i * n + j] if x[i * n + j] > top else INFINITY
    return top


def krum_choice(cnp.ndarray D not None, int64_t neighbors, int64_t m, double slack, double tiny):
    """(Krum scores, positions of the m lowest or None where errors of slack * score + tiny leave them open). D is symmetric, n <= 64."""
    cdef int64_t n = cnp.PyArray_DIMS(D)[0], i, j, k
    cdef const double *x = <const double *>cnp.PyArray_DATA(D)
    cdef double row[64]
    cdef double sum, high
    if not is_plain(D, cnp.NPY_DOUBLE) or cnp.PyArray_SIZE(D) != n * n or n > 64 or not 0 <= neighbors < n or not 1 <= m <= n:
        raise ValueError("D must be a float64 array (n, n), n <= 64, with fewer neighbors than rows, and m from 1 to n")
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
