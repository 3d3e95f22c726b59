/* distill.inc.h: the distillation loss and its gradient in one pass over the logits.
 *
 *   row loss = kd T^2 KL(q_t || q_s) + (1 - kd) CE(smoothed label, p),   q = softmax(z / T), p = softmax(z)
 *   gradient = scale * weight * (kd T (q_s - q_t) + (1 - kd) (p - target))
 *
 * With the gap g = (z_t - z_s) / T, KL = sum q_t g + log(sum exp(z_s / T) / sum exp(z_t / T)) is cheap but cancels when student and
 * teacher are close. Then KL = log(1 + sum q_t phi(d)), phi(d) = exp(-d) - 1 + d >= 0, d = g less its q_t-mean, takes its place: all
 * its terms are positive. A class that the teacher excludes (q_t = 0) leaves exp(mean) exp(z_s / T) / sum exp(z_t / T). */

#define kd_core FN(kd_core)
#define kd_spread FN(kd_spread)
#define kd_gap FN(kd_gap)
#define kd_max FN(kd_max)
#define kd_columns FN(kd_columns)
#define kd_long FN(kd_long)
#define kd_rows FN(kd_rows)
#define kd_params FN(kd_params)
#define vlanes FN(vlanes)

typedef struct {
  V inv_t, kl_weight, ce_weight, most; /* 1 / T, kd T^2, 1 - kd, bound of a row's loss so that the sum cannot overflow */
  V soft, hard, on, off;         /* scale kd T; scale (1 - kd); target of the label and of the other classes */
  int teacher, has_hard, same_t;
} kd_params;

FKD_INLINE VI vlanes(void) {
  IREAL t[VL];
  VI r;
  for (int i = 0; i < VL; ++i) t[i] = i;
  memcpy(&r, t, sizeof r);
  return r;
}

/* the sum over classes, in every lane: across lanes if classes are in lanes, else it is there already */
FKD_INLINE V kd_spread(const int along, V *acc) { return along ? vset1(tree_sum(acc)) : acc[0]; }
FKD_INLINE V kd_max(const int along, V *acc) { return along ? vset1(tree_max(acc)) : acc[0]; }

/* (z_t - m_t) / T - (z_s - m_s) / T with the rounding errors of the differences added back (Knuth's two-sum), so that neither a common
 * offset nor closeness costs digits; for a teacher of probabilities log q_t takes the place of its part */
FKD_INLINE V kd_gap(int teacher, V zs, V ms, V zt, V mt, V qt, V inv_t) {
  V s = zs - ms, b = s - zs, e = (zs - (s - b)) - (ms + b);
  if (teacher != FKD_LOGITS) return vlog(qt, 1) - (s + e) * inv_t;
  V t = zt - mt, c = t - zt, f = (zt - (t - c)) - (mt + c);
  return ((t - s) + (f - e)) * inv_t;
}

/* along = 0: vector i holds class i of VL rows, label and weight are per lane.
 * along = 1: one row, vectors hold consecutive classes, filled up with -inf (probabilities: 0) to a multiple of 16.
 * zs is overwritten by the gradient; es, et, e1 are nv vectors of scratch each. */
