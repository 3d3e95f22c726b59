/* vec.h: the vector vocabulary. Kernels are written once over these names.
 *
 * A unit (isa_*.c) defines one of FKD_SCALAR, FKD_SSE2, FKD_NEON, FKD_AVX2, FKD_AVX512 and includes the kernels once with
 * FKD_BITS 32 and once with 64. Names below get the suffix of the real type through FN.
 *
 *   REAL, IREAL   float, int32_t | double, int64_t
 *   V, VI         a vector of VL reals, of VL integers of the same width; a comparison gives a VI of -1 (true) and 0
 *   + - * / on V, + - & | ~ >> on VI     plain operators (VL = 1: V is REAL itself)
 *   vset1 vload vstore vmin vmax vsel vfma vsqrt vabs vasint vasreal vshl vany VCMP
 *   vgate(x, by)   x where by > 0, else 0
 *   vimin vimax   of 32-bit integers, only where FKD_VIMIN is defined
 *   load_part(p, have, fill), store_part(p, have, x)   the first `have` (>= 1) of VL reals; nothing beyond is touched
 *   fold_sum(x), fold_max(x)   over the lanes of one vector: lane i with lane i + VL / 2, then VL / 4 ...
 *   vmax(a, b) is a > b ? a : b and vmin(a, b) is a < b ? a : b, so that a NaN in b survives, on every ISA.
 *   vfma is fused only where the ISA has it: kernels that promise equal bits on every ISA use * and + instead.
 */
#ifndef FKD_VEC_H
#define FKD_VEC_H
#define FKD_CAT_(a, b) a##b
#define FKD_CAT(a, b) FKD_CAT_(a, b)
#define FN(name) FKD_CAT(name, FKD_SUFFIX)
#define V FN(V)
#define VI FN(VI)
#define vset1 FN(vset1)
#define visetl FN(visetl)
#define vload FN(vload)
#define vstore FN(vstore)
#define vmin FN(vec_min) /* arm_neon.h has functions vmin_f32, vmax_f32, ... */
#define vmax FN(vec_max)
#define vsel FN(vsel)
#define vfma FN(vec_fma)
#define vsqrt FN(vec_sqrt)
#define vabs FN(vec_abs)
#define vasint FN(vasint)
#define vasreal FN(vasreal)
#define vany FN(vany)
#define vgate FN(vgate)
#define vimin FN(vimin)
#define vimax FN(vimax)
#define vshl FN(vshl)
#define load_part FN(load_part)
#define store_part FN(store_part)
#define fold_sum FN(fold_sum)
#define fold_max FN(fold_max)

#if defined(_MSC_VER) && !defined(__clang__)
#define FKD_INLINE static __forceinline
#define FKD_NOINLINE __declspec(noinline)
#define FKD_HIDE(p) ((void)0)
#define FKD_KEEP(x) ((void)0)
#define FKD_PREFETCH(p) ((void)(p))
#define FKD_PREFETCH_FAR(p) ((void)(p))
#define FKD_UNROLL
#define FKD_UNROLL_32
#else
#define FKD_INLINE static inline __attribute__((always_inline, unused))
#define FKD_NOINLINE __attribute__((noinline))
#define FKD_HIDE(p) __asm__("" : "+r"(p)) /* the compiler may not know where p came from */
/* the vector x stays in a register: else the compiler may load it again for each use */
#if defined(FKD_AVX512)
#define FKD_KEEP(x) __asm__("" : "+v"(x))
#elif defined(FKD_AVX2) || defined(FKD_SSE2)
#define FKD_KEEP(x) __asm__("" : "+x"(x))
#elif defined(FKD_NEON)
#define FKD_KEEP(x) __asm__("" : "+w"(x))
#else
#define FKD_KEEP(x) ((void)0)
#endif
#define FKD_PREFETCH(p) __builtin_prefetch(p)
#define FKD_PREFETCH_FAR(p) __builtin_prefetch(p, 0, 2) /* into L2 */
#if defined(__clang__) /* before version 17 it ignores GCC's pragma in silence */
#define FKD_UNROLL _Pragma("clang loop unroll(full)")
#define FKD_UNROLL_32 FKD_UNROLL
#else
#define FKD_UNROLL _Pragma("GCC unroll 16")
#define FKD_UNROLL_32 _Pragma("GCC unroll 32")
#endif
#endif

