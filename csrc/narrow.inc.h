/* narrow.inc.h: a last layer of one to four outputs, as most classifiers have. In lanes its outputs would leave most of
 * a vector empty; here its inputs are in lanes, against the transposed weights. */

#define narrow_forward FN(narrow_forward)
#define narrow_backward FN(narrow_backward)
#define narrow_sums FN(narrow_sums)
#define narrow_z FN(narrow_z)
#define narrow_g FN(narrow_g)

#undef FEW_OUTPUTS
#if FKD_BITS == 32 && (defined(FKD_AVX512) || defined(FKD_AVX2))
#define FEW_OUTPUTS 4

#if defined(FKD_AVX512)
#define NARROW_ROWS 4
#define NARROW_LO _mm512_unpacklo_ps
#define NARROW_HI _mm512_unpackhi_ps
#define NARROW_SHUF _mm512_shuffle_ps
/* in x[i]: for row i four partial sums of each output, one a 128-bit part; then the whole sums of row i in part i */
FKD_INLINE V narrow_sums(const V *x) {
  V a = _mm512_shuffle_f32x4(x[0], x[1], 0x88) + _mm512_shuffle_f32x4(x[0], x[1], 0xDD);
  V b = _mm512_shuffle_f32x4(x[2], x[3], 0x88) + _mm512_shuffle_f32x4(x[2], x[3], 0xDD);
  return _mm512_shuffle_f32x4(a, b, 0x88) + _mm512_shuffle_f32x4(a, b, 0xDD);
}
/* part i of x, and zeros */
#define NARROW_PART(x, i) _mm512_zextps128_ps512(_mm512_extractf32x4_ps(x, i))
#define NARROW_SPREAD(p) _mm512_broadcast_f32x4(_mm_loadu_ps(p))
#else
#define NARROW_ROWS 2
#define NARROW_LO _mm256_unpacklo_ps
#define NARROW_HI _mm256_unpackhi_ps
#define NARROW_SHUF _mm256_shuffle_ps
FKD_INLINE V narrow_sums(const V *x) {
  return _mm256_permute2f128_ps(x[0], x[1], 0x20) + _mm256_permute2f128_ps(x[0], x[1], 0x31);
}
#define NARROW_PART(x, i) _mm256_zextps128_ps256(_mm256_extractf128_ps(x, i))
#define NARROW_SPREAD(p) _mm256_broadcast_ps((const __m128 *)(p))
#endif

/* z (rows of one vector each, zeros behind the outputs) = a (rows, n) W + bias; wt (C, ldt) with zeros up to a whole
 * vector */
FKD_INLINE void narrow_z(const int C, const REAL *a, ptrdiff_t lda, const REAL *wt, ptrdiff_t ldt, const REAL *bias,
                         int64_t n, int64_t rows, REAL *z, ptrdiff_t ldz) {
  for (int64_t r = 0; r < rows; r += NARROW_ROWS) {
    V x[NARROW_ROWS], acc[NARROW_ROWS][FEW_OUTPUTS];
    const REAL *p[NARROW_ROWS];
    FKD_UNROLL
    for (int i = 0; i < NARROW_ROWS; ++i) {
      p[i] = a + (r + i < rows ? r + i : rows - 1) * lda;
      FKD_UNROLL
      for (int c = 0; c < FEW_OUTPUTS; ++c) acc[i][c] = vset1(0);
    }
    for (int64_t k = 0; k < n; k += VL) {
      FKD_UNROLL
      for (int i = 0; i < NARROW_ROWS; ++i) x[i] = vload(p[i] + k);
      FKD_UNROLL
      for (int c = 0; c < C; ++c) {
        const V w = vload(wt + c * ldt + k);
        FKD_UNROLL
        for (int i = 0; i < NARROW_ROWS; ++i) acc[i][c] = vfma(w, x[i], acc[i][c]);
      }
    }
    FKD_UNROLL
    for (int i = 0; i < NARROW_ROWS; ++i) { /* within each 128-bit part: output c in lane c */
      V ab = NARROW_LO(acc[i][0], acc[i][1]) + NARROW_HI(acc[i][0], acc[i][1]);
      V cd = NARROW_LO(acc[i][2], acc[i][3]) + NARROW_HI(acc[i][2], acc[i][3]);
      x[i] = NARROW_SHUF(ab, cd, 0x44) + NARROW_SHUF(ab, cd, 0xEE);
    }
    const V sums = narrow_sums(x) + NARROW_SPREAD(bias);
#define NARROW_STORE(i) \
  if (r + (i) < rows) vstore(z + (r + (i)) * ldz, NARROW_PART(sums, i))
    NARROW_STORE(0);
    NARROW_STORE(1);
#if NARROW_ROWS == 4
    NARROW_STORE(2);
    NARROW_STORE(3);
#endif
#undef NARROW_STORE
  }
}

