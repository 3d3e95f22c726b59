/* distances.inc.h: squared distances between rows of floats in float, of which most clients need no more than six digits. */
#if FKD_BITS == 32
#if defined(FKD_AVX512)
#define TI 4
#else
#define TI 2
#endif
#define TJ 4
#define rough_tile FN(rough_tile)

/* TI x TJ distances over `have` columns. Differences are rounded once, so a common offset costs nothing; fewer than 136 roundings each. */
FKD_INLINE void rough_tile(const REAL *const *a, const REAL *const *b, const REAL *next, int64_t have, REAL sums[TI][TJ]) {
  V s[TI][TJ];
  int64_t c = 0;
  for (int i = 0; i < TI; ++i)
    for (int j = 0; j < TJ; ++j) s[i][j] = vset1(0);
#define ROUGH_STEP(LOAD)                      \
  do {                                        \
    V y[TJ];                                  \
    FKD_UNROLL                                \
    for (int j = 0; j < TJ; ++j) {            \
      const REAL *p = b[j] + c;               \
      y[j] = LOAD;                            \
    }                                         \
    FKD_UNROLL                                \
    for (int i = 0; i < TI; ++i) {            \
      const REAL *p = a[i] + c;               \
      const V x = LOAD;                       \
      FKD_UNROLL                              \
      for (int j = 0; j < TJ; ++j) {          \
        const V e = x - y[j];                 \
        s[i][j] = vfma(e, e, s[i][j]);        \
      }                                       \
    }                                         \
  } while (0)
  for (; c + VL <= have; c += VL) {
    FKD_PREFETCH(next + c);
    ROUGH_STEP(vload(p));
  }
  if (c < have) ROUGH_STEP(load_part(p, have - c, 0));
#undef ROUGH_STEP
  for (int i = 0; i < TI; ++i)
    for (int j = 0; j < TJ; ++j) sums[i][j] = fold_sum(s[i][j]);
}

static void FN(fkd_rough_distances)(const REAL *const *rows, int64_t n, int64_t d, int64_t first, int64_t step, double *out) {
  enum { COLUMNS = VL >= 8 ? 1024 : 128 * VL, FOUR = 4 }; /* a lane sums up to 128 squares before they go into a double */
  for (int64_t c = 0; c < d; c += COLUMNS) {
    const int64_t have = d - c < COLUMNS ? d - c : COLUMNS;
    for (int64_t g = first * FOUR; g < n; g += step * FOUR)
      for (int64_t i = g; i < g + FOUR && i < n; i += TI)
        for (int64_t j = i / TJ * TJ; j < n; j += TJ) {
          const REAL *a[TI], *b[TJ];
          REAL sums[TI][TJ];
          for (int k = 0; k < TI; ++k) a[k] = rows[i + k < n ? i + k : n - 1] + c;
          for (int k = 0; k < TJ; ++k) b[k] = rows[j + k < n ? j + k : n - 1] + c;
          /* the first tiles of a group fetch its rows of the next block, one each, so that memory never waits for arithmetic */
          const int64_t fetched = i + (j - i) / TJ < i + TI ? i + (j - i) / TJ : i + TI - 1;
          rough_tile(a, b, rows[fetched < n ? fetched : n - 1] + c + COLUMNS, have, sums);
          for (int p = 0; p < TI; ++p)
            for (int q = 0; q < TJ; ++q)
              if (i + p < j + q && j + q < n) out[(i + p) * n + j + q] += (double)sums[p][q];
        }
  }
}
#undef TI
#undef TJ
#undef rough_tile
#else
#define fkd_rough_distances_f64 fkd_sq_distances_f64
#endif
