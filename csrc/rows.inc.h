/* rows.inc.h: sums over rows that are separate arrays of ROW (float or double), in double. Included with FKD_BITS 64, once for each
 * ROW, whose suffix is ROW_SUFFIX, largest number ROW_MAX, and ROW_SINGLE 1 for float. Same bits on every ISA: 8 lanes, * and + in one
 * order. */
#define ROWS_(name) FKD_CAT(name, ROW_SUFFIX)
#define wload ROWS_(wload)
#define wstore ROWS_(wstore)
#define tile_distances ROWS_(tile_distances)
#define sum_columns ROWS_(sum_columns)
#define sum_tile ROWS_(sum_tile)
#define sum_ahead ROWS_(sum_ahead)
#if defined(FKD_AVX512) || defined(FKD_NEON) /* sums kept in registers */
#define SUM_VECTORS 16
#else
#define SUM_VECTORS 8
#endif
#define SUM_COLUMNS (SUM_VECTORS * VL)

#if VL == 1
FKD_INLINE V wload(const ROW *p) { return (V)*p; }
FKD_INLINE void wstore(ROW *p, V x) { *p = (ROW)x; }
#elif defined(FKD_AVX512) && ROW_SINGLE /* compilers convert in halves */
FKD_INLINE V wload(const ROW *p) { return (V)_mm512_cvtps_pd(_mm256_loadu_ps(p)); }
FKD_INLINE void wstore(ROW *p, V x) { _mm256_storeu_ps(p, _mm512_cvtpd_ps((__m512d)x)); }
#else
typedef ROW ROWS_(WV) __attribute__((vector_size(VL * sizeof(ROW))));
FKD_INLINE V wload(const ROW *p) {
  ROWS_(WV) x;
  memcpy(&x, p, sizeof x);
  return __builtin_convertvector(x, V);
}
FKD_INLINE void wstore(ROW *p, V x) {
  ROWS_(WV) y = __builtin_convertvector(x, ROWS_(WV));
  memcpy(p, &y, sizeof y);
}
#endif

/* Squared distances between TI rows a and TJ rows b over `have` columns. Differences are taken in double, where those of nearby floats are
 * exact: a common offset costs no digits. */
FKD_INLINE void tile_distances(const ROW *const *a, const ROW *const *b, int64_t have, double sums[TI][TJ]) {
  V s[TI][TJ][RV];
  for (int i = 0; i < TI; ++i)
    for (int j = 0; j < TJ; ++j)
      for (int u = 0; u < RV; ++u) s[i][j][u] = vset1(0);
  int64_t c = 0;
  for (; c + 8 <= have; c += 8) {
    FKD_UNROLL
    for (int u = 0; u < RV; ++u) {
      V y[TJ];
      FKD_UNROLL
      for (int j = 0; j < TJ; ++j) y[j] = wload(b[j] + c + u * VL);
      FKD_UNROLL
      for (int i = 0; i < TI; ++i) {
        V x = wload(a[i] + c + u * VL);
        FKD_UNROLL
        for (int j = 0; j < TJ; ++j) {
          V e = x - y[j];
          s[i][j][u] = s[i][j][u] + e * e;
        }
      }
    }
  }
  for (int i = 0; i < TI; ++i)
    for (int j = 0; j < TJ; ++j) {
      double t[8];
      for (int u = 0; u < RV; ++u) vstore(t + u * VL, s[i][j][u]);
      for (int64_t k = c; k < have; ++k) {
        double e = (double)a[i][k] - (double)b[j][k];
        t[k - c] += e * e;
      }
      sums[i][j] = ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
    }
}

