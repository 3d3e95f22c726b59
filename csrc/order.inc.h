/* order.inc.h: order statistics of columns. Rows are separate arrays. Of each tile of 4 vectors of columns, runs of up to 32 rows are
 * sorted in registers by straight-line networks, and the sorted runs merged in L1 by the comparators that the caller lists (runs.inc.h):
 * no branch depends on the data. Same bits on every ISA. */
#include "sorting.inc.h"
#define order_ahead FN(order_ahead)
#define order_fetch FN(order_fetch)
#define order_means FN(order_means)
#define order_store FN(order_store)
#define near_means FN(near_means)
#define tile_sum FN(tile_sum)
#define tile_reals FN(tile_reals)
#define all_finite FN(all_finite)
#define OV 4
#define OW (OV * VL)

/* 1 if every entry is finite */
static int FN(fkd_finite)(const REAL *x, int64_t d) {
  int64_t c = 0;
  V z[4] = {vset1(0), vset1(0), vset1(0), vset1(0)};
  for (; c + 4 * VL <= d; c += 4 * VL) {
    FKD_UNROLL
    for (int u = 0; u < 4; ++u) { /* finite: x * 0 is a zero; NaN and inf give NaN, which stays */
      z[u] = z[u] + vload(x + c + u * VL) * vset1(0);
    }
  }
  V s = (z[0] + z[1]) + (z[2] + z[3]);
  for (; c < d; c += VL) s = s + load_part(x + c, d - c, 0) * vset1(0);
  return !vany(VCMP(s, !=, s));
}

#if VL == 1
#define WL 1
#define WIDE double
#define wide_load(p) ((double)*(p))
#elif FKD_BITS == 64
#define WL VL
#define WIDE V
#define wide_load vload
#else
#define WL (VL / 2)
#define WIDE FN(WIDE)
typedef double WIDE __attribute__((vector_size(FKD_VBYTES)));
#if defined(FKD_AVX512) /* compilers convert in halves */
#define wide_load(p) ((WIDE)_mm512_cvtps_pd(_mm256_loadu_ps(p)))
#else
typedef REAL FN(NARROW) __attribute__((vector_size(FKD_VBYTES / 2)));
FKD_INLINE WIDE FN(wide_load)(const REAL *p) {
  FN(NARROW) x;
  memcpy(&x, p, sizeof x);
  return __builtin_convertvector(x, WIDE);
}
#define wide_load FN(wide_load)
#endif
#endif

/* Averages straight from registers, where floats are converted there and their sums in double cannot overflow. */
#if FKD_BITS == 32 && defined(FKD_AVX512)
#define ORDER_DIRECT 1
#define wide_low(x) ((WIDE)_mm512_cvtps_pd(_mm512_castps512_ps256(x)))
#define wide_high(x) ((WIDE)_mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)))
#define wide_fma(x, w, s) ((WIDE)_mm512_fmadd_pd((__m512d)(x), _mm512_set1_pd(w), (__m512d)(s)))
#define wide_narrow(a, b) \
  ((V)_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)(a))), _mm512_cvtpd_ps((__m512d)(b)), 1))
#elif FKD_BITS == 32 && defined(FKD_AVX2)
#define ORDER_DIRECT 1
#define wide_low(x) ((WIDE)_mm256_cvtps_pd(_mm256_castps256_ps128(x)))
#define wide_high(x) ((WIDE)_mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)))
#define wide_fma(x, w, s) ((WIDE)_mm256_fmadd_pd((__m256d)(x), _mm256_set1_pd(w), (__m256d)(s)))
#define wide_narrow(a, b) \
  ((V)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps((__m256d)(a))), _mm256_cvtpd_ps((__m256d)(b)), 1))
#else
#define ORDER_DIRECT 0
#endif

/* Rows are fetched ahead in pieces of 16 vectors, row by row: memory is twice as fast with them as with single tiles. While a run of K
 * <= 16 rows is sorted in one panel, 16 vectors of columns, each vector sees to the next panel of one of the rows. */
typedef struct {
  int64_t from, bytes; /* column and length of the next panel */
  int tile;            /* which tile of this panel is sorted */
} order_ahead;

