/* distill.inc.h: the distillation loss and its gradient for rows of logits, stage by stage; distill_rows.inc.h brings the rows here.
 *
 *   row loss = kd T^2 KL(q_t || q_s) + (1 - kd) CE(smoothed label, p),   q = softmax(z / T), p = softmax(z)
 *   gradient = scale * weight * (kd T (q_s - q_t) + (1 - kd) (p - target))
 *
 * along = 0: vector i holds class i of VL rows. along = 1: one row, vectors hold consecutive classes, filled up with -inf (probabilities: 0)
 * to a multiple of 16. Sums over classes come out in every lane either way. Exponentials carry the factor 2^EXP_UP. along, teacher and hard
 * are constants wherever these functions are used. */

#define kd_params FN(kd_params)
#define kd_row FN(kd_row)
#define kd_total FN(kd_total)
#define kd_top FN(kd_top)
#define kd_exp FN(kd_exp)
#define kd_gap FN(kd_gap)
#define kd_start FN(kd_start)
#define kd_gaps FN(kd_gaps)
#define kd_near FN(kd_near)
#define kd_divergence FN(kd_divergence)
#define kd_difference FN(kd_difference)
#define kd_hard FN(kd_hard)
#define kd_smooth FN(kd_smooth)
#define kd_finish FN(kd_finish)
#define kd_core FN(kd_core)
#define vlanes FN(vlanes)

typedef struct {
  V inv_t, log2_t, low_t, low;  /* 1 / T; log2(e) / T and where its exponentials end; the same for T = 1 */
  V kl_weight, ce_weight, most; /* kd T^2, 1 - kd, bound of a row's loss so that the sum cannot overflow */
  V soft, hard, on, off;        /* scale kd T; scale (1 - kd); target of the label and of the other classes */
  V least;                      /* what exp(z / T) counts at least for its power */
  int power, smooth;            /* exp(z) = exp(z / T)^power; 0: take the exponential */
} kd_params;

/* VL rows, or one. Of nv vectors each: z the student's logits, at the end the gradient; t the teacher, then g, then exp(-d) - 1; es the
 * student's exponentials at T, then q_s - q_t; et the teacher's, then q_t; e1 the student's at 1. */
typedef struct {
  V *z, *t, *es, *et, *e1;
  int nv;
  int64_t C;
  VI label;
  V weight, ms, mt, ss, st, inv_ss, inv_st, mean, M, keep, kl, ce;
  VM close;
} kd_row;

FKD_INLINE VI vlanes(void) {
  IREAL t[VL];
  VI r;
  for (int i = 0; i < VL; ++i) t[i] = i;
  memcpy(&r, t, sizeof r);
  return r;
}

/* over vectors 0 .. nv - 1, and a sum or maximum of them, in NV accumulators if `along`, else in one */
#undef KD_STEP
#define KD_STEP (along ? NV : 1)
#define KD_ALL(nv)                        \
  for (int j = 0; j < (nv); j += KD_STEP) \
    for (int u = 0, i = j; u < KD_STEP; ++u, ++i)
#define KD_EACH KD_ALL(w->nv)
#define KD_SUM(a, x) \
  V a[NV];           \
  FKD_UNROLL         \
  for (int n = 0; n < NV; ++n) a[n] = vset1(x)
#define KD_FIRST const VI first = along ? vlanes() : visetl(0)
#define KD_CLASS (first + visetl((IREAL)(along ? i * VL : i)))
FKD_INLINE V kd_total(const int along, V *a) { return along ? vset1(tree_sum(a)) : a[0]; }

FKD_INLINE V kd_top(const int along, const int nv, const V *x) {
  KD_SUM(a, -(REAL)INFINITY);
  KD_ALL(nv) a[u] = vmax(a[u], x[i]);
  return along ? vset1(tree_max(a)) : a[0];
}

/* e = exp((z - top) / T), factor = log2(e) / T; returns the sum */
FKD_INLINE V kd_exp(const int along, const int nv, const V *z, V top, V factor, V low, V *e) {
  KD_SUM(sum, 0);
  KD_ALL(nv) e[i] = vmax(low, z[i] - top);
  vexp2_all(e, factor, nv);
  KD_ALL(nv) sum[u] = sum[u] + e[i];
  return kd_total(along, sum);
}

