/* columns.inc.h: between row-major rows of few classes and vectors with one row a lane.
 *
 * load_columns(p, stride, C, out): out[c] lane r = p[r * stride + c], r < VL, c < C <= FKD_COLUMNS.
 * store_columns(p, stride, C, in): the inverse; rows narrower than a piece that are padded (stride >= QW) get a zero up
 * to QW. C = 2 and 3 packed (stride == C) have their own shuffles; otherwise 128-bit pieces of rows are transposed QW
 * columns at a time, the last piece overlapping its neighbor; what is left (rows narrower than a piece) goes element by
 * element. */

#ifndef FKD_COLUMNS
#define FKD_COLUMNS 16
#endif
#define load_columns FN(load_columns)
#define store_columns FN(store_columns)
#define load_piece FN(load_piece)
#define load_loose FN(load_loose)
#define store_loose FN(store_loose)
#define store_piece FN(store_piece)
#define load_packed2 FN(load_packed2)
#define load_packed3 FN(load_packed3)
#define store_packed2 FN(store_packed2)
#define store_packed3 FN(store_packed3)

#undef QW
#undef FKD_PACKED
#if FKD_VBYTES >= 16
#define QW (128 / FKD_BITS) /* reals in a 128-bit piece */
#endif

#if defined(FKD_AVX512)
#define FKD_PACKED 1
#if FKD_BITS == 32
#define FKD_PIECE(p, s)                                                                                               \
  _mm512_insertf32x4(                                                                                                 \
      _mm512_insertf32x4(_mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(p)), _mm_loadu_ps((p) + 4 * (s)), 1), \
                         _mm_loadu_ps((p) + 8 * (s)), 2),                                                             \
      _mm_loadu_ps((p) + 12 * (s)), 3)