FKD_INLINE void order_fetch(const REAL *const *rows, int n, const order_ahead *ahead, int u) {
  const int next = ahead->tile * OV + u;
  if (next >= n || ahead->bytes <= 0) return;
  for (int64_t k = 0; k < ahead->bytes; k += 256) {
    const char *p = (const char *)(rows[next] + ahead->from) + k;
    FKD_PREFETCH_FAR(p), FKD_PREFETCH_FAR(p + 64), FKD_PREFETCH_FAR(p + 128), FKD_PREFETCH_FAR(p + 192);
  }
}

#define LINE_INTEGERS 0
#define LINE_SUFFIX _reals
#include "runs.inc.h"
#undef LINE_INTEGERS
#undef LINE_SUFFIX
#if FKD_BITS == 32 && defined(FKD_VIMIN)
#define LINE_INTEGERS 1
#define LINE_SUFFIX _integers
#include "runs.inc.h"
#undef LINE_INTEGERS
#undef LINE_SUFFIX
#endif

/* Sums of rows lo .. hi - 1 of the tile, in double, in order */
static void tile_sum(const REAL *tile, int64_t lo, int64_t hi, double *sum) {
  for (int64_t j = 0; j < OW; j += 4 * WL) {
    WIDE s[4];
    const REAL *p = tile + lo * OW + j;
    FKD_UNROLL
    for (int u = 0; u < 4; ++u) s[u] = wide_load(p + u * WL);
    for (int64_t r = lo + 1; r < hi; ++r) {
      p += OW;
      FKD_UNROLL
      for (int u = 0; u < 4; ++u) s[u] = s[u] + wide_load(p + u * WL);
    }
    memcpy(sum + j, s, sizeof s);
  }
}

/* Mean of rows lo .. hi - 1 of each column: the sum in double; where that overflows, the sum of shares. */
static void order_means(const REAL *tile, int64_t lo, int64_t hi, REAL *to) {
  double sum[OW];
  const double share = 1 / (double)(hi - lo);
  tile_sum(tile, lo, hi, sum);
  for (int j = 0; j < OW; ++j) to[j] = (REAL)(sum[j] * share);
#if FKD_BITS == 64 /* sums of floats do not */
  int lost = 0;
  for (int j = 0; j < OW; ++j) lost |= !(fabs(sum[j]) <= DBL_MAX);
  if (lost)
    for (int j = 0; j < OW; ++j)
      if (!(fabs(sum[j]) <= DBL_MAX)) {
        double s = 0;
        for (int64_t r = lo; r < hi; ++r) s += (double)tile[r * OW + j] * share;
        to[j] = (REAL)fmin(fmax(s, -DBL_MAX), DBL_MAX);
      }
#endif
}

/* Mean of the `keep` entries of each sorted column nearest to its median, ties towards the lower value. The window starts above as many
 * low entries as are farther from the median than the entry that would come in at the top. */
static void near_means(const REAL *tile, int64_t n, int64_t keep, REAL *to) {
  double sum[OW], med[OW], start[OW];
  const double count = (double)keep;
  for (int j = 0; j < OW; ++j) {
    double a = (double)tile[(n - 1) / 2 * OW + j], b = (double)tile[n / 2 * OW + j], s = a + b;
    med[j] = fabs(s) <= DBL_MAX ? s / 2 : a / 2 + b / 2;
    sum[j] = start[j] = 0;
  }
  for (int64_t r = 0; r + keep < n; ++r)
    for (int j = 0; j < OW; ++j) {
      double below = (double)tile[r * OW + j], above = (double)tile[(r + keep) * OW + j];
      double down = med[j] - below, up = above - med[j];
      double half_down = med[j] / 2 - below / 2, half_up = above / 2 - med[j] / 2; /* where both differences overflow */
      start[j] += ((up < down) | ((up == down) & (half_up < half_down))) ? 1.0 : 0.0;
    }
  for (int64_t r = 0; r < n; ++r)
    for (int j = 0; j < OW; ++j) {
      double at = (double)r - start[j];
      sum[j] += ((at >= 0) & (at < count)) ? (double)tile[r * OW + j] : 0.0;
    }
  for (int j = 0; j < OW; ++j) {
    double s = sum[j];
    if (fabs(s) <= DBL_MAX) {
      to[j] = (REAL)(s / count);
      continue;
    }
    s = 0;
    for (int64_t r = (int64_t)start[j]; r < (int64_t)start[j] + keep; ++r) s += (double)tile[r * OW + j] / count;
    to[j] = (REAL)fmin(fmax(s, -DBL_MAX), DBL_MAX);
  }
}