FKD_INLINE void kd_start(const int along, const int teacher, const int hard, const kd_params *k, kd_row *w) {
  const V zero = vset1(0);
  w->kl = w->ce = w->st = zero;
  w->ms = kd_top(along, w->nv, w->z);
  w->ss = kd_exp(along, w->nv, w->z, w->ms, k->log2_t, k->low_t, w->es);
  if (teacher == FKD_LOGITS) {
    w->mt = kd_top(along, w->nv, w->t);
    w->st = kd_exp(along, w->nv, w->t, w->mt, k->log2_t, k->low_t, w->et);
  } else if (teacher) {
    KD_SUM(sum, 0);
    KD_EACH w->et[i] = w->t[i] * vset1((REAL)1 / EXP_DOWN), sum[u] = sum[u] + w->et[i];
    w->st = kd_total(along, sum), w->mt = zero;
  }
  if (hard && k->power) {
    KD_EACH {
      const V x = vmax(k->least, w->es[i]), down = x * vset1(EXP_DOWN);
      w->e1[i] = k->power == 1 ? x : k->power == 2 ? x * down : k->power == 3 ? x * (down * down) : (x * down) * (down * down);
    }
  } else if (hard) {
    kd_exp(along, w->nv, w->z, w->ms, vset1((REAL)1.4426950408889634), k->low, w->e1);
  }
}

/* (zt - mt) / T - (zs - ms) / T with the rounding errors of the differences added back (Knuth's two-sum), so that neither a common offset
 * nor closeness costs digits; for a teacher of probabilities their logarithm takes the place of its part. +inf where the student excludes
 * a class; anything where the teacher does. */
FKD_INLINE V kd_gap(const int teacher, V zs, V ms, V zt, V mt, V inv_t) {
  const V s = zs - ms, b = s - zs;
  V error = (zs - (s - b)) - (ms + b);
  if (teacher == FKD_LOGITS) {
    const V t = zt - mt, c = t - zt;
    error = ((zt - (t - c)) - (mt + c)) - error;
    return pick(meq(error, error), (t - s) + error, t - s) * inv_t; /* NaN: of an infinite difference */
  }
  return vlog(zt, 1) - pick(meq(error, error), s + error, s) * inv_t;
}

/* KL(q_t || q_s) = mean + log(S_s / S_t), the mean of g = log(e_t / e_s) under q_t, S the sums of exponentials.
 *
 * That cancels where student and teacher agree. With d = g - mean it is log(1 + M), M = sum q_t phi(d), phi(d) = exp(-d) - 1 + d >= 0.
 * A class is near if |d| < 1: there phi comes from a polynomial and q_s - q_t = q_t (phi(d) - d - M) / (1 + M). Of the others (also
 * q_t = 0), exp(-d) q_t = (1 + M) q_s, so that M = A + (1 + M) f with f = the student's mass on them and
 * A = sum_near q_t phi(d) + sum_far q_t (d - 1). Where f is more than half, KL is large and the first formula good. */
FKD_INLINE void kd_gaps(const int along, const int teacher, const kd_params *k, kd_row *w) {
  const V zero = vset1(0), excluded = vset1((REAL)1e30);
  KD_SUM(sum, 0);
  w->inv_ss = vinv(w->ss), w->inv_st = vinv(w->st);
  KD_EACH {
    const V q = w->et[i] * w->inv_st, g = kd_gap(teacher, w->z[i], w->ms, w->t[i], w->mt, k->inv_t);
    w->et[i] = q;
    w->t[i] = pick(mlt(zero, q), g, excluded); /* which is far and counts 0 times */
    sum[u] = vfma(q, w->t[i], sum[u]);
  }
  w->mean = kd_total(along, sum);
}

#undef KD_FAR
#define KD_FAR 4 /* in place of exp(-d) - 1 */
FKD_INLINE void kd_near(const int along, kd_row *w) {
  const V one = vset1(1);
  KD_SUM(a, 0);
  KD_SUM(far, 0);
  KD_EACH {
    const V d = w->t[i] - w->mean, p = vphi(d, 1);
    const VM near = mlt(d * d, one);
    a[u] = vfma(w->et[i], pick(near, p, d - one), a[u]);
    far[u] = pick(near, far[u], far[u] + w->es[i]);
    w->t[i] = pick(near, p - d, vset1(KD_FAR));
  }
  const V A = kd_total(along, a), f = kd_total(along, far) * w->inv_ss, rest = one - f, r = vinv(rest * (one + A));
  w->close = mlt(pick(mle(f, vset1((REAL)0.5)), A, vset1((REAL)1e6)), vset1((REAL)1e6));
  w->M = (A + f) * (one + A) * r;
  w->keep = rest * rest * r; /* 1 / (1 + M) */
}

FKD_INLINE void kd_divergence(kd_row *w) {
  const V one = vset1(1), u = pick(w->close, one + w->M, w->ss * w->inv_st);
  w->kl = vlog_normal(u, vset1(0), 1) + pick(w->close, (w->M - (u - one)) * w->keep, w->mean);
  w->kl = pick(mlt(w->kl, vset1(0)), vset1(0), w->kl);
}