FKD_INLINE void load_piece(const float *p, ptrdiff_t s, V *out) {
  __m512 a = FKD_PIECE(p, s), b = FKD_PIECE(p + s, s), c = FKD_PIECE(p + 2 * s, s), d = FKD_PIECE(p + 3 * s, s);
  __m512 ab0 = _mm512_unpacklo_ps(a, b), ab1 = _mm512_unpackhi_ps(a, b), cd0 = _mm512_unpacklo_ps(c, d),
         cd1 = _mm512_unpackhi_ps(c, d);
  out[0] = _mm512_shuffle_ps(ab0, cd0, 0x44), out[1] = _mm512_shuffle_ps(ab0, cd0, 0xEE);
  out[2] = _mm512_shuffle_ps(ab1, cd1, 0x44), out[3] = _mm512_shuffle_ps(ab1, cd1, 0xEE);
}
FKD_INLINE void store_piece(float *p, ptrdiff_t s, const V *in) {
  __m512 ab0 = _mm512_unpacklo_ps(in[0], in[1]), ab1 = _mm512_unpackhi_ps(in[0], in[1]);
  __m512 cd0 = _mm512_unpacklo_ps(in[2], in[3]), cd1 = _mm512_unpackhi_ps(in[2], in[3]);
  __m512 r[4] = {_mm512_shuffle_ps(ab0, cd0, 0x44), _mm512_shuffle_ps(ab0, cd0, 0xEE),
                 _mm512_shuffle_ps(ab1, cd1, 0x44), _mm512_shuffle_ps(ab1, cd1, 0xEE)};
  FKD_UNROLL
  for (int k = 0; k < 4; ++k) {
    _mm_storeu_ps(p + k * s, _mm512_castps512_ps128(r[k]));
    _mm_storeu_ps(p + (k + 4) * s, _mm512_extractf32x4_ps(r[k], 1));
    _mm_storeu_ps(p + (k + 8) * s, _mm512_extractf32x4_ps(r[k], 2));
    _mm_storeu_ps(p + (k + 12) * s, _mm512_extractf32x4_ps(r[k], 3));
  }
}
#define IX(...) _mm512_setr_epi32(__VA_ARGS__)
FKD_INLINE void load_packed2(const float *p, V *out) {
  __m512 a = vload(p), b = vload(p + 16);
  out[0] = _mm512_permutex2var_ps(a, IX(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), b);
  out[1] = _mm512_permutex2var_ps(a, IX(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), b);
}
FKD_INLINE void store_packed2(float *p, const V *in) {
  vstore(p, _mm512_permutex2var_ps(in[0], IX(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), in[1]));
  vstore(p + 16,
         _mm512_permutex2var_ps(in[0], IX(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), in[1]));
}
FKD_INLINE void load_packed3(const float *p, V *out) { /* element r * 3 + c of 48 */
  __m512 a = vload(p), b = vload(p + 16), c = vload(p + 32);
  __m512 x = _mm512_permutex2var_ps(a, IX(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0), b);
  __m512 y = _mm512_permutex2var_ps(a, IX(1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0), b);
  __m512 z = _mm512_permutex2var_ps(a, IX(2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0), b);
  out[0] = _mm512_permutex2var_ps(x, IX(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29), c);
  out[1] = _mm512_permutex2var_ps(y, IX(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30), c);
  out[2] = _mm512_permutex2var_ps(z, IX(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31), c);
}
FKD_INLINE void store_packed3(float *p, const V *in) {
  __m512 x = in[0], y = in[1], z = in[2];
  __m512 a = _mm512_permutex2var_ps(x, IX(0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5), y);
  __m512 b = _mm512_permutex2var_ps(x, IX(21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26), y);
  __m512 c = _mm512_permutex2var_ps(x, IX(0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0), y);
  vstore(p, _mm512_permutex2var_ps(a, IX(0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15), z));
  vstore(p + 16, _mm512_permutex2var_ps(b, IX(0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15), z));
  vstore(p + 32, _mm512_permutex2var_ps(c, IX(26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31), z));
}
#undef IX
#undef FKD_PIECE
#else
#define FKD_PIECE(p, s)                                                                                               \
  _mm512_insertf64x2(                                                                                                 \
      _mm512_insertf64x2(_mm512_insertf64x2(_mm512_castpd128_pd512(_mm_loadu_pd(p)), _mm_loadu_pd((p) + 2 * (s)), 1), \
                         _mm_loadu_pd((p) + 4 * (s)), 2),                                                             \
      _mm_loadu_pd((p) + 6 * (s)), 3)