#if FKD_BITS == 32 && defined(FKD_VIMIN)
/* What the integers in rows lo .. hi - 1 of a tile stand for */
static void tile_reals(REAL *tile, int64_t lo, int64_t hi) {
  for (int64_t i = lo * OW; i < hi * OW; i += VL) {
    const VI x = vasint(vload(tile + i)), s = x >> 31;
    vstore(tile + i, vasreal((x + s) ^ (s & visetl(0x7fffffff))));
  }
}

/* 1 if the smallest and the largest integers are those of finite numbers */
static int all_finite(const REAL *seen) {
  const VI top = visetl(0x7f800000), low = visetl(-0x7f800000);
  int bad = 0;
  for (int u = 0; u < OW; u += VL)
    bad |= vany((vasint(vload(seen + u)) <= low) | (vasint(vload(seen + OW + u)) >= top));
  return !bad;
}
#endif

/* No -0, which lines of integers do not know */
FKD_INLINE void order_store(REAL *out, const REAL *means, int64_t have) {
  if (have < OW)
    for (int64_t j = 0; j < have; ++j) out[j] = means[j] + 0;
  else
    for (int j = 0; j < OW; j += VL) vstore(out + j, vload(means + j) + vset1(0));
}

static int FN(fkd_order)(const REAL *const *rows, int64_t n, int64_t c0, int64_t c1, const fkd_sorter *how, int64_t lo, int64_t hi,
                         int64_t keep, REAL *out, REAL *tile) {
  REAL means[OW], seen[2 * OW];
  const int far = n * (c1 - c0) * (int64_t)sizeof(REAL) > 1 << 19; /* beyond L2, perhaps */
  memset(seen, 0, sizeof seen); /* whether sums or integers */
#if FKD_BITS == 32 && defined(FKD_VIMIN)
  const int integers = how->integers;
#else
  const int integers = 0;
#endif
  for (int64_t c = c0; c < c1; c += OW) {
    if (c + OW > c1 && c1 - c0 >= OW) c = c1 - OW; /* some columns again: sooner than a part of a tile */
    const int64_t have = c1 - c, panel = OV * OW, next = c0 + ((c - c0) / panel + 1) * panel, left = c1 - next < panel ? c1 - next : panel;
    const order_ahead ahead = {next, far ? left * (int64_t)sizeof(REAL) : 0, (int)((c - c0) / OW) % OV};
#if ORDER_DIRECT
    if (have >= OW && !keep && (n <= 16 || (n <= 32 && how->halves && hi - lo <= 2))) {
      (integers ? FKD_CAT(FN(direct_means), _integers) : FKD_CAT(FN(direct_means), _reals))(rows, n, c, lo, hi, &ahead, seen, tile, means);
      order_store(out + c, means, OW);
      continue;
    }
#endif
    if (!integers) FKD_CAT(FN(sort_tile), _reals)(rows, n, c, have, how, lo, &ahead, seen, tile);
#if FKD_BITS == 32 && defined(FKD_VIMIN)
    else {
      FKD_CAT(FN(sort_tile), _integers)(rows, n, c, have, how, lo, &ahead, seen, tile);
      tile_reals(tile, keep ? 0 : lo, keep ? n : hi);
    }
#endif
    if (keep) near_means(tile, n, keep, means);
    else order_means(tile, lo, hi, means);
    order_store(out + c, means, have < OW ? have : OW);
  }
#if FKD_BITS == 32 && defined(FKD_VIMIN)
  if (integers) return all_finite(seen);
#endif
  for (int j = 1; j < OW; ++j) seen[0] += seen[j];
  return seen[0] - seen[0] == 0;
}
#undef tile_reals
#undef all_finite
#undef OV
#undef OW
#undef order_fetch
#undef WL
#undef WIDE
#undef wide_load
#undef wide_low
#undef wide_high
#undef wide_fma
#undef wide_narrow
#undef ORDER_DIRECT