FKD_INLINE void kd_difference(const int along, kd_row *w) {
  const V far = pick(w->close, vset1(KD_FAR), vset1(-2));
  KD_EACH {
    const V x = w->t[i], q = w->et[i];
    w->es[i] = pick(mlt(x, far), q * w->keep * (x - w->M), vfma(w->es[i], w->inv_ss, -q));
  }
}

/* z <- hard * (p - onehot), which the label gets from the other classes' mass; the cross-entropy */
FKD_INLINE void kd_hard(const int along, V hard, kd_row *w) {
  const V zero = vset1(0), one = vset1(1);
  KD_FIRST;
  KD_SUM(others, 0);
  KD_SUM(own, 0);
  KD_SUM(at, 0);
  KD_EACH {
    const VM is = mieq(w->label, KD_CLASS);
    others[u] = pick(is, others[u], others[u] + w->e1[i]);
    own[u] = pick(is, w->e1[i], own[u]); /* at most once */
    at[u] = pick(is, w->z[i] - w->ms, at[u]);
  }
  const V rest = kd_total(along, others), picked = kd_total(along, own), sum = rest + picked, inv = vinv(sum), f = hard * inv;
  KD_EACH w->z[i] = f * pick(mieq(w->label, KD_CLASS), -rest, w->e1[i]);
  const VM sure = mle(rest, picked); /* log(1 + rest / picked), which may be far below an ulp of 1 */
  const V ratio = rest * vinv(pick(sure, picked, sum)), u = pick(sure, one + ratio, sum * vset1(EXP_DOWN));
  w->ce = vlog_normal(u, zero, 1) + pick(sure, (ratio - (u - one)) * (picked * inv), -kd_total(along, at));
}

/* the same with smoothed labels: z <- hard * (p - target) */
FKD_INLINE void kd_smooth(const int along, const kd_params *k, V hard, kd_row *w) {
  const V zero = vset1(0);
  KD_FIRST;
  KD_SUM(s, 0);
  KD_EACH s[u] = s[u] + w->e1[i];
  const V sum = kd_total(along, s), log_sum = vlog_normal(sum * vset1(EXP_DOWN), zero, 1), f = vinv(sum);
  KD_SUM(a, 0);
  KD_EACH {
    V target = pick(mieq(w->label, KD_CLASS), k->on, k->off);
    if (along) target = vsel(VCMP(KD_CLASS, <, visetl((IREAL)w->C)), target, zero);
    a[u] = a[u] + pick(meq(target, zero), zero, target * (log_sum - (w->z[i] - w->ms)));
    w->z[i] = hard * vfma(w->e1[i], f, -target);
  }
  w->ce = kd_total(along, a);
}

/* z <- the gradient; returns the row's loss, times its weight */
FKD_INLINE V kd_finish(const int along, const int teacher, const int hard, const kd_params *k, kd_row *w) {
  const V zero = vset1(0), f = w->weight * k->soft;
  if (hard) {
    const V labelled = vsel(VCMP(w->label, >=, visetl(0)), vset1(1), zero), h = labelled * w->weight * k->hard;
    if (k->smooth) kd_smooth(along, k, h, w);
    else kd_hard(along, h, w);
    w->ce = pick(mlt(zero, labelled), w->ce, zero);
  }
  if (teacher) KD_EACH w->z[i] = hard ? vfma(f, w->es[i], w->z[i]) : f * w->es[i];
  const V kl = vmin(w->kl, k->most), ce = vmin(w->ce, k->most);
  return vmin(k->most, w->weight * (teacher && hard ? k->kl_weight * kl + k->ce_weight * ce : teacher ? k->kl_weight * kl : k->ce_weight * ce));
}

/* B (1 or 2) times VL rows, stage by stage: while one waits for a result, the units work on the other. NaN where a row has no softmax. */
FKD_INLINE V kd_core(const int B, const int along, const int teacher, const int hard, const kd_params *k, kd_row *a, kd_row *b, V *loss) {
#define KD_BOTH(call)    \
  {                      \
    {                    \
      kd_row *w = a;     \
      enum { at = 0 };   \
      call;              \
    }                    \
    if (B == 2) {        \
      kd_row *w = b;     \
      enum { at = 1 };   \
      call;              \
    }                    \
  }
  V bad = vset1(0);
  KD_BOTH(kd_start(along, teacher, hard, k, w))
  if (teacher) {
    KD_BOTH(kd_gaps(along, teacher, k, w))
    KD_BOTH(kd_near(along, w))
    KD_BOTH(kd_difference(along, w))
    KD_BOTH(kd_divergence(w))
  }
  KD_BOTH(loss[at] = kd_finish(along, teacher, hard, k, w))
  KD_BOTH(bad = bad + (w->ss + w->st) * vset1(0))
#undef KD_BOTH
  return bad;
}