FKD_INLINE void load_piece(const double *p, ptrdiff_t s, V *out) {
  __m512d a = FKD_PIECE(p, s), b = FKD_PIECE(p + s, s);
  out[0] = _mm512_unpacklo_pd(a, b), out[1] = _mm512_unpackhi_pd(a, b);
}
FKD_INLINE void store_piece(double *p, ptrdiff_t s, const V *in) {
  __m512d r[2] = {_mm512_unpacklo_pd(in[0], in[1]), _mm512_unpackhi_pd(in[0], in[1])};
  FKD_UNROLL
  for (int k = 0; k < 2; ++k) {
    _mm_storeu_pd(p + k * s, _mm512_castpd512_pd128(r[k]));
    _mm_storeu_pd(p + (k + 2) * s, _mm512_extractf64x2_pd(r[k], 1));
    _mm_storeu_pd(p + (k + 4) * s, _mm512_extractf64x2_pd(r[k], 2));
    _mm_storeu_pd(p + (k + 6) * s, _mm512_extractf64x2_pd(r[k], 3));
  }
}
#define IX(...) _mm512_setr_epi64(__VA_ARGS__)
FKD_INLINE void load_packed2(const double *p, V *out) {
  __m512d a = vload(p), b = vload(p + 8);
  out[0] = _mm512_permutex2var_pd(a, IX(0, 2, 4, 6, 8, 10, 12, 14), b);
  out[1] = _mm512_permutex2var_pd(a, IX(1, 3, 5, 7, 9, 11, 13, 15), b);
}
FKD_INLINE void store_packed2(double *p, const V *in) {
  vstore(p, _mm512_permutex2var_pd(in[0], IX(0, 8, 1, 9, 2, 10, 3, 11), in[1]));
  vstore(p + 8, _mm512_permutex2var_pd(in[0], IX(4, 12, 5, 13, 6, 14, 7, 15), in[1]));
}
FKD_INLINE void load_packed3(const double *p, V *out) {
  __m512d a = vload(p), b = vload(p + 8), c = vload(p + 16);
  __m512d x = _mm512_permutex2var_pd(a, IX(0, 3, 6, 9, 12, 15, 0, 0), b);
  __m512d y = _mm512_permutex2var_pd(a, IX(1, 4, 7, 10, 13, 0, 0, 0), b);
  __m512d z = _mm512_permutex2var_pd(a, IX(2, 5, 8, 11, 14, 0, 0, 0), b);
  out[0] = _mm512_permutex2var_pd(x, IX(0, 1, 2, 3, 4, 5, 10, 13), c);
  out[1] = _mm512_permutex2var_pd(y, IX(0, 1, 2, 3, 4, 8, 11, 14), c);
  out[2] = _mm512_permutex2var_pd(z, IX(0, 1, 2, 3, 4, 9, 12, 15), c);
}
FKD_INLINE void store_packed3(double *p, const V *in) {
  __m512d x = in[0], y = in[1], z = in[2];
  __m512d a = _mm512_permutex2var_pd(x, IX(0, 8, 0, 1, 9, 0, 2, 10), y);
  __m512d b = _mm512_permutex2var_pd(x, IX(0, 3, 11, 0, 4, 12, 0, 5), y);
  __m512d c = _mm512_permutex2var_pd(x, IX(13, 0, 6, 14, 0, 7, 15, 0), y);
  vstore(p, _mm512_permutex2var_pd(a, IX(0, 1, 8, 3, 4, 9, 6, 7), z));
  vstore(p + 8, _mm512_permutex2var_pd(b, IX(10, 1, 2, 11, 4, 5, 12, 7), z));
  vstore(p + 16, _mm512_permutex2var_pd(c, IX(0, 13, 2, 3, 14, 5, 6, 15), z));
}
#undef IX
#undef FKD_PIECE
#endif