static void ROWS_(fkd_sq_distances)(const ROW *const *rows, int64_t n, int64_t d, int64_t first, int64_t step, double *out) {
  enum { COLUMNS = 1024, FOUR = 4 };
  for (int64_t c = 0; c < d; c += COLUMNS) {
    const int64_t have = d - c < COLUMNS ? d - c : COLUMNS;
    for (int64_t t = 0, g; g = FOUR * turn_of(t, first, step), g < n; ++t) /* groups of 4 rows are what workers share out, whatever TI is */
      for (int64_t i = g; i < g + FOUR && i < n; i += TI)
        for (int64_t j = i / TJ * TJ; j < n; j += TJ) {
          const ROW *a[TI], *b[TJ];
          double sums[TI][TJ];
          for (int k = 0; k < TI; ++k) a[k] = rows[i + k < n ? i + k : n - 1] + c;
          for (int k = 0; k < TJ; ++k) b[k] = rows[j + k < n ? j + k : n - 1] + c;
          tile_distances(a, b, have, sums);
          for (int p = 0; p < TI; ++p)
            for (int q = 0; q < TJ; ++q)
              if (i + p < j + q && j + q < n) out[(i + p) * n + j + q] += sums[p][q];
        }
  }
}

/* float rows are widened block by block, and then taken as double ones */
static void ROWS_(fkd_near_distances)(const ROW *const *rows, int64_t n, int64_t d, int64_t first, int64_t step, double *out,
                                      double *scratch) {
#if ROW_SINGLE
  enum { COLUMNS = 512, STRIDE = 520 }; /* not all rows into the same cache sets */
  const double **wide = (const double **)(void *)(scratch + STRIDE * n);
  for (int64_t i = 0; i < n; ++i) wide[i] = scratch + STRIDE * i;
  for (int64_t c = 0; c < d; c += COLUMNS) {
    const int64_t have = d - c < COLUMNS ? d - c : COLUMNS;
    for (int64_t i = 0; i < n; ++i) {
      const ROW *p = rows[i] + c;
      double *to = scratch + STRIDE * i;
      int64_t k = 0;
      for (; k + VL <= have; k += VL) vstore(to + k, wload(p + k));
      for (; k < have; ++k) to[k] = p[k];
    }
    fkd_rough_distances_f64(wide, n, have, first, step, out);
  }
#else
  (void)scratch;
  fkd_rough_distances_f64(rows, n, d, first, step, out);
#endif
}

/* sums[k] = sum_i weights[i] rows[i][c + k] for `vectors` vectors of columns, in registers, row by row; without weights the plain sum,
 * with a fused addition since x * 1 is x. `ahead`: how many columns on to fetch, 0 for none. */
FKD_INLINE void sum_columns(const ROW *const *rows, int64_t n, const double *weights, int64_t c, int vectors, int64_t ahead, double *sums) {
  enum { LINE = 64 / sizeof(ROW) };
  V s[SUM_VECTORS];
  FKD_UNROLL
  for (int u = 0; u < vectors; ++u) s[u] = vset1(0);
  for (int64_t i = 0; i < n; ++i) {
    const ROW *p = rows[i] + c;
    if (ahead) {
      FKD_UNROLL
      for (int k = 0; k < vectors * VL; k += LINE) FKD_PREFETCH_FAR(p + ahead + k);
    }
    if (weights) {
      const V w = vset1(weights[i]);
      FKD_UNROLL
      for (int u = 0; u < vectors; ++u) s[u] = s[u] + w * wload(p + u * VL);
    } else {
      FKD_UNROLL
      for (int u = 0; u < vectors; ++u) s[u] = vfma(wload(p + u * VL), vset1(1), s[u]);
    }
  }
  FKD_UNROLL
  for (int u = 0; u < vectors; ++u) vstore(sums + u * VL, s[u]);
}

