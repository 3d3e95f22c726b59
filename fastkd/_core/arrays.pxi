# Arrays and scratch, without buffer or memoryview objects: those cost more than a small kernel.

# below this many numbers a kernel is over sooner than the GIL is released and taken again
cdef int64_t NOGIL_FROM = 4096


cdef inline bint is_plain(object x, int dtype) noexcept:
    """An aligned, native, C-contiguous ndarray of that type number."""
    return (isinstance(x, cnp.ndarray) and cnp.PyArray_TYPE(<cnp.ndarray>x) == dtype
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x))


cdef inline cnp.ndarray real_array(object x, str name):
    """x itself if it is a plain float32 or float64 array, else a converted copy."""
    if is_plain(x, cnp.NPY_FLOAT) or is_plain(x, cnp.NPY_DOUBLE):
        return <cnp.ndarray>x
    return <cnp.ndarray>_check.as_real(x, name)


cdef inline cnp.ndarray like(cnp.ndarray x, object out, str name):
    """A new array of x's shape and type, or `out` checked to be one."""
    if out is None:
        return <cnp.ndarray>cnp.PyArray_EMPTY(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)
    if not (is_plain(out, cnp.PyArray_TYPE(x)) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out) and same_shape(x, <cnp.ndarray>out)):
        _check.require_out(out, (<object>x).shape, (<object>x).dtype, name)
    if overlap(x, <cnp.ndarray>out):
        raise ValueError(f"{name} overlaps the input in memory: give another array, or the input itself")
    return <cnp.ndarray>out


cdef inline bint overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether plain arrays share memory without being the same."""
    cdef char *p = <char *>cnp.PyArray_DATA(a)
    cdef char *q = <char *>cnp.PyArray_DATA(b)
    return p != q and p < q + cnp.PyArray_NBYTES(b) and q < p + cnp.PyArray_NBYTES(a)


cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int i
    if cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b):
        return False
    for i in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIMS(a)[i] != cnp.PyArray_DIMS(b)[i]:
            return False
    return True


cdef class Scratch:
    """64-byte aligned memory of the caller's, freed with the object."""
    cdef void *base
    cdef void *data

    def __cinit__(self, size_t n_bytes):
        self.base = malloc(n_bytes + 64)
        if self.base == NULL:
            raise MemoryError(f"could not allocate {n_bytes} bytes of scratch")
        self.data = <void *>((<uintptr_t>self.base + 63) & ~<uintptr_t>63)

    def __dealloc__(self):
        free(self.base)


cdef object int32_labels(object labels, int64_t n, int64_t n_classes, bint unlabelled):
    """Labels as an int32 array of n entries in range, -1 allowed only where `unlabelled`."""
    cdef cnp.ndarray a
    cdef int64_t i, v, low = -1 if unlabelled else 0
    cdef const int64_t *wide
    cdef const int32_t *narrow
    cdef int32_t *to
    cdef bint ok = True
    if not (is_plain(labels, cnp.NPY_INT64) or is_plain(labels, cnp.NPY_INT32)):
        labels = _check.as_labels(labels)
    a = <cnp.ndarray>labels
    if cnp.PyArray_NDIM(a) != 1 or cnp.PyArray_SIZE(a) != n:
        raise ValueError(f"labels must have one entry a row, shape ({n},); got shape {labels.shape}")
    if cnp.PyArray_TYPE(a) == cnp.NPY_INT32:
        narrow = <const int32_t *>cnp.PyArray_DATA(a)
        for i in range(n):
            ok &= (narrow[i] >= low) & (narrow[i] < n_classes)
        out = labels
    else:
        out = np.empty(n, np.int32)
        to = <int32_t *>cnp.PyArray_DATA(<cnp.ndarray>out)
        wide = <const int64_t *>cnp.PyArray_DATA(a)
        for i in range(n):
            v = wide[i]
            ok &= (v >= low) & (v < n_classes)
            to[i] = <int32_t>v
    if not ok:
        _check.raise_label_range(labels, n_classes, unlabelled)
    return out
