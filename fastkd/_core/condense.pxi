# Gradients of gradients of perceptrons: the R operator and gradient matching.

cdef dict DISTANCES = {"rowwise": fkd.FKD_ROWWISE, "global": fkd.FKD_GLOBAL, "mse": fkd.FKD_MSE}


cdef int differentiable(Targets t) except -1:
    """Only the cross-entropy with labels or soft labels, and the squared loss, have their second derivatives here."""
    cdef bint plain = t.f64.how.teacher == fkd.FKD_NO_TEACHER and t.f64.how.kd_weight == 0
    if t.f64.kind == fkd.FKD_QUANTILE or t.f64.how.label_smoothing != 0 or t.f64.how.temperature != 1:
        raise ValueError("the R operator knows the cross-entropy and the squared loss: no quantile, smoothing or temperature")
    if not plain and not (t.f64.how.teacher == fkd.FKD_PROBABILITIES and t.keep[0] is None):
        raise ValueError("the R operator takes labels or soft labels, not logits and not both")
    return 0


def r_operator(MLPKernel net not None, params, v, X, Targets targets not None, *, bint want_grad=True, bint want_hv=True,
               bint want_x=True, bint want_y=False):
    """(mean loss, grad, its derivative along v, d<v, grad>/dX, d<v, grad>/dY); None for what is not wanted. fastkd.h: rop."""
    cdef int64_t n = targets.n_rows
    cdef cnp.ndarray p = require_plain(params, net.typenum, (net.n_parameters,), "params")
    cdef cnp.ndarray d = require_plain(v, net.typenum, (net.n_parameters,), "v")
    cdef cnp.ndarray x = require_plain(X, net.typenum, (n, net.net.sizes[0]), "X")
    targets.fits(net)
    differentiable(targets)
    if n == 0:
        raise ValueError("the R operator needs at least one row")
    cdef bint single = net.typenum == cnp.NPY_FLOAT
    grad = np.empty_like(p) if want_grad else None
    hv = np.empty_like(p) if want_hv else None
    dX = np.empty_like(x) if want_x else None
    dY = np.empty((n, net.net.sizes[net.net.layers]), net.dtype) if want_y else None
    cdef Scratch work = Scratch((4 if single else 8) * <size_t>(T.f32.rop_scratch(&net.net, n) if single else T.f64.rop_scratch(&net.net, n)))
    cdef void *pp = cnp.PyArray_DATA(p)
    cdef void *pv = cnp.PyArray_DATA(d)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pg = data_or_null(grad)
    cdef void *ph = data_or_null(hv)
    cdef void *pdx = data_or_null(dX)
    cdef void *pdy = data_or_null(dY)
    cdef double loss
    with nogil:
        if single:
            loss = T.f32.rop(&net.net, <float *>pp, <float *>pv, <float *>px, &targets.f32, n, <float *>pg, <float *>ph, <float *>pdx,
                             <float *>pdy, <float *>work.data)
        else:
            loss = T.f64.rop(&net.net, <double *>pp, <double *>pv, <double *>px, &targets.f64, n, <double *>pg, <double *>ph,
                             <double *>pdx, <double *>pdy, <double *>work.data)
    return loss, grad, hv, dX, dY


def gradient_match(MLPKernel net not None, params, reals, X, Targets targets not None, starts, str distance, *, bint want_y=False):
    """(distance of the gradients of the groups of rows from `reals`, its derivatives dX and dY or None). fastkd.h: gradient_match."""
    cdef int64_t n = targets.n_rows, groups, g, most = 0
    cdef cnp.ndarray p = require_plain(params, net.typenum, (net.n_parameters,), "params")
    cdef cnp.ndarray s = require_plain(starts, cnp.NPY_INT64, (None,), "starts")
    cdef cnp.ndarray x = require_plain(X, net.typenum, (n, net.net.sizes[0]), "X")
    cdef const int64_t *at = <const int64_t *>cnp.PyArray_DATA(s)
    groups = cnp.PyArray_SIZE(s) - 1
    cdef cnp.ndarray r = require_plain(reals, net.typenum, (groups, net.n_parameters), "reals")
    targets.fits(net)
    differentiable(targets)
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}; got {distance!r}")
    if groups < 1 or at[0] != 0 or at[groups] != n:
        raise ValueError(f"starts must lead from 0 to {n} rows; got {starts}")
    for g in range(groups):
        if at[g + 1] <= at[g]:
            raise ValueError(f"every group needs rows; got starts {starts}")
        most = max(most, at[g + 1] - at[g])
    cdef bint single = net.typenum == cnp.NPY_FLOAT
    cdef int kind = DISTANCES[distance]
    dX = np.empty_like(x)
    dY = np.empty((n, net.net.sizes[net.net.layers]), net.dtype) if want_y else None
    cdef Scratch work = Scratch((4 if single else 8) * <size_t>(T.f32.rop_scratch(&net.net, most) if single else T.f64.rop_scratch(&net.net, most)))
    cdef void *pp = cnp.PyArray_DATA(p)
    cdef void *pr = cnp.PyArray_DATA(r)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pdx = data_or_null(dX)
    cdef void *pdy = data_or_null(dY)
    cdef double value
    with nogil:
        if single:
            value = T.f32.gradient_match(&net.net, <float *>pp, <float *>pr, <float *>px, &targets.f32, at, groups, kind, <float *>pdx,
                                         <float *>pdy, <float *>work.data)
        else:
            value = T.f64.gradient_match(&net.net, <double *>pp, <double *>pr, <double *>px, &targets.f64, at, groups, kind,
                                         <double *>pdx, <double *>pdy, <double *>work.data)
    return value, dX, dY