/* J vectors of inputs: their rows of g (ldg) [+]= a^T d, and e = d wt, if gated only where a > 0 */
FKD_INLINE void narrow_g(const int C, const int J, const REAL *a, ptrdiff_t lda, const REAL *d, ptrdiff_t ldd,
                         const REAL *wt, ptrdiff_t ldt, int64_t n, int64_t rows, int add, int gated, REAL *e, REAL *g,
                         ptrdiff_t ldg) {
  V acc[FEW_OUTPUTS][2], w[FEW_OUTPUTS][2];
  FKD_UNROLL
  for (int c = 0; c < C; ++c) FKD_UNROLL
  for (int j = 0; j < J; ++j) acc[c][j] = vset1(0), w[c][j] = vload(wt + c * ldt + j * VL);
  for (int64_t r = 0; r < rows; ++r) {
    V s[FEW_OUTPUTS];
    FKD_UNROLL
    for (int c = 0; c < C; ++c) s[c] = vset1(d[r * ldd + c]);
    FKD_UNROLL
    for (int j = 0; j < J; ++j) {
      const V x = vload(a + r * lda + j * VL);
      V y = s[0] * w[0][j];
      acc[0][j] = vfma(s[0], x, acc[0][j]);
      FKD_UNROLL
      for (int c = 1; c < C; ++c) y = vfma(s[c], w[c][j], y), acc[c][j] = vfma(s[c], x, acc[c][j]);
      vstore(e + r * lda + j * VL, gated ? vgate(y, x) : y);
    }
  }
  FKD_UNROLL
  for (int j = 0; j < J; ++j) {
    REAL t[VL * FEW_OUTPUTS];
    V column[FEW_OUTPUTS];
    FKD_UNROLL
    for (int c = 0; c < FEW_OUTPUTS; ++c) column[c] = c < C ? acc[c][j] : vset1(0);
    store_columns(t, FEW_OUTPUTS, FEW_OUTPUTS, column);
    for (int64_t i = 0; i < VL && j * VL + i < n; ++i) {
      REAL *to = g + (j * VL + i) * ldg;
      for (int c = 0; c < C; ++c) to[c] = add ? to[c] + t[i * FEW_OUTPUTS + c] : t[i * FEW_OUTPUTS + c];
    }
  }
}

/* a (rows, lda), z and d (rows, ldd), w (n + 1, ldw) with the bias as last row */
static void narrow_forward(int C, const REAL *a, ptrdiff_t lda, const REAL *wt, ptrdiff_t ldt, const REAL *bias,
                           int64_t n, int64_t rows, REAL *z, ptrdiff_t ldz) {
  if (C == 3) narrow_z(3, a, lda, wt, ldt, bias, n, rows, z, ldz);
  else if (C == 2) narrow_z(2, a, lda, wt, ldt, bias, n, rows, z, ldz);
  else if (C == 1) narrow_z(1, a, lda, wt, ldt, bias, n, rows, z, ldz);
  else narrow_z(4, a, lda, wt, ldt, bias, n, rows, z, ldz);
}

/* The gradient g (n + 1, ldg) of weights and bias, of which only columns 0 .. C - 1 are written, and the one of the
 * inputs in e (rows, lda). */
static void narrow_backward(int C, const REAL *a, ptrdiff_t lda, const REAL *d, ptrdiff_t ldd, const REAL *wt,
                            ptrdiff_t ldt, int64_t n, int64_t rows, int add, int gated, REAL *e, REAL *g,
                            ptrdiff_t ldg) {
  for (int64_t k = 0; k < n;) {
    const int J = n - k > VL ? 2 : 1;
#define NARROW_G(C, J) narrow_g(C, J, a + k, lda, d, ldd, wt + k, ldt, n - k, rows, add, gated, e + k, g + k * ldg, ldg)
#define NARROW_J(C)           \
  if (J == 2) NARROW_G(C, 2); \
  else NARROW_G(C, 1)
    if (C == 3) {
      NARROW_J(3);
    } else if (C == 2) {
      NARROW_J(2);
    } else if (C == 1) {
      NARROW_J(1);
    } else {
      NARROW_J(4);
    }
#undef NARROW_J
#undef NARROW_G
    k += J * VL;
  }
  V sum = vset1(0);
  for (int64_t r = 0; r < rows; ++r) sum = sum + vload(d + r * ldd);
  REAL t[VL];
  vstore(t, sum);
  for (int c = 0; c < C; ++c) g[n * ldg + c] = add ? g[n * ldg + c] + t[c] : t[c];
}
#undef NARROW_ROWS
#undef NARROW_LO
#undef NARROW_HI
#undef NARROW_SHUF
#undef NARROW_PART
#undef NARROW_SPREAD
#endif
