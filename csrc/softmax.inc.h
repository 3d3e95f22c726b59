/* softmax.inc.h: tempered softmax and log-softmax of rows. Equal bits on every ISA.
 *
 * C <= FKD_COLUMNS: one row a lane, classes in sequence. More classes: 16 logical lanes along the row, then a fixed tree.
 * A row holding NaN or +inf, or nothing but -inf, has no softmax: its sum is NaN, which is how it is found. */

#undef NV
#define NV (16 / VL) /* vectors that make up the 16 logical lanes */
#define tree_sum FN(tree_sum)
#define tree_max FN(tree_max)
#define load_part FN(load_part)
#define store_part FN(store_part)
#define bad_row FN(bad_row)
#define log_prob FN(log_prob)
#define softmax_columns FN(softmax_columns)
#define softmax_short FN(softmax_short)
#define softmax_long FN(softmax_long)
#define softmax_rows FN(softmax_rows)

FKD_INLINE REAL tree_sum(const V *x) {
  REAL t[16];
  for (int u = 0; u < NV; ++u) vstore(t + u * VL, x[u]);
  for (int s = 8; s; s >>= 1)
    for (int i = 0; i < s; ++i) t[i] += t[i + s];
  return t[0];
}

FKD_INLINE REAL tree_max(const V *x) {
  REAL t[16];
  for (int u = 0; u < NV; ++u) vstore(t + u * VL, x[u]);
  for (int s = 8; s; s >>= 1)
    for (int i = 0; i < s; ++i) t[i] = t[i] > t[i + s] ? t[i] : t[i + s];
  return t[0];
}

/* VL reals from p, of which only the first `have` exist; the others are `fill` */
FKD_INLINE V load_part(const REAL *p, int64_t have, REAL fill) {
  if (have >= VL) return vload(p);
  REAL t[VL];
  for (int i = 0; i < VL; ++i) t[i] = i < have ? p[i] : fill;
  return vload(t);
}

FKD_INLINE void store_part(REAL *p, int64_t have, V x) {
  if (have >= VL) { vstore(p, x); return; }
  REAL t[VL];
  vstore(t, x);
  for (int i = 0; i < have; ++i) p[i] = t[i];
}

/* first row from `start` on that has no softmax, or -1 */
static int64_t bad_row(const REAL *x, ptrdiff_t stride, int64_t start, int64_t n, int64_t C) {
  for (int64_t r = start; r < n; ++r) {
    int finite = 0, bad = 0;
    for (int64_t c = 0; c < C; ++c) {
      REAL v = x[r * stride + c];
      if (!(v < (REAL)INFINITY)) bad = 1;
      if (v > -(REAL)INFINITY) finite = 1;
    }
    if (bad || !finite) return r;
  }
  return -1;
}

/* u - log(sum), where a finite logit x stays finite even if it overflows */
FKD_INLINE V log_prob(V x, V u, V logsum) {
  V y = u - logsum;
  V least = vset1(FKD_BITS == 32 ? (REAL)-FLT_MAX : (REAL)-DBL_MAX);
  return vsel(VCMP(x, >, vset1(-(REAL)INFINITY)), vmax(least, y), y);
}

/* VL rows at once */
FKD_INLINE VI softmax_columns(const REAL *x, ptrdiff_t stride, int C, V inv_t, int log_, REAL *out, ptrdiff_t ostride) {
  V z[FKD_COLUMNS], e[FKD_COLUMNS];
  load_columns(x, stride, C, z);
  V m = vset1(-(REAL)INFINITY);
  for (int c = 0; c < C; ++c) m = vmax(m, z[c]);
  V s = vset1(0);
  for (int c = 0; c < C; ++c) {
    e[c] = vexp((z[c] - m) * inv_t);
    s = s + e[c];
  }
  if (log_) {
    V l = vlog(s);
    for (int c = 0; c < C; ++c) e[c] = log_prob(z[c], (z[c] - m) * inv_t, l);
  } else {
    V f = vset1(1) / s;
    for (int c = 0; c < C; ++c) e[c] = e[c] * f;
  }
  store_columns(out, ostride, C, e);
  return VCMP(s, !=, s);
}