#elif defined(FKD_AVX2)
/* the same in-lane shuffles as SSE, on two 128-bit halves */
#define FKD_PACKED 1
#if FKD_BITS == 32
#define FKD_PIECE(p, q) _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(q), 1)
#define FKD_SPLIT(p, q, x) (_mm_storeu_ps(p, _mm256_castps256_ps128(x)), _mm_storeu_ps(q, _mm256_extractf128_ps(x, 1)))
#define FKD_SHUF(a, b, i) _mm256_shuffle_ps(a, b, i)
#define FKD_LO(a, b) _mm256_unpacklo_ps(a, b)
#define FKD_HI(a, b) _mm256_unpackhi_ps(a, b)
#else
#undef FKD_PIECE
#undef FKD_SPLIT
#undef FKD_SHUF
#undef FKD_LO
#undef FKD_HI
#define FKD_PIECE(p, q) _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(q), 1)
#define FKD_SPLIT(p, q, x) (_mm_storeu_pd(p, _mm256_castpd256_pd128(x)), _mm_storeu_pd(q, _mm256_extractf128_pd(x, 1)))
#define FKD_SHUF(a, b, i) _mm256_shuffle_pd(a, b, (i) * 5)
#define FKD_LO(a, b) _mm256_unpacklo_pd(a, b)
#define FKD_HI(a, b) _mm256_unpackhi_pd(a, b)
#endif
#define FKD_HALF(n) (n) /* offset of the second half of n rows */
#elif defined(FKD_SSE2)
#define FKD_PACKED 1
#if FKD_BITS == 32
#define FKD_PIECE(p, q) _mm_loadu_ps(p)
#define FKD_SPLIT(p, q, x) _mm_storeu_ps(p, x)
#define FKD_SHUF(a, b, i) _mm_shuffle_ps(a, b, i)
#define FKD_LO(a, b) _mm_unpacklo_ps(a, b)
#define FKD_HI(a, b) _mm_unpackhi_ps(a, b)
#else
#undef FKD_PIECE
#undef FKD_SPLIT
#undef FKD_SHUF
#undef FKD_LO
#undef FKD_HI
#define FKD_PIECE(p, q) _mm_loadu_pd(p)
#define FKD_SPLIT(p, q, x) _mm_storeu_pd(p, x)
#define FKD_SHUF(a, b, i) _mm_shuffle_pd(a, b, i)
#define FKD_LO(a, b) _mm_unpacklo_pd(a, b)
#define FKD_HI(a, b) _mm_unpackhi_pd(a, b)
#endif
#elif defined(FKD_NEON)
#define FKD_PACKED 1
#if FKD_BITS == 32
FKD_INLINE void load_piece(const float *p, ptrdiff_t s, V *out) {
  float32x4_t a = vld1q_f32(p), b = vld1q_f32(p + s), c = vld1q_f32(p + 2 * s), d = vld1q_f32(p + 3 * s);
  float64x2_t ab0 = (float64x2_t)vzip1q_f32(a, b), ab1 = (float64x2_t)vzip2q_f32(a, b);
  float64x2_t cd0 = (float64x2_t)vzip1q_f32(c, d), cd1 = (float64x2_t)vzip2q_f32(c, d);
  out[0] = (V)vzip1q_f64(ab0, cd0), out[1] = (V)vzip2q_f64(ab0, cd0), out[2] = (V)vzip1q_f64(ab1, cd1),
  out[3] = (V)vzip2q_f64(ab1, cd1);
}
FKD_INLINE void store_piece(float *p, ptrdiff_t s, const V *in) {
  float32x4_t r[4];
  float64x2_t ab0 = (float64x2_t)vzip1q_f32(in[0], in[1]), ab1 = (float64x2_t)vzip2q_f32(in[0], in[1]);
  float64x2_t cd0 = (float64x2_t)vzip1q_f32(in[2], in[3]), cd1 = (float64x2_t)vzip2q_f32(in[2], in[3]);
  r[0] = (float32x4_t)vzip1q_f64(ab0, cd0), r[1] = (float32x4_t)vzip2q_f64(ab0, cd0);
  r[2] = (float32x4_t)vzip1q_f64(ab1, cd1), r[3] = (float32x4_t)vzip2q_f64(ab1, cd1);
  for (int k = 0; k < 4; ++k) vst1q_f32(p + k * s, r[k]);
}
#define FKD_NEON_PACKED(name, N, T)                       \
  FKD_INLINE void load_packed##N(const REAL *p, V *out) { \
    T x = vld##N##q_##name(p);                            \
    memcpy(out, &x, sizeof x);                            \
  }                                                       \
  FKD_INLINE void store_packed##N(REAL *p, const V *in) { \
    T x;                                                  \
    memcpy(&x, in, sizeof x);                             \
    vst##N##q_##name(p, x);                               \
  }
FKD_NEON_PACKED(f32, 2, float32x4x2_t)
FKD_NEON_PACKED(f32, 3, float32x4x3_t)
#else
FKD_INLINE void load_piece(const double *p, ptrdiff_t s, V *out) {
  float64x2_t a = vld1q_f64(p), b = vld1q_f64(p + s);
  out[0] = vzip1q_f64(a, b), out[1] = vzip2q_f64(a, b);
}
FKD_INLINE void store_piece(double *p, ptrdiff_t s, const V *in) {
  vst1q_f64(p, vzip1q_f64(in[0], in[1])), vst1q_f64(p + s, vzip2q_f64(in[0], in[1]));
}
FKD_NEON_PACKED(f64, 2, float64x2x2_t)
FKD_NEON_PACKED(f64, 3, float64x2x3_t)
#endif
#endif

