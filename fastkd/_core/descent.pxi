# Steps of descent on the rows of a condensed set: as NumPy expressions they would cost more than the gradients of a small network.


cdef void add_up(real *x, real *v, const real *g, int64_t n, real rate, real momentum) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        v[i] = momentum * v[i] + g[i]
        x[i] -= rate * v[i]


cdef int compare_doubles(const void *a, const void *b) noexcept nogil:
    return ((<const double *>a)[0] > (<const double *>b)[0]) - ((<const double *>a)[0] < (<const double *>b)[0])


cdef void cut(real *g, int64_t n, int64_t d, double most, double *length) noexcept nogil:
    """`length` has room for 2 n: lengths, and the same in order."""
    cdef int64_t r, c
    cdef double square, limit
    for r in range(n):
        square = 0
        for c in range(d):
            square += <double>g[r * d + c] * <double>g[r * d + c]
        length[r] = length[n + r] = sqrt(square)
    qsort(length + n, n, sizeof(double), compare_doubles)
    limit = most * (length[n + (n - 1) // 2] + length[n + n // 2]) / 2
    for r in range(n):
        if length[r] > limit:
            for c in range(d):
                g[r * d + c] *= <real>(limit / length[r])


def descend(x, velocity, slope, double rate, double momentum=0.5):
    """velocity = momentum velocity + slope, x -= rate velocity, in place."""
    cdef cnp.ndarray g = real_array(slope, "slope")
    if x is None or velocity is None:
        raise TypeError("x and velocity must be arrays")
    cdef cnp.ndarray a = like(g, x, "x")
    cdef cnp.ndarray v = like(g, velocity, "velocity")
    apart({"slope": g, "x": a, "velocity": v})
    if cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT:
        add_up(<float *>cnp.PyArray_DATA(a), <float *>cnp.PyArray_DATA(v), <float *>cnp.PyArray_DATA(g), cnp.PyArray_SIZE(g), rate, momentum)
    else:
        add_up(<double *>cnp.PyArray_DATA(a), <double *>cnp.PyArray_DATA(v), <double *>cnp.PyArray_DATA(g), cnp.PyArray_SIZE(g), rate, momentum)


def shorten(slope, double most):
    """Rows (n, d) longer than `most` times the median row's length are shortened to that, in place."""
    cdef int kind = cnp.NPY_FLOAT if is_plain(slope, cnp.NPY_FLOAT) else cnp.NPY_DOUBLE
    cdef cnp.ndarray g = require_plain(slope, kind, (None, None), "slope")
    cdef int64_t n = cnp.PyArray_DIMS(g)[0], d = cnp.PyArray_DIMS(g)[1]
    if not cnp.PyArray_ISWRITEABLE(g):
        raise ValueError("slope must be writeable: its rows are shortened in place")
    if n == 0:
        return
    cdef Scratch length = Scratch(2 * n * sizeof(double))
    if kind == cnp.NPY_FLOAT:
        cut(<float *>cnp.PyArray_DATA(g), n, d, most, <double *>length.data)
    else:
        cut(<double *>cnp.PyArray_DATA(g), n, d, most, <double *>length.data)