/* The same for `have` <= SUM_COLUMNS columns, and the mean without weights */
FKD_INLINE void sum_tile(const ROW *const *rows, int64_t n, const double *weights, int64_t c, int64_t have, int64_t ahead, double *sums) {
  int64_t k = 0;
  if (have == SUM_COLUMNS) {
    if (!weights) sum_columns(rows, n, NULL, c, SUM_VECTORS, ahead, sums);
    else sum_columns(rows, n, weights, c, SUM_VECTORS, ahead, sums);
    k = have;
  }
  for (; k + VL <= have; k += VL) sum_columns(rows, n, weights, c + k, 1, 0, sums + k);
  for (; k < have; ++k) {
    sums[k] = 0;
    for (int64_t i = 0; i < n; ++i) sums[k] = sums[k] + (weights ? weights[i] : 1) * (double)rows[i][c + k];
  }
  if (!weights) {
    const double share = 1 / (double)n;
    for (int j = 0; j < SUM_COLUMNS; ++j) sums[j] = sums[j] * share;
  }
}

/* How far ahead of column c to fetch: two tiles, where rows come from memory and go on that far. */
FKD_INLINE int64_t sum_ahead(int64_t n, int64_t c, int64_t c0, int64_t c1) {
  return n * (c1 - c0) * (int64_t)sizeof(ROW) > 1 << 21 && c + 3 * SUM_COLUMNS <= c1 ? 2 * SUM_COLUMNS : 0;
}

static int ROWS_(fkd_combine)(const ROW *const *rows, int64_t n, const double *weights, int64_t c0, int64_t c1, ROW *out) {
  double sums[SUM_COLUMNS];
  int finite = 1;
  memset(sums, 0, sizeof sums);
  for (int64_t c = c0; c < c1; c += SUM_COLUMNS) {
    const int64_t have = c1 - c < SUM_COLUMNS ? c1 - c : SUM_COLUMNS;
    int64_t k = 0;
    sum_tile(rows, n, weights, c, have, sum_ahead(n, c, c0, c1), sums);
    for (; k + VL <= have; k += VL) wstore(out + c + k, vload(sums + k));
    for (; k < have; ++k) out[c + k] = (ROW)sums[k];
    finite &= ROWS_(fkd_finite)(out + c, have);
  }
  return finite;
}

static double ROWS_(fkd_gap)(const ROW *const *rows, int64_t n, const double *weights, int64_t c0, int64_t c1, const ROW *at,
                             double scale) {
  double sums[SUM_COLUMNS], t[8];
  V s[RV];
  for (int u = 0; u < RV; ++u) s[u] = vset1(0);
  memset(t, 0, sizeof t), memset(sums, 0, sizeof sums);
  for (int64_t c = c0; c < c1; c += SUM_COLUMNS) {
    const int64_t have = c1 - c < SUM_COLUMNS ? c1 - c : SUM_COLUMNS;
    int64_t k = 0;
    sum_tile(rows, n, weights, c, have, sum_ahead(n, c, c0, c1), sums);
    for (; k + 8 <= have; k += 8) {
      ROW mean[8];
      FKD_UNROLL
      for (int u = 0; u < RV; ++u) {
        wstore(mean + u * VL, vmin(vmax(vload(sums + k + u * VL), vset1(-ROW_MAX)), vset1(ROW_MAX)));
        const V e = wload(at + c + k + u * VL) * vset1(scale) - wload(mean + u * VL) * vset1(scale);
        s[u] = s[u] + e * e;
      }
    }
    for (int64_t j = 0; k + j < have; ++j) { /* less than 8 columns, the last ones */
      const double e = (double)at[c + k + j] * scale - (double)(ROW)fmin(fmax(sums[k + j], -ROW_MAX), ROW_MAX) * scale;
      t[j] += e * e;
    }
  }
  double r[8];
  for (int u = 0; u < RV; ++u) vstore(r + u * VL, s[u]);
  for (int j = 0; j < 8; ++j) t[j] += r[j];
  return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}
#undef ROWS_
#undef wload
#undef wstore
#undef tile_distances
#undef sum_columns
#undef sum_tile
#undef sum_ahead
#undef SUM_VECTORS
#undef SUM_COLUMNS
