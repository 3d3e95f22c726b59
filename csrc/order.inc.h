/* order.inc.h: order statistics of columns. Rows are separate arrays. Of each tile of 4 vectors of columns, runs of up to 32 rows are
 * sorted in registers by straight-line networks, and the sorted runs merged in L1 by the comparators that the caller lists: no branch
 * depends on the data. Same bits on every ISA. */
#include "sorting.inc.h"
#define order_ahead FN(order_ahead)
#define order_means FN(order_means)
#define near_means FN(near_means)
#define run_sort FN(run_sort)
#define run_sorts FN(run_sorts)
#define run_merge FN(run_merge)
#define run_merges FN(run_merges)
#define sort_run FN(sort_run)
#define fold_halves FN(fold_halves)
#define tile_sum FN(tile_sum)
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

/* Lines of a network, each a vector. Of two equal values, zeros of either sign, each goes one way: nothing is lost. */
#define ORDER_PAIR(i, j)              \
  do {                                \
    const V a = x[i], b = x[j];       \
    x[i] = vmin(a, b);                \
    x[j] = vmax(b, a);                \
  } while (0);

/* Rows are fetched ahead in pieces of 16 vectors, row by row: memory is twice as fast with them as with single tiles. While a run of K
 * <= 16 rows is sorted in one panel, 16 vectors of columns, each vector sees to the next panel of one of the rows. */
typedef struct {
  int64_t from, bytes; /* column and length of the next panel */
  int tile;            /* which tile of this panel is sorted */
} order_ahead;

/* Sorts K rows from column c on into the tile; adds them to `sum`, which NaN and inf do not leave finite. */
typedef void run_sort(const REAL *const *rows, int64_t c, const order_ahead *ahead, REAL *sum, REAL *to);
#define ORDER_SORT(K)                                                                                                                   \
  static void FKD_CAT(run_sort, _##K)(const REAL *const *rows, int64_t c, const order_ahead *ahead, REAL *sum, REAL *to) {             \
    for (int u = 0; u < OV; ++u) {                                                                                                      \
      const int next = ahead->tile * OV + u;                                                                                            \
      V x[K], s = vload(sum + u * VL), t = vset1(0);                                                                                    \
      if (next < K)                                                                                                                     \
        for (int64_t k = 0; k < ahead->bytes; k += 256) {                                                                               \
          const char *p = (const char *)(rows[next] + ahead->from) + k;                                                                 \
          FKD_PREFETCH_FAR(p), FKD_PREFETCH_FAR(p + 64), FKD_PREFETCH_FAR(p + 128), FKD_PREFETCH_FAR(p + 192);                          \
        }                                                                                                                               \
      FKD_UNROLL                                                                                                                        \
      for (int i = 0; i < K; ++i) x[i] = vload(rows[i] + c + u * VL);                                                                   \
      FKD_UNROLL                                                                                                                        \
      for (int i = 0; i < K; i += 2) {                                                                                                  \
        s = s + x[i];                                                                                                                   \
        if (i + 1 < K) t = t + x[i + 1];                                                                                                \
      }                                                                                                                                 \
      vstore(sum + u * VL, s + t);                                                                                                      \
      SORT_##K(ORDER_PAIR)                                                                                                              \
      FKD_UNROLL                                                                                                                        \
      for (int i = 0; i < K; ++i) vstore(to + i * OW + u * VL, x[i]);                                                                   \
    }                                                                                                                                   \
  }
#define SORT_1(C)
ORDER_SORT(1) ORDER_SORT(2) ORDER_SORT(3) ORDER_SORT(4) ORDER_SORT(5) ORDER_SORT(6) ORDER_SORT(7) ORDER_SORT(8)
ORDER_SORT(9) ORDER_SORT(10) ORDER_SORT(11) ORDER_SORT(12) ORDER_SORT(13) ORDER_SORT(14) ORDER_SORT(15) ORDER_SORT(16)
#undef SORT_1
#undef ORDER_SORT
#define AT(k) FKD_CAT(run_sort, _##k)
static run_sort *const run_sorts[] = {AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7), AT(8), AT(9), AT(10), AT(11), AT(12), AT(13), AT(14),
                                      AT(15), AT(16)};