#if defined(FKD_SCALAR)
#define FKD_VBYTES 0
#elif defined(FKD_SSE2) || defined(FKD_NEON)
#define FKD_VBYTES 16
#elif defined(FKD_AVX2)
#define FKD_VBYTES 32
#elif defined(FKD_AVX512)
#define FKD_VBYTES 64
#endif

#if defined(FKD_NEON) || defined(FKD_AVX2) || defined(FKD_AVX512)
#define FKD_VIMIN /* vimin and vimax of 32-bit integers are one instruction each */
#endif

#if FKD_VBYTES
#define VCMP(a, op, b) ((VI)((a)op(b)))
#else
#define VCMP(a, op, b) ((VI)(-(IREAL)((a)op(b))))
#endif
#endif /* once per unit */

#undef FKD_SUFFIX
#undef REAL
#undef IREAL
#undef UREAL
#undef VL
#if FKD_BITS == 32
#define FKD_SUFFIX _f32
#define REAL float
#define IREAL int32_t
#define UREAL uint32_t
#else
#define FKD_SUFFIX _f64
#define REAL double
#define IREAL int64_t
#define UREAL uint64_t
#endif

#if FKD_VBYTES == 0 /* ---- one lane ---- */
#define VL 1
typedef REAL V;
typedef IREAL VI;
FKD_INLINE V vset1(REAL x) { return x; }
FKD_INLINE VI visetl(IREAL x) { return x; }
FKD_INLINE VI vshl(VI x, int n) { return (VI)((UREAL)x << n); }
FKD_INLINE V vload(const REAL *p) { return *p; }
FKD_INLINE void vstore(REAL *p, V x) { *p = x; }
FKD_INLINE V vmin(V a, V b) { return a < b ? a : b; }
FKD_INLINE V vmax(V a, V b) { return a > b ? a : b; }
FKD_INLINE V vsel(VI m, V a, V b) { return m ? a : b; }
FKD_INLINE V vfma(V a, V b, V c) { return a * b + c; }
FKD_INLINE VI vasint(V x) { VI r; memcpy(&r, &x, sizeof r); return r; }
FKD_INLINE V vasreal(VI x) { V r; memcpy(&r, &x, sizeof r); return r; }
FKD_INLINE int vany(VI m) { return m != 0; }
#if FKD_BITS == 32
FKD_INLINE V vsqrt(V x) { return sqrtf(x); }
FKD_INLINE V vabs(V x) { return fabsf(x); }
#else
FKD_INLINE V vsqrt(V x) { return sqrt(x); }
FKD_INLINE V vabs(V x) { return fabs(x); }
#endif

#else /* ---- GNU vectors of the machine's width ---- */
#define VL (FKD_VBYTES * 8 / FKD_BITS)
typedef REAL V __attribute__((vector_size(FKD_VBYTES)));
typedef IREAL VI __attribute__((vector_size(FKD_VBYTES)));
FKD_INLINE VI visetl(IREAL x) { return x - (VI){0}; }
FKD_INLINE VI vshl(VI x, int n) { return x << n; }
FKD_INLINE V vset1(REAL x) { return x - (V){0}; }
FKD_INLINE V vload(const REAL *p) { V x; memcpy(&x, p, sizeof x); return x; }
FKD_INLINE void vstore(REAL *p, V x) { memcpy(p, &x, sizeof x); }
FKD_INLINE VI vasint(V x) { return (VI)x; }
FKD_INLINE V vasreal(VI x) { return (V)x; }
FKD_INLINE V vabs(V x) { return (V)((VI)x & ~(VI)vset1((REAL)-0.0)); }

#if defined(FKD_AVX512)
#if FKD_BITS == 32
#define FKD_MASK(m) _mm512_movepi32_mask((__m512i)(m))
FKD_INLINE V vmin(V a, V b) { return _mm512_min_ps(a, b); }
FKD_INLINE VI vimin(VI a, VI b) { return (VI)_mm512_min_epi32((__m512i)a, (__m512i)b); }
FKD_INLINE VI vimax(VI a, VI b) { return (VI)_mm512_max_epi32((__m512i)a, (__m512i)b); }
FKD_INLINE V vmax(V a, V b) { return _mm512_max_ps(a, b); }
FKD_INLINE V vfma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
FKD_INLINE V vsqrt(V x) { return _mm512_sqrt_ps(x); }
FKD_INLINE V vsel(VI m, V a, V b) { return _mm512_mask_blend_ps(FKD_MASK(m), b, a); }
#else
#undef FKD_MASK
#define FKD_MASK(m) _mm512_movepi64_mask((__m512i)(m))
FKD_INLINE V vmin(V a, V b) { return _mm512_min_pd(a, b); }
FKD_INLINE V vmax(V a, V b) { return _mm512_max_pd(a, b); }
FKD_INLINE V vfma(V a, V b, V c) { return _mm512_fmadd_pd(a, b, c); }
FKD_INLINE V vsqrt(V x) { return _mm512_sqrt_pd(x); }
FKD_INLINE V vsel(VI m, V a, V b) { return _mm512_mask_blend_pd(FKD_MASK(m), b, a); }
#endif
FKD_INLINE int vany(VI m) { return FKD_MASK(m) != 0; }

