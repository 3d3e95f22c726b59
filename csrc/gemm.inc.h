/* gemm.inc.h: the one matrix product behind forward, backward and prediction.
 *
 *   C (M x N) = [C +] A (M x K) B (K x N),   A[m, k] at A + m * rs + k * cs with rs or cs = 1, so that A may be a
 * transpose
 *
 * Columns are in lanes: B and C have rows of N rounded up to VL reals (ldb, ldc >= that), their padding is computed
 * along. R x J register tiles: R rows of A broadcast against J vectors of B; K in blocks so that a panel of B stays in
 * L1. Each tile is a function of its own, else the compiler keeps the addresses of all of them on the stack. M rows are
 * shared out evenly: no tile is left with one row, whose sums would wait for each other. */

#define gemm_job FN(gemm_job)
#define gemm_tile FN(gemm_tile)
#define gemm FN(gemm)
#define round_up FN(round_up)
#define leading FN(leading)

FKD_INLINE int64_t round_up(int64_t n) { return (n + VL - 1) / VL * VL; }
/* row length in memory: a power of two would put all rows into the same cache sets */
FKD_INLINE int64_t leading(int64_t n) {
  int64_t r = round_up(n);
  return r * (int64_t)sizeof(REAL) % 512 ? r : r + (VL > 4 ? VL : 4);
}

#ifndef GEMM_ADD
#define GEMM_ADD 1   /* start from C instead of 0 */
#define GEMM_BIAS 2  /* start from row K of B, where the layers keep their bias */
#define GEMM_RELU 4  /* C = max(0, .) */
#define GEMM_MASK 8  /* C = . where mask > 0, else 0; mask has the shape of C (else it is not read) */
#define GEMM_ROWS 12 /* of the highest tile */

/* tiles of each width, as many rows as the registers hold */
#define GEMM_TILES_1(X, J) X(1, J) X(2, J) X(3, J) X(4, J) X(5, J) X(6, J) X(7, J) X(8, J)
#if defined(FKD_AVX512) || defined(FKD_NEON) /* 32 registers */
/* clang-format off */
#define GEMM_TILES(X) \
  GEMM_TILES_1(X, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1) \
  GEMM_TILES_1(X, 2) \
  X(1, 3) X(2, 3) X(3, 3) X(4, 3) X(5, 3) X(6, 3) \
  X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4)
/* clang-format on */
#define GEMM_J 4
static const unsigned char gemm_most[] = {0, 12, 8, 6, 6};
#else /* 16 */
#define GEMM_TILES(X) GEMM_TILES_1(X, 1) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2)
#define GEMM_J 2
static const unsigned char gemm_most[] = {0, 8, 6};
#endif
#endif

/* a panel: J vectors of columns; s is the stride of A that is not 1 */
typedef struct {
  const REAL *A, *B, *bias, *mask;
  REAL *C;
  ptrdiff_t s, ldb, ldc;
  int64_t K;
  int flags;
} gemm_job;

FKD_INLINE void gemm_tile(const int R, const int J, const int by_rows, const gemm_job *g, int64_t m) {
  const ptrdiff_t rs = by_rows ? g->s : 1, cs = by_rows ? 1 : g->s, ldb = g->ldb, ldc = g->ldc;
  const REAL *a = g->A + m * rs, *b = g->B;
  const int flags = g->flags;
  V acc[GEMM_ROWS][GEMM_J];
#define GEMM_WALK(p, from) \
  p = (from) + m * ldc;    \
  FKD_UNROLL               \
  for (int r = 0; r < R;   \
       ++r, p += ldc) /* hidden, or all R * J addresses are worked out in advance, and again for each use */
#define GEMM_EACH \
  FKD_UNROLL      \
  for (int j = 0; j < J; ++j)
  if (flags & GEMM_ADD) {
    const REAL *GEMM_WALK(c, g->C) {
      FKD_HIDE(c);
      GEMM_EACH acc[r][j] = vload(c + j * VL);
    }
  } else {
    V v[GEMM_J];
    GEMM_EACH v[j] = flags & GEMM_BIAS ? vload(g->bias + j * VL) : vset1(0);
    FKD_UNROLL
    for (int r = 0; r < R; ++r) GEMM_EACH acc[r][j] = v[j];
  }
  for (int64_t k = g->K; k > 0; --k, a += cs, b += ldb) {
    V v[GEMM_J];
    GEMM_EACH v[j] = vload(b + j * VL);
    FKD_UNROLL
    for (int r = 0; r < R; ++r) {
      V x = vset1(a[r * rs]);
      GEMM_EACH acc[r][j] = vfma(x, v[j], acc[r][j]);
    }
  }
  if (flags & GEMM_RELU) {
    FKD_UNROLL
    for (int r = 0; r < R; ++r) GEMM_EACH acc[r][j] = vmax(vset1(0), acc[r][j]); /* a NaN stays NaN */
  }
  if (flags & GEMM_MASK) {
    const REAL *GEMM_WALK(c, g->mask) {
      FKD_HIDE(c);
      GEMM_EACH acc[r][j] = vgate(acc[r][j], vload(c + j * VL));
    }
  }
  REAL *GEMM_WALK(c, g->C) {
    FKD_HIDE(c);
    GEMM_EACH vstore(c + j * VL, acc[r][j]);
  }
#undef GEMM_WALK
#undef GEMM_EACH
}

