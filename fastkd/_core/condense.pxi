# Kernels of condensation: the R operator, matching of gradients and of features, kernel ridge regression.

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


cdef int64_t check_starts(object starts, int64_t n, str name) except -1:
    """Rows of the largest group; group g has the rows starts[g] .. starts[g + 1] - 1 of n."""
    cdef cnp.ndarray s = require_plain(starts, cnp.NPY_INT64, (None,), name)
    cdef const int64_t *at = <const int64_t *>cnp.PyArray_DATA(s)
    cdef int64_t g, most = 0, groups = cnp.PyArray_SIZE(s) - 1
    if groups < 1 or at[0] != 0 or at[groups] != n:
        raise ValueError(f"{name} must lead from 0 to {n} rows; got {starts}")
    for g in range(groups):
        if at[g + 1] <= at[g]:
            raise ValueError(f"every group needs rows; got {name} {starts}")
        most = max(most, at[g + 1] - at[g])
    return most


def gradient_match(MLPKernel net not None, params, reals, X, Targets targets not None, starts, str distance, *, bint want_y=False):
    """(distance of the gradients of the groups of rows from `reals`, its derivatives dX and dY or None). fastkd.h: gradient_match."""
    cdef int64_t n = targets.n_rows, most = check_starts(starts, n, "starts"), groups = cnp.PyArray_SIZE(<cnp.ndarray>starts) - 1
    cdef cnp.ndarray p = require_plain(params, net.typenum, (net.n_parameters,), "params")
    cdef cnp.ndarray x = require_plain(X, net.typenum, (n, net.net.sizes[0]), "X")
    cdef cnp.ndarray r = require_plain(reals, net.typenum, (groups, net.n_parameters), "reals")
    targets.fits(net)
    differentiable(targets)
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}; got {distance!r}")
    cdef bint single = net.typenum == cnp.NPY_FLOAT
    cdef int kind = DISTANCES[distance]
    cdef cnp.ndarray dX = like(x, None, "")
    dY = np.empty((n, net.net.sizes[net.net.layers]), net.dtype) if want_y else None
    cdef Scratch work = Scratch((4 if single else 8) * <size_t>(T.f32.rop_scratch(&net.net, most) if single else T.f64.rop_scratch(&net.net, most)))
    cdef const int64_t *at = <const int64_t *>cnp.PyArray_DATA(<cnp.ndarray>starts)
    cdef void *pp = cnp.PyArray_DATA(p)
    cdef void *pr = cnp.PyArray_DATA(r)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pdx = cnp.PyArray_DATA(dX)
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


def feature_match(MLPKernel net not None, params, reals, real_starts, X, starts, bint all_layers=False):
    """(squared distances of the groups' mean features from those of the real rows, summed, and dX). fastkd.h: feature_match."""
    cdef cnp.ndarray p = require_plain(params, net.typenum, (net.n_parameters,), "params")
    cdef cnp.ndarray r = require_plain(reals, net.typenum, (None, net.net.sizes[0]), "reals")
    cdef cnp.ndarray x = require_plain(X, net.typenum, (None, net.net.sizes[0]), "X")
    check_starts(starts, cnp.PyArray_DIMS(x)[0], "starts")
    check_starts(real_starts, cnp.PyArray_DIMS(r)[0], "real_starts")
    cdef int64_t groups = cnp.PyArray_SIZE(<cnp.ndarray>starts) - 1
    if cnp.PyArray_SIZE(<cnp.ndarray>real_starts) - 1 != groups:
        raise ValueError(f"starts and real_starts must name as many groups; got {starts} and {real_starts}")
    cdef bint single = net.typenum == cnp.NPY_FLOAT
    cdef cnp.ndarray dX = like(x, None, "")
    cdef Scratch work = Scratch((4 if single else 8) * <size_t>(T.f32.features_scratch(&net.net) if single else T.f64.features_scratch(&net.net)))
    cdef const int64_t *at = <const int64_t *>cnp.PyArray_DATA(<cnp.ndarray>starts)
    cdef const int64_t *at_real = <const int64_t *>cnp.PyArray_DATA(<cnp.ndarray>real_starts)
    cdef void *pp = cnp.PyArray_DATA(p)
    cdef void *pr = cnp.PyArray_DATA(r)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pdx = cnp.PyArray_DATA(dX)
    cdef double value
    with nogil:
        if single:
            value = T.f32.feature_match(&net.net, <float *>pp, <float *>pr, at_real, <float *>px, at, groups, all_layers, <float *>pdx,
                                        <float *>work.data)
        else:
            value = T.f64.feature_match(&net.net, <double *>pp, <double *>pr, at_real, <double *>px, at, groups, all_layers, <double *>pdx,
                                        <double *>work.data)
    return value, dX


def ridge_slopes(S, a, X, target, *, int depth, double gamma, double weight_variance, double bias_variance):
    """(loss, da, dS) of kernel ridge regression with support S and dual weights a; all arrays of one type. fastkd.h: ridge."""
    cdef fkd.fkd_kernel how
    how.depth, how.gamma, how.weight_variance, how.bias_variance = depth, gamma, weight_variance, bias_variance
    if not 0 <= depth <= fkd.FKD_MAX_LAYERS:
        raise ValueError(f"depth must be 0 (Gaussian) to {fkd.FKD_MAX_LAYERS} hidden layers; got {depth}")
    cdef int kind = cnp.NPY_FLOAT if is_plain(S, cnp.NPY_FLOAT) else cnp.NPY_DOUBLE
    cdef bint single = kind == cnp.NPY_FLOAT
    cdef cnp.ndarray s = require_plain(S, kind, (None, None), "S")
    cdef int64_t m = cnp.PyArray_DIMS(s)[0], d = cnp.PyArray_DIMS(s)[1]
    cdef cnp.ndarray w = require_plain(a, kind, (m, None), "a")
    cdef cnp.ndarray x = require_plain(X, kind, (None, d), "X")
    cdef int64_t C = cnp.PyArray_DIMS(w)[1], n = cnp.PyArray_DIMS(x)[0]
    cdef cnp.ndarray t = require_plain(target, kind, (n, C), "target")
    if m * d * C * n == 0:
        raise ValueError(f"S, a, X and target must not be empty; got shapes {S.shape}, {a.shape}, {X.shape} and {target.shape}")
    cdef cnp.ndarray da = like(w, None, "")
    cdef cnp.ndarray dS = like(s, None, "")
    cdef Scratch work = Scratch((4 if single else 8) * <size_t>(T.f32.ridge_scratch(&how, m, d, C) if single else T.f64.ridge_scratch(&how, m, d, C)))
    cdef void *ps = cnp.PyArray_DATA(s)
    cdef void *pw = cnp.PyArray_DATA(w)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pt = cnp.PyArray_DATA(t)
    cdef void *pda = cnp.PyArray_DATA(da)
    cdef void *pds = cnp.PyArray_DATA(dS)
    cdef double loss
    with nogil:
        if single:
            loss = T.f32.ridge(&how, <float *>ps, m, d, <float *>pw, C, <float *>px, <float *>pt, n, <float *>pda, <float *>pds,
                               <float *>work.data)
        else:
            loss = T.f64.ridge(&how, <double *>ps, m, d, <double *>pw, C, <double *>px, <double *>pt, n, <double *>pda, <double *>pds,
                               <double *>work.data)
    return loss, da, dS