FKD_INLINE VI kd_core(const int along, const int nv, int64_t C, const kd_params *k, V *zs, const V *zt, VI label, V weight, V *es, V *et, V *e1,
                      V *loss) {
  enum { A = 16 };
  const int na = along ? NV : 1;
  const V zero = vset1(0), ninf = vset1(-(REAL)INFINITY);
  const V limit = vset1(FKD_BITS == 32 ? 60 : 600);
  V a[A], b[A], c1[A];
  VI missing = visetl(0);
  const VI first = along ? vlanes() : visetl(0);
#define KD_CLASS(i) (first + visetl((IREAL)(along ? (i) * VL : (i))))
  FKD_UNROLL
  for (int u = 0; u < na; ++u) a[u] = ninf, b[u] = ninf;
  for (int i = 0; i < nv; ++i) {
    a[along ? i % NV : 0] = vmax(a[along ? i % NV : 0], zs[i]);
    if (k->teacher == FKD_LOGITS) b[along ? i % NV : 0] = vmax(b[along ? i % NV : 0], zt[i]);
  }
  const V ms = kd_max(along, a), mt = k->teacher == FKD_LOGITS ? kd_max(along, b) : zero;
  FKD_UNROLL
  for (int u = 0; u < na; ++u) a[u] = zero, b[u] = zero, c1[u] = zero;
  for (int i = 0; i < nv; ++i) {
    missing = missing | (VCMP(zs[i], ==, ninf) & VCMP(KD_CLASS(i), <, visetl((IREAL)C)));
    es[i] = (zs[i] - ms) * k->inv_t;
    et[i] = k->teacher == FKD_LOGITS ? (zt[i] - mt) * k->inv_t : zero;
    e1[i] = zs[i] - ms;
  }
  vexp_all(es, nv, 1);
  if (k->teacher == FKD_LOGITS) vexp_all(et, nv, 1);
  if (k->has_hard && !k->same_t) vexp_all(e1, nv, 1);
  for (int i = 0; i < nv; ++i) {
    const int u = along ? i % NV : 0;
    if (k->teacher == FKD_PROBABILITIES) et[i] = zt[i];
    if (k->same_t) e1[i] = es[i];
    a[u] = a[u] + es[i];
    b[u] = b[u] + et[i];
    c1[u] = c1[u] + e1[i];
  }
  const V ss = kd_spread(along, a), st = k->teacher ? kd_spread(along, b) : vset1(1), s1 = k->has_hard ? kd_spread(along, c1) : vset1(1);
  const V fs = vset1(1) / ss, f1 = vset1(1) / s1, ft = k->teacher == FKD_LOGITS ? vset1(1) / st : vset1(1);
  V kl = zero, ce = zero;

  if (k->teacher) {
    FKD_UNROLL
    for (int u = 0; u < na; ++u) a[u] = zero;
    for (int i = 0; i < nv; ++i) et[i] = et[i] * ft;
    /* g; 0 where the teacher gives no probability */
#define KD_GAP(i) \
  vsel(VCMP(et[i], >, zero), (k->teacher == FKD_LOGITS ? (zt[i] - mt) * k->inv_t : vlog(et[i], 1)) - (zs[i] - ms) * k->inv_t, zero)
    for (int i = 0; i < nv; ++i) a[along ? i % NV : 0] = a[along ? i % NV : 0] + et[i] * KD_GAP(i);
    V mean = kd_spread(along, a);
    const V ratio = vlog(ss / (k->teacher == FKD_LOGITS ? st : vset1((REAL)1 / EXP_DOWN)), 1);
    kl = mean + ratio;
    const VI close = VCMP(kl, <, vset1((REAL)0.0625) * (vabs(mean) + vabs(ratio)) + vset1((REAL)0x1p-8));
    if (vany(close)) {
#undef KD_GAP
#define KD_GAP(i) vsel(VCMP(et[i], >, zero), kd_gap(k->teacher, zs[i], ms, zt[i], mt, et[i], k->inv_t), zero)
      FKD_UNROLL
      for (int u = 0; u < na; ++u) a[u] = zero;
      for (int i = 0; i < nv; ++i) a[along ? i % NV : 0] = a[along ? i % NV : 0] + et[i] * KD_GAP(i);
      mean = kd_spread(along, a);
      /* far from the mean, and where the teacher has nothing: q_t phi(d) = exp(mean) e_s / S_t + q_t (d - 1) */
      const V up = vexp_up(vmin(limit, mean), 1) * vset1(EXP_DOWN) * (k->teacher == FKD_LOGITS ? ft : vset1(EXP_DOWN));
      FKD_UNROLL
      for (int u = 0; u < na; ++u) a[u] = zero;
      for (int i = 0; i < nv; ++i) {
        const VI counts = VCMP(et[i], >, zero);
        const V d = vsel(counts, KD_GAP(i) - mean, vset1(1));
        const VI far = ~VCMP(vabs(d), <, vset1(1));
        a[along ? i % NV : 0] = a[along ? i % NV : 0] + vsel(far, es[i] * up + et[i] * (d - vset1(1)), et[i] * vphi(vsel(far, zero, d), 1));
      }
      kl = vsel(close, vlog1p(kd_spread(along, a), 1), kl);
      /* q_s - q_t = q_t (exp(-x) - 1), x = log(q_t / q_s): the plain difference has lost its digits where x is small */
      for (int i = 0; i < nv; ++i) {
        const V x = KD_GAP(i) - mean + kl;
        const VI small = close & VCMP(et[i], >, zero) & VCMP(vabs(x), <, vset1(1));
        es[i] = vsel(small, et[i] * (vphi(vsel(small, x, zero), 1) - x), es[i] * fs - et[i]);
      }
    } else {
      for (int i = 0; i < nv; ++i) es[i] = es[i] * fs - et[i];
    }
#undef KD_GAP
    kl = vsel(VCMP(kl, <, zero), zero, kl);
  }

  const VI labelled = VCMP(label, >=, visetl(0));
  if (k->has_hard) {
    FKD_UNROLL
    for (int u = 0; u < na; ++u) a[u] = zero;
    const V l1 = vlog(s1 * vset1(EXP_DOWN), 1);
    for (int i = 0; i < nv; ++i) {
      V target = vsel(VCMP(label, ==, KD_CLASS(i)), k->on, k->off);
      if (along) target = vsel(VCMP(KD_CLASS(i), <, visetl((IREAL)C)), target, zero);
      V t = target * (l1 - (zs[i] - ms));
      a[along ? i % NV : 0] = a[along ? i % NV : 0] + vsel(VCMP(target, ==, zero), zero, t);
      zs[i] = vsel(labelled, k->hard * (e1[i] * f1 - target), zero);
    }
    ce = vsel(labelled, kd_spread(along, a), zero);
  } else {
    for (int i = 0; i < nv; ++i) zs[i] = zero;
  }
  if (k->teacher) {
    for (int i = 0; i < nv; ++i) zs[i] = zs[i] + k->soft * es[i];
  }
  for (int i = 0; i < nv; ++i) zs[i] = weight * zs[i];
#undef KD_CLASS
  if (along) missing = visetl(-(IREAL)vany(missing));
  /* finite logits never give inf, however far apart: only a student that excludes a class (-inf) may; T^2 may round to 0 */
  const VI excluded = missing & (VCMP(kl, ==, -ninf) | VCMP(ce, ==, -ninf)) & VCMP(weight, >, zero);
  V sum = (k->teacher ? k->kl_weight * vmin(kl, k->most) : zero) + (k->has_hard ? k->ce_weight * vmin(ce, k->most) : zero);
  *loss = vsel(excluded, -ninf, vmin(k->most, weight * sum));
  return VCMP(ss, !=, ss) | VCMP(st, !=, st);
}

