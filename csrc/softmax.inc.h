/* softmax.inc.h: tempered softmax and log-softmax of rows. Equal bits on every ISA.
 *
 * C <= FKD_COLUMNS: one row a lane, classes in sequence. More classes: 16 logical lanes along the row, then a fixed
 * tree. A row holding NaN or +inf, or nothing but -inf, has no softmax: its sum is NaN, which is how it is found. */

#undef NV
#define NV (16 / VL) /* vectors that make up the 16 logical lanes */
#define tree_sum FN(tree_sum)
#define tree_max FN(tree_max)
#define bad_row FN(bad_row)
#define log_prob FN(log_prob)
#define softmax_columns FN(softmax_columns)
#define softmax_short FN(softmax_short)
#define softmax_long FN(softmax_long)
#define softmax_rows FN(softmax_rows)
#define softmax_scaled FN(softmax_scaled)

/* over 16 logical lanes held in NV vectors: lane i with i + 8, then i + 4, 2, 1. x is used up. */
FKD_INLINE REAL tree_sum(V *x) {
  FKD_UNROLL
  for (int s = NV / 2; s; s >>= 1)
    for (int u = 0; u < s; ++u) x[u] = x[u] + x[u + s];
  return fold_sum(x[0]);
}

FKD_INLINE REAL tree_max(V *x) {
  FKD_UNROLL
  for (int s = NV / 2; s; s >>= 1)
    for (int u = 0; u < s; ++u) x[u] = vmax(x[u], x[u + s]);
  return fold_max(x[0]);
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

/* (x - top) inv_t - logsum, where a finite logit x stays finite even if it overflows; the halves keep the difference
 * from doing so */
FKD_INLINE V log_prob(V x, V top, V inv_t, V logsum) {
  const V half = vset1((REAL)0.5);
  V y = (x * half - top * half) * (inv_t + inv_t) - logsum;
  V least = vset1(FKD_BITS == 32 ? (REAL)-FLT_MAX : (REAL)-DBL_MAX);
  return vsel(VCMP(x, >, vset1(-(REAL)INFINITY)), vmax(least, y), y);
}

/* B * VL rows at once: two independent halves keep the units busy while one waits for its sum */
FKD_INLINE VI softmax_columns(const int B, const REAL *x, ptrdiff_t stride, int C, V inv_t, const int log_, REAL *out,
                              ptrdiff_t ostride) {
  V z[2 * FKD_COLUMNS], e[2 * FKD_COLUMNS], m[2], s[2];
  VI nan = visetl(0);
  for (int b = 0; b < B; ++b) {
    load_columns(x + b * VL * stride, stride, C, z + b * C);
    m[b] = vset1(-(REAL)INFINITY), s[b] = vset1(0);
    for (int c = 0; c < C; ++c) m[b] = vmax(m[b], z[b * C + c]);
    for (int c = 0; c < C; ++c) e[b * C + c] = (z[b * C + c] - m[b]) * inv_t;
  }
  vexp_all(e, B * C, 0);
  for (int b = 0; b < B; ++b) {
    for (int c = 0; c < C; ++c) s[b] = s[b] + e[b * C + c];
    if (log_) {
      V l = vlog(s[b] * vset1(EXP_DOWN), 0);
      for (int c = 0; c < C; ++c) e[b * C + c] = log_prob(z[b * C + c], m[b], inv_t, l);
    } else {
      V f = vset1(1) / s[b];
      for (int c = 0; c < C; ++c) e[b * C + c] = e[b * C + c] * f;
    }
    store_columns(out + b * VL * ostride, ostride, C, e + b * C);
    nan = nan | VCMP(s[b], !=, s[b]);
  }
  return nan;
}

/* one row of few classes, classes in lanes: the same operations in the same order as softmax_columns */
FKD_INLINE int softmax_short(const REAL *x, int C, REAL inv_t, const int log_, REAL *out) {
  REAL e[FKD_COLUMNS + VL];
  V z = load_part(x, C, x[0]);
  REAL m = x[0], s = 0;
  for (int c = 1; c < C; ++c) m = m > x[c] ? m : x[c];
  for (int c = 0; c < C; c += VL) {
    if (c) z = load_part(x + c, C - c, m);
    vstore(e + c, vexp_up((z - vset1(m)) * vset1(inv_t), 0));
  }
  for (int c = 0; c < C; ++c) s += e[c];
  const V l = log_ ? vlog(vset1(s) * vset1(EXP_DOWN), 0) : vset1(0);
  const REAL f = 1 / s;
  if (!log_) {
    for (int c = 0; c < C; ++c) out[c] = e[c] * f;
    return s != s;
  }
  for (int c = 0; c < C; c += VL) {
    z = load_part(x + c, C - c, m);
    store_part(out + c, C - c, log_prob(z, vset1(m), vset1(inv_t), l));
  }
  return s != s;
}

/* one row of many classes */
static int softmax_long(const REAL *x, int64_t C, REAL inv_t, const int log_, REAL *out) {
  const REAL ninf = -(REAL)INFINITY;
  const int64_t whole = C / 16 * 16;
  V m[NV], s[NV];
  FKD_UNROLL
  for (int u = 0; u < NV; ++u) m[u] = vset1(ninf), s[u] = vset1(0);
  for (int64_t c = 0; c < whole; c += 16) FKD_UNROLL
  for (int u = 0; u < NV; ++u) m[u] = vmax(m[u], vload(x + c + u * VL));
  for (int u = 0; whole + u * VL < C; ++u) m[u] = vmax(m[u], load_part(x + whole + u * VL, C - whole - u * VL, ninf));
  const V top = vset1(tree_max(m)), it = vset1(inv_t);
  V e[4 * NV];
  int64_t c;
  for (c = 0; c < C; c += 64) {
    const int whole4 = c + 64 <= C;
    FKD_UNROLL
    for (int u = 0; u < 4 * NV; ++u) {
      const int64_t at = c + u * VL;
      V z = whole4 ? vload(x + at) : at < C ? load_part(x + at, C - at, ninf) : vset1(ninf);
      e[u] = (z - top) * it;
    }
    vexp_all(e, 4 * NV, 0);
    FKD_UNROLL
    for (int u = 0; u < 4 * NV; ++u) {
      const int64_t at = c + u * VL;
      s[u % NV] = s[u % NV] + e[u];
      if (log_) continue;
      if (whole4) vstore(out + at, e[u]);
      else if (at < C) store_part(out + at, C - at, e[u]);
    }
  }
  const V sum = vset1(tree_sum(s));
  if (log_) {
    const V l = vlog(sum * vset1(EXP_DOWN), 0);
    for (c = 0; c < C; c += VL) {
      V z = load_part(x + c, C - c, ninf);
      store_part(out + c, C - c, log_prob(z, top, it, l));
    }
  } else {
    const V f = vset1(1) / sum;
    for (c = 0; c + VL <= C; c += VL) vstore(out + c, vload(out + c) * f);
    if (c < C) store_part(out + c, C - c, load_part(out + c, C - c, 0) * f);
  }
  return vany(VCMP(sum, !=, sum));
}

/* x and out have rows of `stride` and `ostride` reals */
FKD_INLINE int64_t softmax_rows(const REAL *x, ptrdiff_t stride, int64_t n, int64_t C, REAL inv_t, const int log_,
                                REAL *out, ptrdiff_t ostride) {
  int64_t r = 0;
  int bad = 0;
  if (C > FKD_COLUMNS) {
    int64_t first = -1; /* the rows after a bad one are computed all the same: a batch may hold both */
    for (; r < n; ++r)
      if (softmax_long(x + r * stride, C, inv_t, log_, out + r * ostride) && first < 0) first = r;
    return first;
  }
  const V it = vset1(inv_t);
  VI nan = visetl(0);
  if (C == 3 && stride == 3 && ostride == 3)
    for (; r + 2 * VL <= n; r += 2 * VL) nan = nan | softmax_columns(2, x + r * 3, 3, 3, it, log_, out + r * 3, 3);
  else if (C == 2 && stride == 2 && ostride == 2)
    for (; r + 2 * VL <= n; r += 2 * VL) nan = nan | softmax_columns(2, x + r * 2, 2, 2, it, log_, out + r * 2, 2);
  for (; r + VL <= n; r += VL)
    nan = nan | softmax_columns(1, x + r * stride, stride, (int)C, it, log_, out + r * ostride, ostride);
  for (; r < n; ++r) bad |= softmax_short(x + r * stride, (int)C, inv_t, log_, out + r * ostride);
  if (!bad && !vany(nan)) return -1;
  for (r = 0; r < n; ++r) /* a row without a softmax came out as NaN (also where out is x) */
    if (out[r * ostride] != out[r * ostride]) return r;
  return -1;
}

#define softmax_plain FN(softmax_plain)
static int64_t softmax_plain(const REAL *x, ptrdiff_t stride, int64_t n, int64_t C, REAL inv_t, REAL *out,
                             ptrdiff_t ostride) {
  return softmax_rows(x, stride, n, C, inv_t, 0, out, ostride);
}

/* for 1 / T that a real does not hold, or nearly so: the rows are first brought near to where it does, in `out` */
static int64_t softmax_scaled(const REAL *x, int64_t n, int64_t C, double inv_t, int log_, REAL *out) {
  const double by = FKD_BITS == 32 ? 0x1p64 : 0x1p512, most = FKD_BITS == 32 ? FLT_MAX : DBL_MAX,
               least = FKD_BITS == 32 ? FLT_MIN : DBL_MIN;
  const int up = inv_t > 1;
  const REAL f = (REAL)(up ? by : 1 / by);
  for (int64_t r = 0; r < n; ++r) {
    REAL top = -(REAL)INFINITY;
    for (int64_t c = 0; c < C; ++c) top = x[r * C + c] > top ? x[r * C + c] : top;
    for (int64_t c = 0; c < C; ++c) {
      const REAL z = x[r * C + c], d = up ? (z - top) * f : z * f - top * f;
      out[r * C + c] = d < (REAL)-most && z > -(REAL)INFINITY ? (REAL)-most : d;
    }
  }
  inv_t = up ? inv_t / by : inv_t * by;
  inv_t = inv_t > most ? most : inv_t < least ? least : inv_t; /* nothing is left of any gap, or all */
  return softmax_rows(out, C, n, C, (REAL)inv_t, log_, out, C);
}

static int64_t FN(fkd_softmax)(const REAL *x, int64_t n, int64_t C, double inv_t, int log_, REAL *out) {
  if (inv_t > (FKD_BITS == 32 ? 0x1p100 : 0x1p1000) || inv_t < (FKD_BITS == 32 ? 0x1p-100 : 0x1p-1000))
    return softmax_scaled(x, n, C, inv_t, log_, out);
  return log_ ? softmax_rows(x, C, n, C, (REAL)inv_t, 1, out, C) : softmax_plain(x, C, n, C, (REAL)inv_t, out, C);
}