#if defined(FKD_AVX2) || defined(FKD_SSE2)
#if FKD_BITS == 32
FKD_INLINE void load_piece(const float *p, ptrdiff_t s, V *out) {
  V a = FKD_PIECE(p, p + 4 * s), b = FKD_PIECE(p + s, p + 5 * s), c = FKD_PIECE(p + 2 * s, p + 6 * s),
    d = FKD_PIECE(p + 3 * s, p + 7 * s);
  V ab0 = FKD_LO(a, b), ab1 = FKD_HI(a, b), cd0 = FKD_LO(c, d), cd1 = FKD_HI(c, d);
  out[0] = FKD_SHUF(ab0, cd0, 0x44), out[1] = FKD_SHUF(ab0, cd0, 0xEE), out[2] = FKD_SHUF(ab1, cd1, 0x44),
  out[3] = FKD_SHUF(ab1, cd1, 0xEE);
}
FKD_INLINE void store_piece(float *p, ptrdiff_t s, const V *in) {
  V ab0 = FKD_LO(in[0], in[1]), ab1 = FKD_HI(in[0], in[1]), cd0 = FKD_LO(in[2], in[3]), cd1 = FKD_HI(in[2], in[3]);
  V r0 = FKD_SHUF(ab0, cd0, 0x44), r1 = FKD_SHUF(ab0, cd0, 0xEE), r2 = FKD_SHUF(ab1, cd1, 0x44),
    r3 = FKD_SHUF(ab1, cd1, 0xEE);
  FKD_SPLIT(p, p + 4 * s, r0), FKD_SPLIT(p + s, p + 5 * s, r1), FKD_SPLIT(p + 2 * s, p + 6 * s, r2),
      FKD_SPLIT(p + 3 * s, p + 7 * s, r3);
}
FKD_INLINE void load_packed2(const float *p, V *out) {
  V a = FKD_PIECE(p, p + 8), b = FKD_PIECE(p + 4, p + 12);
  out[0] = FKD_SHUF(a, b, 0x88), out[1] = FKD_SHUF(a, b, 0xDD);
}
FKD_INLINE void store_packed2(float *p, const V *in) {
  V a = FKD_LO(in[0], in[1]), b = FKD_HI(in[0], in[1]);
  FKD_SPLIT(p, p + 8, a), FKD_SPLIT(p + 4, p + 12, b);
}
FKD_INLINE void load_packed3(const float *p, V *out) { /* a = x0 y0 z0 x1, b = y1 z1 x2 y2, c = z2 x3 y3 z3 */
  V a = FKD_PIECE(p, p + 12), b = FKD_PIECE(p + 4, p + 16), c = FKD_PIECE(p + 8, p + 20);
  V xy = FKD_SHUF(b, c, 0x9E), yz = FKD_SHUF(a, b, 0x49); /* x2 y2 x3 y3 ; y0 z0 y1 z1 */
  out[0] = FKD_SHUF(a, xy, 0x8C), out[1] = FKD_SHUF(yz, xy, 0xD8), out[2] = FKD_SHUF(yz, c, 0xCD);
}
FKD_INLINE void store_packed3(float *p, const V *in) {
  V x = in[0], y = in[1], z = in[2];
  V xy = FKD_SHUF(x, y, 0x88), yz = FKD_SHUF(y, z, 0xDD),
    zx = FKD_SHUF(z, x, 0xD8); /* x0 x2 y0 y2 ; y1 y3 z1 z3 ; z0 z2 x1 x3 */
  V a = FKD_SHUF(xy, zx, 0x88), b = FKD_SHUF(yz, xy, 0xD8), c = FKD_SHUF(zx, yz, 0xDD);
  FKD_SPLIT(p, p + 12, a), FKD_SPLIT(p + 4, p + 16, b), FKD_SPLIT(p + 8, p + 20, c);
}
#else
FKD_INLINE void load_piece(const double *p, ptrdiff_t s, V *out) {
  V a = FKD_PIECE(p, p + 2 * s), b = FKD_PIECE(p + s, p + 3 * s);
  out[0] = FKD_LO(a, b), out[1] = FKD_HI(a, b);
}
FKD_INLINE void store_piece(double *p, ptrdiff_t s, const V *in) {
  V a = FKD_LO(in[0], in[1]), b = FKD_HI(in[0], in[1]);
  FKD_SPLIT(p, p + 2 * s, a), FKD_SPLIT(p + s, p + 3 * s, b);
}
FKD_INLINE void load_packed2(const double *p, V *out) { load_piece(p, 2, out); }
FKD_INLINE void store_packed2(double *p, const V *in) { store_piece(p, 2, in); }
FKD_INLINE void load_packed3(const double *p, V *out) { /* a = x0 y0, b = z0 x1, c = y1 z1 */
  V a = FKD_PIECE(p, p + 6), b = FKD_PIECE(p + 2, p + 8), c = FKD_PIECE(p + 4, p + 10);
  out[0] = FKD_SHUF(a, b, 2), out[1] = FKD_SHUF(a, c, 1), out[2] = FKD_SHUF(b, c, 2);
}
FKD_INLINE void store_packed3(double *p, const V *in) {
  V a = FKD_LO(in[0], in[1]), b = FKD_SHUF(in[2], in[0], 2), c = FKD_HI(in[1], in[2]);
  FKD_SPLIT(p, p + 6, a), FKD_SPLIT(p + 2, p + 8, b), FKD_SPLIT(p + 4, p + 10, c);
}
#endif
#endif