#define gemm_fn FN(gemm_fn)
#define gemm_by_rows FN(gemm_by_rows)
#define gemm_by_columns FN(gemm_by_columns)
typedef void (*gemm_fn)(const gemm_job *g, int64_t m);
#define GEMM_DEFINE(R, J)                                                                                  \
  static FKD_NOINLINE void FN(gemm_r##R##_##J)(const gemm_job *g, int64_t m) { gemm_tile(R, J, 1, g, m); } \
  static FKD_NOINLINE void FN(gemm_c##R##_##J)(const gemm_job *g, int64_t m) { gemm_tile(R, J, 0, g, m); }
GEMM_TILES(GEMM_DEFINE)
#undef GEMM_DEFINE
#define GEMM_ENTRY(R, J) [J][R] = FN(gemm_r##R##_##J),
static const gemm_fn gemm_by_rows[GEMM_J + 1][GEMM_ROWS + 1] = {GEMM_TILES(GEMM_ENTRY)};
#undef GEMM_ENTRY
#define GEMM_ENTRY(R, J) [J][R] = FN(gemm_c##R##_##J),
static const gemm_fn gemm_by_columns[GEMM_J + 1][GEMM_ROWS + 1] = {GEMM_TILES(GEMM_ENTRY)};
#undef GEMM_ENTRY

static void gemm(const REAL *A, ptrdiff_t rs, ptrdiff_t cs, const REAL *B, ptrdiff_t ldb, int64_t M, int64_t N,
                 int64_t K, REAL *C, ptrdiff_t ldc, int flags, const REAL *mask) {
  const int64_t nv = round_up(N) / VL;
  for (int64_t j = 0; j < nv;) {
    const int64_t left = nv - j, J = left <= GEMM_J ? left : left == GEMM_J + 1 && GEMM_J > 2 ? GEMM_J - 1 : GEMM_J;
    const int64_t step = 24576 / (J * VL * (int64_t)sizeof(REAL));
    const gemm_fn *tiles = rs == 1 ? gemm_by_columns[J] : gemm_by_rows[J];
    for (int64_t k = 0; k < K || k == 0; k += step) {
      const int64_t depth = K - k < step ? K - k : step;
      const int last = k + step >= K;
      const gemm_job g = {
          .A = A + k * cs,
          .B = B + k * ldb + j * VL,
          .bias = B + K * ldb + j * VL,
          .mask = mask + j * VL,
          .C = C + j * VL,
          .s = rs == 1 ? cs : rs,
          .ldb = ldb,
          .ldc = ldc,
          .K = depth,
          .flags = (k ? GEMM_ADD : flags & (GEMM_ADD | GEMM_BIAS)) | (last ? flags & (GEMM_RELU | GEMM_MASK) : 0)};
      int64_t tiles_left = (M + gemm_most[J] - 1) / gemm_most[J];
      for (int64_t m = 0; m < M; --tiles_left) {
        const int64_t rows = (M - m + tiles_left - 1) / tiles_left;
        tiles[rows](&g, m);
        m += rows;
      }
    }
    j += J;
  }
}

/* one row: S partial sums a vector hide the latency of the adds */
#define gemv_panel FN(gemv_panel)
#define gemv FN(gemv)
FKD_INLINE void gemv_panel(const int J, const int S, const REAL *restrict x, const REAL *restrict B, ptrdiff_t ldb,
                           int64_t K, REAL *restrict y, int relu) {
  V acc[8][4];
  FKD_UNROLL
  for (int s = 0; s < S; ++s) FKD_UNROLL
  for (int j = 0; j < J; ++j) acc[s][j] = s ? vset1(0) : vload(B + K * ldb + j * VL);
  int64_t k = 0;
  for (; k + S <= K; k += S) FKD_UNROLL
  for (int s = 0; s < S; ++s) FKD_UNROLL
  for (int j = 0; j < J; ++j) acc[s][j] = vfma(vset1(x[k + s]), vload(B + (k + s) * ldb + j * VL), acc[s][j]);
  for (; k < K; ++k) FKD_UNROLL
  for (int j = 0; j < J; ++j) acc[0][j] = vfma(vset1(x[k]), vload(B + k * ldb + j * VL), acc[0][j]);
#define GEMV_FOLD(h)                       \
  if (S > (h)) FKD_UNROLL                  \
  for (int s = 0; s < (h); ++s) FKD_UNROLL \
  for (int j = 0; j < J; ++j) acc[s][j] = acc[s][j] + acc[s + (h)][j]
  GEMV_FOLD(4);
  GEMV_FOLD(2);
  GEMV_FOLD(1);
#undef GEMV_FOLD
  FKD_UNROLL
  for (int j = 0; j < J; ++j) vstore(y + j * VL, relu ? vmax(vset1(0), acc[0][j]) : acc[0][j]);
}

/* y = x B + row K of B */
static void gemv(const REAL *x, const REAL *B, ptrdiff_t ldb, int64_t N, int64_t K, REAL *y, int relu) {
  int64_t j = 0, nv = round_up(N) / VL;
  for (; nv - j >= 4; j += 4) gemv_panel(4, 2, x, B + j * VL, ldb, K, y + j * VL, relu);
  if (nv - j >= 2) gemv_panel(2, 4, x, B + j * VL, ldb, K, y + j * VL, relu), j += 2;
  if (nv - j >= 1) gemv_panel(1, 8, x, B + j * VL, ldb, K, y + j * VL, relu);
}

/* the same in the order of gemm: its bits */
#define gemv_in_order FN(gemv_in_order)
static void gemv_in_order(const REAL *x, const REAL *B, ptrdiff_t ldb, int64_t N, int64_t K, REAL *y, int relu) {
  int64_t j = 0, nv = round_up(N) / VL;
  for (; nv - j >= 4; j += 4) gemv_panel(4, 1, x, B + j * VL, ldb, K, y + j * VL, relu);
  if (nv - j >= 2) gemv_panel(2, 1, x, B + j * VL, ldb, K, y + j * VL, relu), j += 2;
  if (nv - j >= 1) gemv_panel(1, 1, x, B + j * VL, ldb, K, y + j * VL, relu);
}
