/* rows.inc.h: sums over rows that are separate arrays of ROW (float or double), in double. Included with FKD_BITS 64, once for each
 * ROW, whose suffix is ROW_SUFFIX, largest number ROW_MAX, and ROW_SINGLE 1 for float. Same bits on every ISA: 8 lanes, * and + in one
 * order. */
#define ROWS_(name) FKD_CAT(name, ROW_SUFFIX)
#define wload ROWS_(wload)
#define wstore ROWS_(wstore)
#define tile_distances ROWS_(tile_distances)
#define add_rows ROWS_(add_rows)
#define block_sums ROWS_(block_sums)
#define ROW_BLOCK 1024 /* whose sums stay in L1, while rows are read in long runs */

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
    for (int64_t g = first * FOUR; g < n; g += step * FOUR) /* groups of 4 rows are what workers share out, whatever TI is */
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

/* sums[k] += w[0] rows[0][k] + w[1] rows[1][k] ... one after the other, for `count` rows; fetches as much of the rows `ahead` meanwhile */
FKD_INLINE void add_rows(const ROW *const *rows, const double *w, int count, int64_t c, int64_t have, const ROW *const *ahead, int64_t at,
                         double *sums) {
  enum { LINE = 64 / sizeof(ROW) };
  int64_t k = 0;
  for (; k + LINE <= have; k += LINE) {
    FKD_UNROLL
    for (int i = 0; i < count; ++i) FKD_PREFETCH(ahead[i] + at + k);
    FKD_UNROLL
    for (int u = 0; u < LINE; u += VL) {
      V s = vload(sums + k + u);
      FKD_UNROLL
      for (int i = 0; i < count; ++i) s = s + vset1(w[i]) * wload(rows[i] + c + k + u);
      vstore(sums + k + u, s);
    }
  }
  for (; k < have; ++k)
    for (int i = 0; i < count; ++i) sums[k] = sums[k] + w[i] * (double)rows[i][c + k];
}

/* sums[k] = sum_i weights[i] rows[i][c + k] for `have` <= ROW_BLOCK columns of the c1 */
static void block_sums(const ROW *const *rows, int64_t n, const double *weights, int64_t c, int64_t have, int64_t c1, double *sums) {
  enum { FEW = 4 };
  int64_t i = 0;
  memset(sums, 0, (size_t)have * sizeof(double));
  for (; i + FEW <= n; i += FEW) {
    const int more = i + 2 * FEW <= n; /* rows in this block; else the first ones in the next, if that is whole */
    add_rows(rows + i, weights + i, FEW, c, have, rows + (more ? i + FEW : 0), more || c + 2 * ROW_BLOCK > c1 ? c : c + ROW_BLOCK, sums);
  }
  for (; i < n; ++i) add_rows(rows + i, weights + i, 1, c, have, rows + i, c, sums);
}

static void ROWS_(fkd_combine)(const ROW *const *rows, int64_t n, const double *weights, int64_t c0, int64_t c1, ROW *out) {
  double sums[ROW_BLOCK];
  for (int64_t c = c0; c < c1; c += ROW_BLOCK) {
    const int64_t have = c1 - c < ROW_BLOCK ? c1 - c : ROW_BLOCK;
    int64_t k = 0;
    block_sums(rows, n, weights, c, have, c1, sums);
    for (; k + VL <= have; k += VL) wstore(out + c + k, vload(sums + k));
    for (; k < have; ++k) out[c + k] = (ROW)sums[k];
  }
}

static double ROWS_(fkd_gap)(const ROW *const *rows, int64_t n, const double *weights, int64_t c0, int64_t c1, const ROW *at,
                             double scale) {
  double sums[ROW_BLOCK], t[8];
  V s[RV];
  for (int u = 0; u < RV; ++u) s[u] = vset1(0);
  memset(t, 0, sizeof t);
  for (int64_t c = c0; c < c1; c += ROW_BLOCK) {
    const int64_t have = c1 - c < ROW_BLOCK ? c1 - c : ROW_BLOCK;
    int64_t k = 0;
    block_sums(rows, n, weights, c, have, c1, sums);
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
#undef add_rows
#undef block_sums
#undef ROW_BLOCK