/* VL rows, one a lane */
FKD_INLINE VI kd_columns(const REAL *zs, ptrdiff_t stride, const REAL *zt, ptrdiff_t tstride, const int32_t *labels, const REAL *weights,
                         const int C, const kd_params *k, REAL *grad, ptrdiff_t gstride, double *acc) {
  V z[FKD_COLUMNS], t[FKD_COLUMNS], es[FKD_COLUMNS], et[FKD_COLUMNS], e1[FKD_COLUMNS], loss;
  REAL a[VL];
  IREAL lab[VL];
  VI label;
  load_columns(zs, stride, C, z);
  load_columns(k->teacher ? zt : zs, k->teacher ? tstride : stride, C, t); /* without a teacher t is not used */
  for (int l = 0; l < VL; ++l) lab[l] = labels ? labels[l] : -1;
  memcpy(&label, lab, sizeof label);
  VI bad = kd_core(0, C, C, k, z, t, label, weights ? vload(weights) : vset1(1), es, et, e1, &loss);
  if (grad) store_columns(grad, gstride, C, z);
  vstore(a, loss);
  for (int l = 0; l < VL; ++l) acc[l] += a[l];
  return bad;
}

#define kd_any FN(kd_any)
static VI kd_any(const REAL *zs, ptrdiff_t stride, const REAL *zt, ptrdiff_t tstride, const int32_t *labels, const REAL *weights, int C,
                 const kd_params *k, REAL *grad, ptrdiff_t gstride, double *acc) {
  return kd_columns(zs, stride, zt, tstride, labels, weights, C, k, grad, gstride, acc);
}

/* one row of many classes, in scratch of 5 * round_up(C, 16) reals */
static int kd_long(const REAL *zs, const REAL *zt, int label, REAL weight, int64_t C, const kd_params *k, REAL *grad, double *acc, V *scratch) {
  const REAL ninf = -(REAL)INFINITY;
  const int64_t nv = (C + 15) / 16 * NV;
  V *z = scratch, *t = z + nv, loss;
  for (int64_t i = 0; i < nv; ++i) {
    z[i] = i * VL < C ? load_part(zs + i * VL, C - i * VL, ninf) : vset1(ninf);
    if (k->teacher) {
      REAL fill = k->teacher == FKD_LOGITS ? ninf : 0;
      t[i] = i * VL < C ? load_part(zt + i * VL, C - i * VL, fill) : vset1(fill);
    }
  }
  VI bad = kd_core(1, (int)nv, C, k, z, t, visetl(label), vset1(weight), t + nv, t + 2 * nv, t + 3 * nv, &loss);
  if (grad)
    for (int64_t i = 0; i * VL < C; ++i) store_part(grad + i * VL, C - i * VL, z[i]);
  REAL a[VL];
  vstore(a, loss);
  *acc += a[0];
  return vany(bad);
}