#undef AT

/* Merges the sorted first (K + 1) / 2 of K rows of the tile with the sorted rest. */
typedef void run_merge(REAL *tile);
#define ORDER_MERGE(K)                                                   \
  static void FKD_CAT(run_merge, _##K)(REAL *tile) {                    \
    for (int64_t u = 0; u < OW; u += VL) {                               \
      V x[K];                                                            \
      FKD_UNROLL_32                                                      \
      for (int i = 0; i < K; ++i) x[i] = vload(tile + i * OW + u);       \
      MERGE_##K(ORDER_PAIR)                                              \
      FKD_UNROLL_32                                                      \
      for (int i = 0; i < K; ++i) vstore(tile + i * OW + u, x[i]);       \
    }                                                                    \
  }
ORDER_MERGE(17) ORDER_MERGE(18) ORDER_MERGE(19) ORDER_MERGE(20) ORDER_MERGE(21) ORDER_MERGE(22) ORDER_MERGE(23) ORDER_MERGE(24)
ORDER_MERGE(25) ORDER_MERGE(26) ORDER_MERGE(27) ORDER_MERGE(28) ORDER_MERGE(29) ORDER_MERGE(30) ORDER_MERGE(31) ORDER_MERGE(32)
#undef ORDER_MERGE
#define AT(k) FKD_CAT(run_merge, _##k)
static run_merge *const run_merges[] = {AT(17), AT(18), AT(19), AT(20), AT(21), AT(22), AT(23), AT(24), AT(25), AT(26), AT(27), AT(28),
                                        AT(29), AT(30), AT(31), AT(32)};
#undef AT
#undef ORDER_PAIR

/* n <= 32 rows from column c on, of which `have` columns exist, sorted into the tile */
static void sort_run(const REAL *const *rows, int64_t n, int64_t c, int64_t have, const order_ahead *ahead, REAL *sum, REAL *to) {
  const int64_t first = n > 16 ? (n + 1) / 2 : n;
  REAL part[32 * OW];
  const REAL *at[32];
  if (have < OW) {
    for (int64_t i = 0; i < n; ++i) {
      at[i] = part + i * OW;
      for (int64_t j = 0; j < OW; ++j) part[i * OW + j] = j < have ? rows[i][c + j] : 0;
    }
    rows = at, c = 0;
  }
  run_sorts[first - 1](rows, c, ahead, sum, to);
  if (first == n) return;
  run_sorts[n - first - 1](rows + first, c, ahead, sum, to + first * OW);
  run_merges[n - 17](to);
}

/* The sorted halves of n rows, the first one (n + 1) / 2 rows: afterwards rows lo .. n - lo - 1 hold those ranks, in whatever order.
 * The k smallest of two ascending lists are the smaller ones of a_i and b_(k-1-i). Needs 2 lo <= n / 2 or no more than two ranks. */
