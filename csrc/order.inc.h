/* order.inc.h: order statistics of columns. Rows are separate arrays; a tile of 4 vectors of columns x n rows is sorted in L1 by a
 * network of comparators that the caller made (Batcher 1968), so no branch depends on the data. Same bits on every ISA. */
#define order_means FN(order_means)
#define near_means FN(near_means)
#define OV 4
#define OW (OV * VL)

/* 1 if every entry is finite */
static int FN(fkd_finite)(const REAL *x, int64_t d) {
  int64_t c = 0;
  V z[4] = {vset1(0), vset1(0), vset1(0), vset1(0)};
  for (; c + 4 * VL <= d; c += 4 * VL) {
    FKD_UNROLL
    for (int u = 0; u < 4; ++u) { /* finite: x * 0 is a zero; NaN and inf give NaN, which stays */
      z[u] = z[u] + vload(x + c + u * VL) * vset1(0);
    }
  }
  V s = (z[0] + z[1]) + (z[2] + z[3]);
  for (; c < d; c += VL) s = s + load_part(x + c, d - c, 0) * vset1(0);
  return !vany(VCMP(s, !=, s));
}

/* Mean of ranks lo .. hi - 1 of each sorted column: the sum in double, in ascending order; divided first where the sum overflows. */
static void order_means(const REAL *tile, int64_t lo, int64_t hi, REAL *to) {
  double sum[OW];
  const double count = (double)(hi - lo);
  int lost = 0;
  for (int j = 0; j < OW; ++j) sum[j] = 0;
  for (int64_t r = lo; r < hi; ++r)
    for (int j = 0; j < OW; ++j) sum[j] += (double)tile[r * OW + j];
  for (int j = 0; j < OW; ++j) lost |= !(fabs(sum[j]) <= DBL_MAX);
  for (int j = 0; j < OW; ++j) to[j] = (REAL)(sum[j] / count);
  if (lost)
    for (int j = 0; j < OW; ++j)
      if (!(fabs(sum[j]) <= DBL_MAX)) {
        double s = 0;
        for (int64_t r = lo; r < hi; ++r) s += (double)tile[r * OW + j] / count;
        to[j] = (REAL)fmin(fmax(s, -DBL_MAX), DBL_MAX);
      }
}

/* Mean of the `keep` entries of each sorted column nearest to its median, ties towards the lower value. The window starts above as many
 * low entries as are farther from the median than the entry that would come in at the top. */
static void near_means(const REAL *tile, int64_t n, int64_t keep, REAL *to) {
  double sum[OW], med[OW], start[OW];
  const double count = (double)keep;
  for (int j = 0; j < OW; ++j) {
    double a = (double)tile[(n - 1) / 2 * OW + j], b = (double)tile[n / 2 * OW + j], s = a + b;
    med[j] = fabs(s) <= DBL_MAX ? s / 2 : a / 2 + b / 2;
    sum[j] = start[j] = 0;
  }
  for (int64_t r = 0; r + keep < n; ++r)
    for (int j = 0; j < OW; ++j) {
      double below = (double)tile[r * OW + j], above = (double)tile[(r + keep) * OW + j];
      double down = med[j] - below, up = above - med[j];
      double half_down = med[j] / 2 - below / 2, half_up = above / 2 - med[j] / 2; /* where both differences overflow */
      start[j] += (up < down) | ((up == down) & (half_up < half_down)) ? 1.0 : 0.0;
    }
  for (int64_t r = 0; r < n; ++r)
    for (int j = 0; j < OW; ++j) {
      double at = (double)r - start[j];
      sum[j] += (at >= 0) & (at < count) ? (double)tile[r * OW + j] : 0.0;
    }
  for (int j = 0; j < OW; ++j) {
    double s = sum[j];
    if (fabs(s) <= DBL_MAX) {
      to[j] = (REAL)(s / count);
      continue;
    }
    s = 0;
    for (int64_t r = (int64_t)start[j]; r < (int64_t)start[j] + keep; ++r) s += (double)tile[r * OW + j] / count;
    to[j] = (REAL)fmin(fmax(s, -DBL_MAX), DBL_MAX);
  }
}

static void FN(fkd_order)(const REAL *const *rows, int64_t n, int64_t c0, int64_t c1, const uint16_t *pairs, int64_t n_pairs, int64_t lo,
                          int64_t hi, int64_t keep, REAL *out, REAL *tile) {
  REAL means[OW];
  for (int64_t c = c0; c < c1; c += OW) {
    const int64_t have = c1 - c;
    if (have >= OW)
      for (int64_t i = 0; i < n; ++i) {
        FKD_UNROLL
        for (int u = 0; u < OV; ++u) vstore(tile + i * OW + u * VL, vload(rows[i] + c + u * VL));
      }
    else
      for (int64_t i = 0; i < n; ++i)
        for (int u = 0; u < OV; ++u)
          vstore(tile + i * OW + u * VL, have > u * VL ? load_part(rows[i] + c + u * VL, have - u * VL, 0) : vset1(0));
    for (int64_t k = 0; k < n_pairs; ++k) {
      REAL *p = tile + (int64_t)pairs[2 * k] * OW, *q = tile + (int64_t)pairs[2 * k + 1] * OW;
      FKD_UNROLL
      for (int u = 0; u < OV; ++u) {
        V a = vload(p + u * VL), b = vload(q + u * VL);
        vstore(p + u * VL, vmin(a, b));
        vstore(q + u * VL, vmax(b, a)); /* b first: of two zeros one goes each way */
      }
    }
    if (keep) near_means(tile, n, keep, means);
    else order_means(tile, lo, hi, means);
    for (int64_t j = 0; j < OW && j < have; ++j) out[c + j] = means[j];
  }
}
#undef OV
#undef OW