static int64_t kd_rows(const REAL *zs, ptrdiff_t stride, const REAL *zt, ptrdiff_t tstride, const int32_t *labels, const REAL *weights, int64_t n,
                       int64_t C, const fkd_distill *how, double scale, double *loss, REAL *grad, ptrdiff_t gstride, REAL *scratch) {
  const double most = FKD_BITS == 32 ? FLT_MAX : DBL_MAX, least = FKD_BITS == 32 ? FLT_MIN : DBL_MIN; /* 0 * inf is no logit */
  const double eps = how->label_smoothing;
  const double soft = how->teacher ? how->kd_weight : 0, hard = labels ? 1 - how->kd_weight : 0, T = soft > 0 ? how->temperature : 1;
  const kd_params k = {.inv_t = vset1((REAL)(1 / T > most ? most : 1 / T < least ? least : 1 / T)),
                       .most = vset1((REAL)(FKD_BITS == 32 ? FLT_MAX : DBL_MAX / (double)n * (1 - 0x1p-50))),
                       .kl_weight = vset1((REAL)(soft * T * T < most ? soft * T * T : most)),
                       .ce_weight = vset1((REAL)hard),
                       .soft = vset1((REAL)(scale * soft * T)),
                       .hard = vset1((REAL)(scale * hard)),
                       .on = vset1((REAL)(1 - eps + eps / (double)C)),
                       .off = vset1((REAL)(eps / (double)C)),
                       .teacher = soft > 0 ? how->teacher : 0,
                       .has_hard = hard > 0,
                       .same_t = T == 1};
  double acc[16] = {0}; /* 16 sums: the order of summation does not depend on VL */
  int64_t first_bad = -1, r = 0;
  if (C > FKD_COLUMNS) {
    for (; r < n; ++r)
      if (kd_long(zs + r * stride, zt ? zt + r * tstride : zt, labels ? labels[r] : -1, weights ? weights[r] : 1, C, &k,
                  grad ? grad + r * gstride : grad, acc + r % 16, (V *)scratch) && first_bad < 0)
        first_bad = r;
  } else {
    VI bad = visetl(0);
#define KD_COLUMNS(kernel, CC) \
  for (; r + VL <= n; r += VL) \
  bad = bad | kernel(zs + r * stride, stride, zt ? zt + r * tstride : zt, tstride, labels ? labels + r : labels, \
                         weights ? weights + r : weights, CC, &k, grad ? grad + r * gstride : grad, gstride, acc + r % 16)
    if (C == 3) KD_COLUMNS(kd_columns, 3);
    else if (C == 2) KD_COLUMNS(kd_columns, 2);
    else KD_COLUMNS(kd_any, (int)C);
#undef KD_COLUMNS
    const int rest = (int)(n - r), c = (int)C;
    if (rest) { /* the last rows, filled up with rows of weight 0 */
      REAL z[FKD_COLUMNS * VL] = {0}, t[FKD_COLUMNS * VL] = {0}, w[VL] = {0};
      int32_t lab[VL] = {0};
      for (int i = 0; i < rest; ++i) {
        memcpy(z + i * c, zs + (r + i) * stride, (size_t)c * sizeof(REAL));
        if (zt) memcpy(t + i * c, zt + (r + i) * tstride, (size_t)c * sizeof(REAL));
        w[i] = weights ? weights[r + i] : 1;
        lab[i] = labels ? labels[r + i] : -1;
      }
      bad = bad | kd_any(z, c, zt ? t : zt, c, labels ? lab : labels, w, c, &k, grad ? z : grad, c, acc + r % 16);
      if (grad)
        for (int i = 0; i < rest; ++i) memcpy(grad + (r + i) * gstride, z + i * c, (size_t)c * sizeof(REAL));
    }
    if (vany(bad)) first_bad = n; /* found by the caller's scan, not here: this is the rare path */
  }
  for (int s = 8; s; s >>= 1)
    for (int i = 0; i < s; ++i) acc[i] += acc[i + s];
  *loss = acc[0];
  return first_bad;
}

static int64_t FN(fkd_distill_loss)(const REAL *student, const REAL *teacher, const int32_t *labels, const REAL *weights, int64_t n, int64_t C,
                                    const fkd_distill *how, double scale, double *loss, REAL *grad, REAL *scratch) {
  int64_t bad = kd_rows(student, C, teacher, C, labels, weights, n, C, how, scale, loss, grad, C, scratch);
  if (bad < 0) return -1;
  bad = bad_row(student, C, 0, n, C);
  int64_t other = teacher && how->teacher == FKD_LOGITS ? bad_row(teacher, C, 0, n, C) : -1;
  return bad < 0 ? other : other < 0 ? bad : bad < other ? bad : other;
}
