/* vec.h: the vector vocabulary. Kernels are written once over these names.
 *
 * A unit (isa_*.c) defines one of FKD_SCALAR, FKD_SSE2, FKD_NEON, FKD_AVX2, FKD_AVX512 and includes the kernels once with
 * FKD_BITS 32 and once with 64. Names below get the suffix of the real type through FN.
 *
 *   REAL, IREAL   float, int32_t | double, int64_t
 *   V, VI         a vector of VL reals, of VL integers of the same width; a comparison gives a VI of -1 (true) and 0
 *   + - * / on V, + - & | ~ >> << on VI     plain operators (VL = 1: V is REAL itself)
 *   vset1 vload vstore vmin vmax vsel vfma vsqrt vabs vasint vasreal vany VCMP
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
#define vmin FN(vmin)
#define vmax FN(vmax)
#define vsel FN(vsel)
#define vfma FN(vfma)
#define vsqrt FN(vsqrt)
#define vabs FN(vabs)
#define vasint FN(vasint)
#define vasreal FN(vasreal)
#define vany FN(vany)

#if defined(_MSC_VER) && !defined(__clang__)
#define FKD_INLINE static __forceinline
#define FKD_UNROLL
#else
#define FKD_INLINE static inline __attribute__((always_inline, unused))
#define FKD_UNROLL _Pragma("GCC unroll 16")
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

#if FKD_VBYTES
#define VCMP(a, op, b) ((VI)((a)op(b)))
#else
#define VCMP(a, op, b) ((VI)(-(IREAL)((a)op(b))))
#endif
#endif /* once per unit */

#undef FKD_SUFFIX
#undef REAL
#undef IREAL
#undef VL
#if FKD_BITS == 32
#define FKD_SUFFIX _f32
#define REAL float
#define IREAL int32_t
#else
#define FKD_SUFFIX _f64
#define REAL double
#define IREAL int64_t
#endif

#if FKD_VBYTES == 0 /* ---- one lane ---- */
#define VL 1
typedef REAL V;
typedef IREAL VI;
FKD_INLINE V vset1(REAL x) { return x; }
FKD_INLINE VI visetl(IREAL x) { return x; }
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
FKD_INLINE int vany(VI m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
#else
FKD_INLINE V vfma(V a, V b, V c) { return vfmaq_f64(c, a, b); }
FKD_INLINE V vsqrt(V x) { return vsqrtq_f64(x); }
FKD_INLINE int vany(VI m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
#endif
#endif
#endif