static void fold_halves(REAL *tile, int64_t n, int64_t lo) {
  const int64_t m = n - n / 2, rest = n / 2;
  REAL *a = tile, *b = tile + m * OW;
  if (n - 2 * lo <= 2) {
    V low[OV], high[OV];
    FKD_UNROLL
    for (int u = 0; u < OV; ++u) low[u] = high[u] = vload(a + u * VL);
    for (int64_t i = 0; i < m; ++i) {
      const REAL *p = a + i * OW, *q = b + (m - 1 - i) * OW;
      if (m - 1 - i == rest) continue; /* as if b went on with inf */
      FKD_UNROLL
      for (int u = 0; u < OV; ++u) {
        const V x = vload(p + u * VL), y = vload(q + u * VL), s = vmin(x, y), l = vmax(y, x);
        low[u] = i ? vmax(low[u], s) : s;
        high[u] = i ? vmin(high[u], l) : l;
      }
    }
    FKD_UNROLL
    for (int u = 0; u < OV; ++u) {
      vstore(tile + lo * OW + u * VL, low[u]);
      if (m == rest) vstore(tile + m * OW + u * VL, high[u]);
    }
    return;
  }
  for (int64_t i = 0; i < lo; ++i) {
    REAL *p = a + i * OW, *q = b + (lo - 1 - i) * OW, *r = a + (m - 1 - i) * OW, *s = b + (rest - lo + i) * OW;
    FKD_UNROLL
    for (int u = 0; u < OW; u += VL) {
      vstore(q + u, vmax(vload(q + u), vload(p + u)));
      vstore(r + u, vmin(vload(r + u), vload(s + u)));
    }
  }
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
#undef WL
#undef WIDE
#undef wide_load

/* Mean of rows lo .. hi - 1 of each column: the sum in double; divided first where the sum overflows. */
static void order_means(const REAL *tile, int64_t lo, int64_t hi, REAL *to) {
  double sum[OW];
  const double count = (double)(hi - lo), share = 1 / count;
  tile_sum(tile, lo, hi, sum);
  if (((hi - lo) & (hi - lo - 1)) == 0) /* the same, sooner */
    for (int j = 0; j < OW; ++j) to[j] = (REAL)(sum[j] * share);
  else
    for (int j = 0; j < OW; ++j) to[j] = (REAL)(sum[j] / count);
#if FKD_BITS == 64 /* sums of floats do not */
  int lost = 0;
  for (int j = 0; j < OW; ++j) lost |= !(fabs(sum[j]) <= DBL_MAX);
  if (lost)
    for (int j = 0; j < OW; ++j)
      if (!(fabs(sum[j]) <= DBL_MAX)) {
        double s = 0;
        for (int64_t r = lo; r < hi; ++r) s += (double)tile[r * OW + j] / count;
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

static int FN(fkd_order)(const REAL *const *rows, int64_t n, int64_t c0, int64_t c1, const fkd_sorter *how, int64_t lo, int64_t hi,
                         int64_t keep, REAL *out, REAL *tile) {
  REAL means[OW], sum[OW];
  memset(sum, 0, sizeof sum);
  for (int64_t c = c0; c < c1; c += OW) {
    if (c + OW > c1 && c1 - c0 >= OW) c = c1 - OW; /* some columns again: sooner than a part of a tile */
    const int64_t have = c1 - c, panel = OV * OW, next = c0 + ((c - c0) / panel + 1) * panel, left = c1 - next < panel ? c1 - next : panel;
    const order_ahead ahead = {next, left * (int64_t)sizeof(REAL), (int)((c - c0) / OW) % OV};
    for (int64_t k = 0; k < how->n_runs; ++k) {
      const int64_t from = how->runs[k], to = k + 1 < how->n_runs ? how->runs[k + 1] : n;
      sort_run(rows + from, to - from, c, have, &ahead, sum, tile + from * OW);
    }
    for (int64_t k = 0; k < how->n_pairs; ++k) {
      REAL *p = tile + (int64_t)how->pairs[2 * k] * OW, *q = tile + (int64_t)how->pairs[2 * k + 1] * OW;
      FKD_UNROLL
      for (int u = 0; u < OV; ++u) {
        V a = vload(p + u * VL), b = vload(q + u * VL);
        vstore(p + u * VL, vmin(a, b));
        vstore(q + u * VL, vmax(b, a)); /* b first: of two zeros one goes each way */
      }
    }
    if (how->halves) fold_halves(tile, n, lo);
    if (keep) near_means(tile, n, keep, means);
    else order_means(tile, lo, hi, means);
    memcpy(out + c, means, (size_t)(have < OW ? have : OW) * sizeof(REAL));
  }
  for (int j = 1; j < OW; ++j) sum[0] += sum[j];
  return sum[0] - sum[0] == 0;
}
#undef run_sort
#undef run_sorts
#undef run_merge
#undef run_merges
#undef OV
#undef OW
