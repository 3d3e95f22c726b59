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
    cdef bint single = net.single
    grad = np.empty_like(p) if want_grad else None
    hv = np.empty_like(p) if want_hv else None
    dX = np.empty_like(x) if want_x else None
    dY = np.empty((n, net.net.sizes[net.net.layers]), net.dtype) if want_y else None
    cdef Scratch work = Scratch(real_size(single) * fkd.rop_scratch(T, single, &net.net, n))
    cdef void *pp = cnp.PyArray_DATA(p)
    cdef void *pv = cnp.PyArray_DATA(d)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pg = data_or_null(grad)
    cdef void *ph = data_or_null(hv)
    cdef void *pdx = data_or_null(dX)
    cdef void *pdy = data_or_null(dY)
    cdef double loss
    with nogil:
        loss = fkd.rop(T, single, &net.net, pp, pv, px, targets.of_type, n, pg, ph, pdx, pdy, work.data)
    return loss, grad, hv, dX, dY


cdef cnp.ndarray own_starts(object starts, int64_t n, str name):
    """A copy of `starts`; group g has the rows starts[g] .. starts[g + 1] - 1 of n."""
    cdef cnp.ndarray s = <cnp.ndarray>cnp.PyArray_NewCopy(require_plain(starts, cnp.NPY_INT64, (None,), name), cnp.NPY_CORDER)
    cdef const int64_t *at = <const int64_t *>cnp.PyArray_DATA(s)
    cdef int64_t g, groups = cnp.PyArray_SIZE(s) - 1
    if groups < 1 or at[0] != 0 or at[groups] != n:
        raise ValueError(f"{name} must lead from 0 to {n} rows; got {s}")
    for g in range(groups):
        if at[g + 1] <= at[g]:
            raise ValueError(f"every group needs rows; got {name} {s}")
    return s


def gradient_match(MLPKernel net not None, params, reals, X, Targets targets not None, starts, str distance, *, bint want_y=False):
    """(distance of the gradients of the groups of rows from `reals`, its derivatives dX and dY or None). fastkd.h: gradient_match."""
    cdef cnp.ndarray bounds = own_starts(starts, targets.n_rows, "starts")
    cdef const int64_t *at = <const int64_t *>cnp.PyArray_DATA(bounds)
    cdef int64_t g, n = targets.n_rows, most = 0, groups = cnp.PyArray_SIZE(bounds) - 1
    cdef cnp.ndarray p = require_plain(params, net.typenum, (net.n_parameters,), "params")
    cdef cnp.ndarray x = require_plain(X, net.typenum, (n, net.net.sizes[0]), "X")
    cdef cnp.ndarray r = require_plain(reals, net.typenum, (groups, net.n_parameters), "reals")
    targets.fits(net)
    differentiable(targets)
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}; got {distance!r}")
    cdef bint single = net.single
    cdef int kind = DISTANCES[distance]
    cdef cnp.ndarray dX = like(x, None, "")
    dY = np.empty((n, net.net.sizes[net.net.layers]), net.dtype) if want_y else None
    for g in range(groups):
        most = max(most, at[g + 1] - at[g])
    cdef Scratch work = Scratch(real_size(single) * fkd.rop_scratch(T, single, &net.net, most))
    cdef void *pp = cnp.PyArray_DATA(p)
    cdef void *pr = cnp.PyArray_DATA(r)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pdx = cnp.PyArray_DATA(dX)
    cdef void *pdy = data_or_null(dY)
    cdef double value
    with nogil:
        value = fkd.gradient_match(T, single, &net.net, pp, pr, px, targets.of_type, at, groups, kind, pdx, pdy, work.data)
    return value, dX, dY


def feature_match(MLPKernel net not None, params, reals, real_starts, X, starts, bint all_layers=False):
    """(squared distances of the groups' mean features from those of the real rows, summed, and dX). fastkd.h: feature_match."""
    cdef cnp.ndarray p = require_plain(params, net.typenum, (net.n_parameters,), "params")
    cdef cnp.ndarray r = require_plain(reals, net.typenum, (None, net.net.sizes[0]), "reals")
    cdef cnp.ndarray x = require_plain(X, net.typenum, (None, net.net.sizes[0]), "X")
    cdef cnp.ndarray bounds = own_starts(starts, cnp.PyArray_DIMS(x)[0], "starts")
    cdef cnp.ndarray real_bounds = own_starts(real_starts, cnp.PyArray_DIMS(r)[0], "real_starts")
    cdef int64_t groups = cnp.PyArray_SIZE(bounds) - 1
    if cnp.PyArray_SIZE(real_bounds) - 1 != groups:
        raise ValueError(f"starts and real_starts must name as many groups; got {starts} and {real_starts}")
    cdef bint single = net.single
    cdef cnp.ndarray dX = like(x, None, "")
    cdef Scratch work = Scratch(real_size(single) * fkd.features_scratch(T, single, &net.net))
    cdef const int64_t *at = <const int64_t *>cnp.PyArray_DATA(bounds)
    cdef const int64_t *at_real = <const int64_t *>cnp.PyArray_DATA(real_bounds)
    cdef void *pp = cnp.PyArray_DATA(p)
    cdef void *pr = cnp.PyArray_DATA(r)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pdx = cnp.PyArray_DATA(dX)
    cdef double value
    with nogil:
        value = fkd.feature_match(T, single, &net.net, pp, pr, at_real, px, at, groups, all_layers, pdx, work.data)
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
    if 0 in (m, d, C, n):
        raise ValueError(f"S, a, X and target must not be empty; got shapes {S.shape}, {a.shape}, {X.shape} and {target.shape}")
    cdef cnp.ndarray da = like(w, None, "")
    cdef cnp.ndarray dS = like(s, None, "")
    cdef Scratch work = Scratch(real_size(single) * fkd.ridge_scratch(T, single, &how, m, d, C))
    cdef void *ps = cnp.PyArray_DATA(s)
    cdef void *pw = cnp.PyArray_DATA(w)
    cdef void *px = cnp.PyArray_DATA(x)
    cdef void *pt = cnp.PyArray_DATA(t)
    cdef void *pda = cnp.PyArray_DATA(da)
    cdef void *pds = cnp.PyArray_DATA(dS)
    cdef double loss
    with nogil:
        loss = fkd.ridge(T, single, &how, ps, m, d, pw, C, px, pt, n, pda, pds, work.data)
    return loss, da, dS