/* one row of few classes, classes in lanes: the same operations in the same order as softmax_columns */
FKD_INLINE int softmax_short(const REAL *x, int C, REAL inv_t, int log_, REAL *out) {
  REAL e[FKD_COLUMNS + VL];
  REAL m = x[0], s = 0;
  for (int c = 1; c < C; ++c) m = m > x[c] ? m : x[c];
  for (int c = 0; c < C; c += VL) vstore(e + c, vexp((load_part(x + c, C - c, m) - vset1(m)) * vset1(inv_t)));
  for (int c = 0; c < C; ++c) s += e[c];
  V l = log_ ? vlog(vset1(s)) : vset1(0), f = vset1(1) / vset1(s);
  for (int c = 0; c < C; c += VL) {
    V z = load_part(x + c, C - c, m);
    store_part(out + c, C - c, log_ ? log_prob(z, (z - vset1(m)) * vset1(inv_t), l) : vload(e + c) * f);
  }
  return s != s;
}

/* one row of many classes */
static int softmax_long(const REAL *x, int64_t C, REAL inv_t, int log_, REAL *out) {
  const REAL ninf = -(REAL)INFINITY;
  V m[NV], s[NV];
  for (int u = 0; u < NV; ++u) m[u] = vset1(ninf), s[u] = vset1(0);
  for (int64_t c = 0; c < C; c += 16)
    FKD_UNROLL
    for (int u = 0; u < NV; ++u) m[u] = vmax(m[u], load_part(x + c + u * VL, C - c - u * VL, ninf));
  V top = vset1(tree_max(m)), it = vset1(inv_t);
  for (int64_t c = 0; c < C; c += 16)
    FKD_UNROLL
    for (int u = 0; u < NV; ++u) {
      int64_t have = C - c - u * VL;
      V e = vexp((load_part(x + c + u * VL, have, ninf) - top) * it);
      s[u] = s[u] + e;
      if (!log_) store_part(out + c + u * VL, have, e);
    }
  V sum = vset1(tree_sum(s));
  V l = log_ ? vlog(sum) : vset1(0), f = vset1(1) / sum;
  for (int64_t c = 0; c < C; c += VL) {
    if (log_) {
      V z = load_part(x + c, C - c, ninf);
      store_part(out + c, C - c, log_prob(z, (z - top) * it, l));
    } else {
      store_part(out + c, C - c, load_part(out + c, C - c, 0) * f);
    }
  }
  return vany(VCMP(sum, !=, sum));
}

static int64_t softmax_rows(const REAL *x, ptrdiff_t stride, int64_t n, int64_t C, REAL inv_t, int log_, REAL *out, ptrdiff_t ostride) {
  int64_t r = 0;
  int bad = 0;
  if (C > FKD_COLUMNS) {
    for (; r < n; ++r)
      if (softmax_long(x + r * stride, C, inv_t, log_, out + r * ostride)) return r;
    return -1;
  }
  V it = vset1(inv_t);
  VI nan = visetl(0);
  if (C == 2)
    for (; r + VL <= n; r += VL) nan = nan | softmax_columns(x + r * stride, stride, 2, it, log_, out + r * ostride, ostride);
  else if (C == 3)
    for (; r + VL <= n; r += VL) nan = nan | softmax_columns(x + r * stride, stride, 3, it, log_, out + r * ostride, ostride);
  else
    for (; r + VL <= n; r += VL) nan = nan | softmax_columns(x + r * stride, stride, (int)C, it, log_, out + r * ostride, ostride);
  for (; r < n; ++r) bad |= softmax_short(x + r * stride, (int)C, inv_t, log_, out + r * ostride);
  if (!bad && !vany(nan)) return -1;
  for (r = 0; r < n; ++r) /* a row without a softmax came out as NaN (also where out is x) */
    if (out[r * ostride] != out[r * ostride]) return r;
  return -1;
}

static int64_t FN(fkd_softmax)(const REAL *x, int64_t n, int64_t C, double inv_t, int log_, REAL *out) {
  const double most = FKD_BITS == 32 ? FLT_MAX : DBL_MAX;
  return softmax_rows(x, C, n, C, (REAL)(inv_t < most ? inv_t : most), log_, out, C);
}
