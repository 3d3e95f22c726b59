/* distances.inc.h: squared distances between rows in their own precision and with fused multiply-add: a first look, which most often does. */
#ifndef FKD_TURNS
#define FKD_TURNS
/* The t-th group of worker `first` of `step`: 0 1 2 | 2 1 0 | 0 1 2 ... */
FKD_INLINE int64_t turn_of(int64_t t, int64_t first, int64_t step) { return t * step + (t % 2 ? step - 1 - first : first); }
#endif
#define rough_tile FN(rough_tile)
#define rough_tiles FN(rough_tiles)
#define ROUGH_STEPS 64 /* squares that a lane sums before they go into a double */
#define ROUGH_COLUMNS (ROUGH_STEPS * VL)
#define ROUGH_ROWS 128 /* whose columns stay in L2 */
#if defined(FKD_AVX512) || defined(FKD_NEON)
#define ROUGH_WIDE 1 /* registers for 4 x 4 sums */
#else
#define ROUGH_WIDE 0
#endif

/* Adds the distances of ti x tj rows, or of the pairs within tj rows if `same`, over `have` columns; ti, tj and `same` are constants.
 * Differences are rounded once, so a common offset costs nothing; fewer than 136 roundings each, besides those of the sums in double.
 * `fetch`: as many columns to fetch meanwhile, those of one row in the next block, so that arithmetic seldom waits for memory; or NULL. */
FKD_INLINE void rough_tile(const REAL *const *a, int ti, const REAL *const *b, int tj, int same, int64_t at, int64_t have,
                           const REAL *fetch, double *out, int64_t n) {
  V s[4][4];
  FKD_UNROLL
  for (int i = 0; i < 4; ++i) {
    FKD_UNROLL
    for (int j = 0; j < 4; ++j) s[i][j] = vset1(0);
  }
#define ROUGH_STEP(LOAD)                                  \
  do {                                                    \
    V y[4];                                               \
    FKD_UNROLL                                            \
    for (int j = 0; j < tj; ++j) {                        \
      const REAL *p = b[j] + c;                           \
      y[j] = LOAD;                                        \
    }                                                     \
    FKD_UNROLL                                            \
    for (int i = 0; i < ti; ++i) {                        \
      const REAL *p = a[i] + c;                           \
      const V x = same ? y[i] : LOAD;                     \
      FKD_UNROLL                                          \
      for (int j = same ? i + 1 : 0; j < tj; ++j) {       \
        const V e = x - y[j];                             \
        s[i][j] = vfma(e, e, s[i][j]);                    \
      }                                                   \
    }                                                     \
  } while (0)
  int64_t c = at;
  if (fetch)
    for (; c + VL <= at + have; c += VL) {
      FKD_PREFETCH_FAR(fetch + (c - at));
      ROUGH_STEP(vload(p));
    }
  else
    for (; c + VL <= at + have; c += VL) ROUGH_STEP(vload(p));
  if (c < at + have) ROUGH_STEP(load_part(p, at + have - c, 0));
#undef ROUGH_STEP
  FKD_UNROLL
  for (int i = 0; i < ti; ++i) {
    FKD_UNROLL
    for (int j = same ? i + 1 : 0; j < tj; ++j) out[i * n + j] += (double)fold_sum(s[i][j]);
  }
}

/* rows g .. with the tj rows j ..; g and j are multiples of 4, and g is followed by 4 rows unless it is j */
FKD_INLINE void rough_tiles(const REAL *const *rows, int64_t g, int64_t j, int tj, int64_t at, int64_t have, const REAL *fetch,
                            double *out, int64_t n) {
  const REAL *const *a = rows + g, *const *b = rows + j;
  double *to = out + g * n + j;
  if (g == j) switch (tj) {
      case 4: rough_tile(a, 4, b, 4, 1, at, have, NULL, to, n); break;
      case 3: rough_tile(a, 3, b, 3, 1, at, have, NULL, to, n); break;
      case 2: rough_tile(a, 2, b, 2, 1, at, have, NULL, to, n); break;
      default: break;
    }
  else if (tj == 1) rough_tile(a, 4, b, 1, 0, at, have, NULL, to, n);
#if ROUGH_WIDE
  else if (tj == 4) rough_tile(a, 4, b, 4, 0, at, have, fetch, to, n);
  else if (tj == 3) rough_tile(a, 4, b, 3, 0, at, have, NULL, to, n);
#else
  else if (tj > 2) {
    rough_tile(a, 4, b, 2, 0, at, have, fetch, to, n);
    if (tj == 4) rough_tile(a, 4, b + 2, 2, 0, at, have, NULL, to + 2, n);
    else rough_tile(a, 4, b + 2, 1, 0, at, have, NULL, to + 2, n);
  }
#endif
  else rough_tile(a, 4, b, 2, 0, at, have, NULL, to, n);
}

static void FN(fkd_rough_distances)(const REAL *const *rows, int64_t n, int64_t d, int64_t first, int64_t step, double *out) {
  const int64_t groups = (n + 3) / 4, tiles = groups * (groups - 1) / 2 / step;
  const int64_t each = tiles > n ? tiles / n : 1; /* tiles, while a row of the next block is fetched */
  for (int64_t c = 0; c < d; c += ROUGH_COLUMNS) {
    const int64_t have = d - c < ROUGH_COLUMNS ? d - c : ROUGH_COLUMNS;
    int64_t tile = c + 2 * ROUGH_COLUMNS <= d ? 0 : n * each;
    for (int64_t top = 0; top < n; top += ROUGH_ROWS)
      for (int64_t t = 0, g; g = 4 * turn_of(t, first, step), g < n && g < top + ROUGH_ROWS; ++t)
        for (int64_t j = g > top ? g : top; j < n && j < top + ROUGH_ROWS; j += 4) {
          const REAL *fetch = g < j && tile % each == 0 && tile / each < n ? rows[tile / each] + c + ROUGH_COLUMNS : NULL;
          rough_tiles(rows, g, j, n - j < 4 ? (int)(n - j) : 4, c, have, fetch, out, n);
          tile += g < j;
        }
  }
}
#undef ROUGH_STEPS
#undef ROUGH_COLUMNS
#undef ROUGH_ROWS
#undef ROUGH_WIDE
#undef rough_tile
#undef rough_tiles
