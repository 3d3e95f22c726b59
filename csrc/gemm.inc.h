/* gemm.inc.h: the one matrix product behind forward, backward and prediction.
 *
 *   C (M x N) = [C +] A (M x K) B (K x N),   A[m, k] at A + m * rs + k * cs with rs or cs = 1, so that A may be a transpose
 *
 * Columns are in lanes: B and C have rows of N rounded up to VL reals (ldb, ldc >= that), their padding is computed along.
 * R x J register tiles: R rows of A broadcast against J vectors of B; K in blocks so that a panel of B stays in L1. */

#define gemm_tile FN(gemm_tile)
#define gemm_panel FN(gemm_panel)
#define gemm FN(gemm)
#define round_up FN(round_up)
#define leading FN(leading)

FKD_INLINE int64_t round_up(int64_t n) { return (n + VL - 1) / VL * VL; }
/* row length in memory: a power of two would put all rows into the same cache sets */
FKD_INLINE int64_t leading(int64_t n) {
  int64_t r = round_up(n);
  return r * (int64_t)sizeof(REAL) % 512 ? r : r + (VL > 4 ? VL : 4);
}

#undef GEMM_J
#undef GEMM_R2
#undef GEMM_R4
#undef GEMM_R1
#if defined(FKD_AVX512) || defined(FKD_NEON)
#define GEMM_J 4 /* 32 registers */
#define GEMM_R4 6
#define GEMM_R2 8
#define GEMM_R1 8
#else
#define GEMM_J 2 /* 16 registers */
#define GEMM_R2 6
#define GEMM_R1 8
#endif
#ifndef GEMM_ADD
#define GEMM_ADD 1  /* start from C instead of 0 */
#define GEMM_BIAS 2 /* start from row K of B, where the layers keep their bias */
#define GEMM_RELU 4 /* C = max(0, .) */
#define GEMM_MASK 8 /* C = . where mask > 0, else 0; mask has the shape of C (else it is not read) */
#endif

FKD_INLINE void gemm_tile(const int R, const int J, const REAL *restrict A, ptrdiff_t rs, ptrdiff_t cs, const REAL *restrict B, ptrdiff_t ldb,
                          int64_t K, REAL *restrict C, ptrdiff_t ldc, int flags, const REAL *bias, const REAL *mask) {
  V acc[8][4];
  FKD_UNROLL
  for (int r = 0; r < R; ++r)
    FKD_UNROLL
    for (int j = 0; j < J; ++j) 
      acc[r][j] = flags & GEMM_ADD ? vload(C + r * ldc + j * VL) : flags & GEMM_BIAS ? vload(bias + j * VL) : vset1(0);
  for (int64_t k = 0; k < K; ++k) {
    V b[4];
    FKD_UNROLL
    for (int j = 0; j < J; ++j) b[j] = vload(B + k * ldb + j * VL);
    FKD_UNROLL
    for (int r = 0; r < R; ++r) {
      V a = vset1(A[r * rs + k * cs]);
      FKD_UNROLL
      for (int j = 0; j < J; ++j) acc[r][j] = vfma(a, b[j], acc[r][j]);
    }
  }
  FKD_UNROLL
  for (int r = 0; r < R; ++r)
    FKD_UNROLL
    for (int j = 0; j < J; ++j) {
      V x = acc[r][j];
      if (flags & GEMM_RELU) x = vmax(vset1(0), x); /* a NaN stays NaN */
      if (flags & GEMM_MASK) x = vsel(VCMP(vload(mask + r * ldc + j * VL), >, vset1(0)), x, vset1(0));
      vstore(C + r * ldc + j * VL, x);
    }
}

#define GEMM_ROWS(R) \
  for (; m + (R) <= M; m += (R)) \
  gemm_tile(R, J, A + m * rs, rs, cs, B, ldb, K, C + m * ldc, ldc, flags, bias, mask + m * ldc)
FKD_INLINE void gemm_panel(const int J, const REAL *A, ptrdiff_t rs, ptrdiff_t cs, const REAL *B, ptrdiff_t ldb, int64_t M, int64_t K, REAL *C,
                           ptrdiff_t ldc, int flags, const REAL *bias, const REAL *mask) {
  int64_t m = 0;
  if (J == 1) {
    GEMM_ROWS(GEMM_R1);
  } else if (J == 2) {
    GEMM_ROWS(GEMM_R2);
  }
#ifdef GEMM_R4
  if (J == 4) {
    GEMM_ROWS(GEMM_R4);
  }
#endif
  GEMM_ROWS(4);
  GEMM_ROWS(2);
  GEMM_ROWS(1);
}
#undef GEMM_ROWS

static void gemm(const REAL *A, ptrdiff_t rs, ptrdiff_t cs, const REAL *B, ptrdiff_t ldb, int64_t M, int64_t N, int64_t K, REAL *C, ptrdiff_t ldc,
                 int flags, const REAL *mask) {
  const int64_t nv = round_up(N) / VL;
  for (int64_t j = 0; j < nv;) {
    const int J = nv - j >= GEMM_J ? GEMM_J : nv - j >= 2 ? 2 : 1;
    const int64_t step = 24576 / (J * VL * (int64_t)sizeof(REAL));
    for (int64_t k = 0; k < K || k == 0; k += step) {
      const int64_t kk = K - k < step ? K - k : step;
      const int last = k + step >= K;
      const int f = (k ? GEMM_ADD : flags & (GEMM_ADD | GEMM_BIAS)) | (last ? flags & (GEMM_RELU | GEMM_MASK) : 0);
      const REAL *a = A + k * cs, *b = B + k * ldb + j * VL, *bias = B + K * ldb + j * VL, *mk = mask + j * VL;
      REAL *c = C + j * VL;
#define GEMM_PANEL(J) /* one of the strides is 1: known to the compiler, it frees the registers of addresses */ \
  (rs == 1 ? gemm_panel(J, a, 1, cs, b, ldb, M, kk, c, ldc, f, bias, mk) : gemm_panel(J, a, rs, 1, b, ldb, M, kk, c, ldc, f, bias, mk))
      if (J == 1) GEMM_PANEL(1);
      else if (J == 2) GEMM_PANEL(2);
#if GEMM_J == 4
      else GEMM_PANEL(4);
#endif
    }
    j += J;
#undef GEMM_PANEL
  }
}

/* one row: S partial sums a vector hide the latency of the adds */
#define gemv_panel FN(gemv_panel)
#define gemv FN(gemv)
FKD_INLINE void gemv_panel(const int J, const int S, const REAL *restrict x, const REAL *restrict B, ptrdiff_t ldb, int64_t K, REAL *restrict y,
                           int relu) {
  V acc[8][4];
  FKD_UNROLL
  for (int s = 0; s < S; ++s)
    FKD_UNROLL
    for (int j = 0; j < J; ++j) acc[s][j] = s ? vset1(0) : vload(B + K * ldb + j * VL);
  int64_t k = 0;
  for (; k + S <= K; k += S)
    FKD_UNROLL
    for (int s = 0; s < S; ++s)
      FKD_UNROLL
      for (int j = 0; j < J; ++j) acc[s][j] = vfma(vset1(x[k + s]), vload(B + (k + s) * ldb + j * VL), acc[s][j]);
  for (; k < K; ++k)
    FKD_UNROLL
    for (int j = 0; j < J; ++j) acc[0][j] = vfma(vset1(x[k]), vload(B + k * ldb + j * VL), acc[0][j]);
#define GEMV_FOLD(h)   \
  if (S > (h))         \
    FKD_UNROLL         \
    for (int s = 0; s < (h); ++s) \
      FKD_UNROLL       \
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