#elif defined(FKD_AVX2)
#if FKD_BITS == 32
FKD_INLINE V vmin(V a, V b) { return _mm256_min_ps(a, b); }
FKD_INLINE VI vimin(VI a, VI b) { return (VI)_mm256_min_epi32((__m256i)a, (__m256i)b); }
FKD_INLINE VI vimax(VI a, VI b) { return (VI)_mm256_max_epi32((__m256i)a, (__m256i)b); }
FKD_INLINE V vmax(V a, V b) { return _mm256_max_ps(a, b); }
FKD_INLINE V vfma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
FKD_INLINE V vsqrt(V x) { return _mm256_sqrt_ps(x); }
FKD_INLINE V vsel(VI m, V a, V b) { return _mm256_blendv_ps(b, a, (__m256)m); }
#else
FKD_INLINE V vmin(V a, V b) { return _mm256_min_pd(a, b); }
FKD_INLINE V vmax(V a, V b) { return _mm256_max_pd(a, b); }
FKD_INLINE V vfma(V a, V b, V c) { return _mm256_fmadd_pd(a, b, c); }
FKD_INLINE V vsqrt(V x) { return _mm256_sqrt_pd(x); }
FKD_INLINE V vsel(VI m, V a, V b) { return _mm256_blendv_pd(b, a, (__m256d)m); }
#endif
FKD_INLINE int vany(VI m) { return _mm256_movemask_epi8((__m256i)m) != 0; }

#elif defined(FKD_SSE2)
#if FKD_BITS == 32
FKD_INLINE V vmin(V a, V b) { return _mm_min_ps(a, b); }
FKD_INLINE V vmax(V a, V b) { return _mm_max_ps(a, b); }
FKD_INLINE V vsqrt(V x) { return _mm_sqrt_ps(x); }
#else
FKD_INLINE V vmin(V a, V b) { return _mm_min_pd(a, b); }
FKD_INLINE V vmax(V a, V b) { return _mm_max_pd(a, b); }
FKD_INLINE V vsqrt(V x) { return _mm_sqrt_pd(x); }
#endif
FKD_INLINE V vfma(V a, V b, V c) { return a * b + c; }
FKD_INLINE V vsel(VI m, V a, V b) { return (V)((m & (VI)a) | (~m & (VI)b)); }
FKD_INLINE int vany(VI m) { return _mm_movemask_epi8((__m128i)m) != 0; }

#elif defined(FKD_NEON)
FKD_INLINE V vsel(VI m, V a, V b) { return (V)((m & (VI)a) | (~m & (VI)b)); }
FKD_INLINE V vmin(V a, V b) { return vsel(VCMP(a, <, b), a, b); }
FKD_INLINE V vmax(V a, V b) { return vsel(VCMP(a, >, b), a, b); }
#if FKD_BITS == 32
FKD_INLINE V vfma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
FKD_INLINE V vsqrt(V x) { return vsqrtq_f32(x); }
FKD_INLINE VI vimin(VI a, VI b) { return (VI)vminq_s32((int32x4_t)a, (int32x4_t)b); }
FKD_INLINE VI vimax(VI a, VI b) { return (VI)vmaxq_s32((int32x4_t)a, (int32x4_t)b); }
FKD_INLINE int vany(VI m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
#else
FKD_INLINE V vfma(V a, V b, V c) { return vfmaq_f64(c, a, b); }
FKD_INLINE V vsqrt(V x) { return vsqrtq_f64(x); }
FKD_INLINE int vany(VI m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
#endif
#endif
#endif

#if defined(FKD_AVX512) /* a mask of bits all the way: comparisons of plain vectors pass through a vector of -1 and 0 */
#if FKD_BITS == 32
FKD_INLINE V vgate(V x, V by) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(by, _mm512_setzero_ps(), _CMP_GT_OQ), x); }
#else
FKD_INLINE V vgate(V x, V by) { return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(by, _mm512_setzero_pd(), _CMP_GT_OQ), x); }
#endif
#else
FKD_INLINE V vgate(V x, V by) { return vsel(VCMP(by, >, vset1(0)), x, vset1(0)); }
#endif

