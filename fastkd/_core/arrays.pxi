# Arrays and scratch, without buffer or memoryview objects: those cost more than a small kernel.

# below this many numbers a kernel is over sooner than the GIL is released and taken again
cdef int64_t NOGIL_FROM = 4096


ctypedef fused real:
    float
    double


cdef inline bint is_plain(object x, int dtype) noexcept:
    """An aligned, native, C-contiguous ndarray of that type number. Not a subclass: some have masks, or methods of their own."""
    return cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == dtype and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x)


cdef inline cnp.ndarray real_array(object x, str name):
    """x itself if it is a plain float32 or float64 array, else a converted copy."""
    if is_plain(x, cnp.NPY_FLOAT) or is_plain(x, cnp.NPY_DOUBLE):
        return <cnp.ndarray>x
    return <cnp.ndarray>_check.as_real(x, name)


cdef cnp.ndarray target(object out, int ndim, const cnp.npy_intp *dims, int dtype, str name):
    """A new array, or `out` checked to be one that a kernel can write."""
    cdef int i
    cdef bint ok = isinstance(out, cnp.ndarray)
    if out is None:
        return <cnp.ndarray>cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *>dims, dtype, 0)
    ok = (ok and cnp.PyArray_TYPE(<cnp.ndarray>out) == dtype and cnp.PyArray_ISCARRAY(<cnp.ndarray>out)
          and cnp.PyArray_NDIM(<cnp.ndarray>out) == ndim
          and (cnp.PyArray_CheckExact(out) or not isinstance(out, np.ma.MaskedArray)))
    if ok:
        for i in range(ndim):
            ok &= cnp.PyArray_DIMS(<cnp.ndarray>out)[i] == dims[i]
    if not ok:
        _check.raise_out(out, tuple(dims[i] for i in range(ndim)), cnp.PyArray_DescrFromType(dtype), name)
    return <cnp.ndarray>out


cdef inline cnp.ndarray like(cnp.ndarray x, object out, str name):
    """A new array of x's shape and type, or `out` checked to be one: x itself, or one that shares no memory with it."""
    cdef cnp.ndarray y = target(out, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), name)
    if overlap(x, y) and cnp.PyArray_DATA(x) != cnp.PyArray_DATA(y):
        raise ValueError(f"{name} overlaps the input in memory: give another array, or the input itself")
    return y


cdef inline bint overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether plain arrays share memory."""
    cdef char *p = <char *>cnp.PyArray_DATA(a)
    cdef char *q = <char *>cnp.PyArray_DATA(b)
    return p < q + cnp.PyArray_NBYTES(b) and q < p + cnp.PyArray_NBYTES(a) and cnp.PyArray_SIZE(a) > 0 and cnp.PyArray_SIZE(b) > 0


cdef int apart(dict arrays) except -1:
    """No two of the named arrays share memory."""
    cdef list names = list(arrays)
    cdef int i, j
    for i in range(len(names)):
        for j in range(i):
            if overlap(<cnp.ndarray>arrays[names[i]], <cnp.ndarray>arrays[names[j]]):
                raise ValueError(f"{names[i]} overlaps {names[j]} in memory: give another array")
    return 0


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
        if n_bytes > <size_t>1 << 62:
            raise MemoryError(f"could not allocate {n_bytes} bytes of scratch")
        self.base = malloc(n_bytes + 64)
        if self.base == NULL:
            raise MemoryError(f"could not allocate {n_bytes} bytes of scratch")
        self.data = <void *>((<uintptr_t>self.base + 63) & ~<uintptr_t>63)

    def __dealloc__(self):
        free(self.base)


cdef inline size_t real_size(bint single) noexcept nogil:
    return 4 if single else 8


cdef int64_t checked_total(object n, str what) except -1:
    """A number of reals, a Python int of any size; more than 2^40 fit in no memory, and products of sizes would overflow."""
    if n > 1 << 40:
        raise ValueError(f"{what} of {n} numbers: more than 2^40 are not supported")
    return n


cdef cnp.ndarray int32_labels(object labels, int64_t n, int64_t n_classes, bint unlabelled):
    """A copy of the labels as int32, n entries in range, -1 allowed only where `unlabelled`."""
    cdef cnp.ndarray a, out
    cdef cnp.npy_intp length = n
    cdef int64_t i, low = -1 if unlabelled else 0, cut = 0
    cdef uint32_t outside = 0, span
    cdef const int64_t *wide
    cdef const int32_t *narrow
    cdef int32_t *to
    if not (is_plain(labels, cnp.NPY_INT64) or is_plain(labels, cnp.NPY_INT32)):
        labels = _check.as_labels(labels)
    a = <cnp.ndarray>labels
    if cnp.PyArray_NDIM(a) != 1 or cnp.PyArray_SIZE(a) != n:
        raise ValueError(f"labels must have one entry a row, shape ({n},); got shape {labels.shape}")
    if n_classes > 1 << 31:
        raise ValueError(f"at most 2^31 classes are supported; got {n_classes}")
    span = <uint32_t>(n_classes - low)
    out = <cnp.ndarray>cnp.PyArray_EMPTY(1, &length, cnp.NPY_INT32, 0)
    to = <int32_t *>cnp.PyArray_DATA(out)
    if cnp.PyArray_TYPE(a) == cnp.NPY_INT32:
        narrow = <const int32_t *>cnp.PyArray_DATA(a)
        for i in range(n):
            to[i] = narrow[i]
    else:
        wide = <const int64_t *>cnp.PyArray_DATA(a)
        for i in range(n):
            to[i] = <int32_t>wide[i]
            cut |= wide[i] ^ to[i]  # what does not fit
    for i in range(n):
        outside |= <uint32_t>to[i] - <uint32_t>low >= span
    if outside or cut:
        _check.raise_label_range(np.array(labels), n_classes, unlabelled)
    return out