/* element by element: rows narrower than a piece that are neither packed nor padded, and builds without shuffles */
static inline void load_loose(const REAL *p, ptrdiff_t stride, int C, V *out) {
  REAL t[VL];
  for (int c = 0; c < C; ++c) {
    for (int r = 0; r < VL; ++r) t[r] = p[r * stride + c];
    out[c] = vload(t);
  }
}
static inline void store_loose(REAL *p, ptrdiff_t stride, int C, const V *in) {
  REAL t[VL];
  for (int c = 0; c < C; ++c) {
    vstore(t, in[c]);
    for (int r = 0; r < VL; ++r) p[r * stride + c] = t[r];
  }
}

FKD_INLINE void load_columns(const REAL *p, ptrdiff_t stride, int C, V *out) {
#ifdef FKD_PACKED
  if (stride == C && C == 2) {
    load_packed2(p, out);
    return;
  }
  if (stride == C && C == 3) {
    load_packed3(p, out);
    return;
  }
  if (C >= QW) {
    for (int c = 0; c + QW <= C; c += QW) load_piece(p + c, stride, out + c);
    if (C % QW) load_piece(p + C - QW, stride, out + C - QW);
    return;
  }
  if (stride >= QW) {
    V t[QW];
    load_piece(p, stride, t);
    for (int c = 0; c < C; ++c) out[c] = t[c];
    return;
  }
#endif
  load_loose(p, stride, C, out);
}

FKD_INLINE void store_columns(REAL *p, ptrdiff_t stride, int C, const V *in) {
#ifdef FKD_PACKED
  if (stride == C && C == 2) {
    store_packed2(p, in);
    return;
  }
  if (stride == C && C == 3) {
    store_packed3(p, in);
    return;
  }
  if (C >= QW) {
    for (int c = 0; c + QW <= C; c += QW) store_piece(p + c, stride, in + c);
    if (C % QW) store_piece(p + C - QW, stride, in + C - QW);
    return;
  }
  if (stride >= QW) {
    V t[QW];
    for (int c = 0; c < QW; ++c) t[c] = c < C ? in[c] : vset1(0);
    store_piece(p, stride, t);
    return;
  }
#endif
  store_loose(p, stride, C, in);
}