/* ---- parts of vectors, and sums over lanes ---- */
#if defined(FKD_AVX512)
#if FKD_BITS == 32
FKD_INLINE V load_part(const float *p, int64_t have, float fill) {
  return have >= 16 ? vload(p) : (V)_mm512_mask_loadu_ps(vset1(fill), (__mmask16)((1u << have) - 1), p);
}
FKD_INLINE void store_part(float *p, int64_t have, V x) {
  if (have >= 16) vstore(p, x);
  else _mm512_mask_storeu_ps(p, (__mmask16)((1u << have) - 1), x);
}
#define FKD_FOLD(op256, op128, x)                                                              \
  __m256 h = op256(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));                   \
  __m128 q = op128(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));                    \
  q = op128(q, _mm_movehl_ps(q, q));                                                           \
  return _mm_cvtss_f32(op128(q, _mm_movehdup_ps(q)))
FKD_INLINE float fold_sum(V x) { FKD_FOLD(_mm256_add_ps, _mm_add_ps, x); }
FKD_INLINE float fold_max(V x) { FKD_FOLD(_mm256_max_ps, _mm_max_ps, x); }
#else
#undef FKD_FOLD
FKD_INLINE V load_part(const double *p, int64_t have, double fill) {
  return have >= 8 ? vload(p) : (V)_mm512_mask_loadu_pd(vset1(fill), (__mmask8)((1u << have) - 1), p);
}
FKD_INLINE void store_part(double *p, int64_t have, V x) {
  if (have >= 8) vstore(p, x);
  else _mm512_mask_storeu_pd(p, (__mmask8)((1u << have) - 1), x);
}
#define FKD_FOLD(op256, op128, x)                                                              \
  __m256d h = op256(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));                  \
  __m128d q = op128(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));                   \
  return _mm_cvtsd_f64(op128(q, _mm_unpackhi_pd(q, q)))
FKD_INLINE double fold_sum(V x) { FKD_FOLD(_mm256_add_pd, _mm_add_pd, x); }
FKD_INLINE double fold_max(V x) { FKD_FOLD(_mm256_max_pd, _mm_max_pd, x); }
#endif
#else
#if defined(FKD_AVX2)
FKD_INLINE __m256i FN(part_mask)(int64_t have) {
  static const IREAL window[2 * VL] = {
#if FKD_BITS == 32
      -1, -1, -1, -1,
#endif
      -1, -1, -1, -1};
  return _mm256_loadu_si256((const __m256i *)(window + VL - have));
}
#endif
FKD_INLINE V load_part(const REAL *p, int64_t have, REAL fill) {
  if (have >= VL) return vload(p);
#if defined(FKD_AVX2)
  VI m = (VI)FN(part_mask)(have);
#if FKD_BITS == 32
  return vsel(m, (V)_mm256_maskload_ps(p, (__m256i)m), vset1(fill));
#else
  return vsel(m, (V)_mm256_maskload_pd(p, (__m256i)m), vset1(fill));
#endif
#else
  REAL t[VL];
  for (int i = 0; i < VL; ++i) t[i] = i < have ? p[i] : fill;
  return vload(t);
#endif
}
FKD_INLINE void store_part(REAL *p, int64_t have, V x) {
  if (have >= VL) { vstore(p, x); return; }
#if defined(FKD_AVX2)
#if FKD_BITS == 32
  _mm256_maskstore_ps(p, FN(part_mask)(have), x);
#else
  _mm256_maskstore_pd(p, FN(part_mask)(have), x);
#endif
#else
  REAL t[VL];
  vstore(t, x);
  for (int i = 0; i < have; ++i) p[i] = t[i];
#endif
}
FKD_INLINE REAL fold_sum(V x) {
  REAL t[VL];
  vstore(t, x);
  for (int s = VL / 2; s; s >>= 1)
    for (int i = 0; i < s; ++i) t[i] += t[i + s];
  return t[0];
}
FKD_INLINE REAL fold_max(V x) {
  REAL t[VL];
  vstore(t, x);
  for (int s = VL / 2; s; s >>= 1)
    for (int i = 0; i < s; ++i) t[i] = t[i] > t[i + s] ? t[i] : t[i + s];
  return t[0];
}
#endif
