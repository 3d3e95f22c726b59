/* runs.inc.h: rows sorted in registers and merged in L1, over LINE, what a lane is sorted as: the reals themselves (LINE_INTEGERS 0),
 * or, for float, integers in their order, whose minima and maxima some processors take twice as many of at a time. Included by
 * order.inc.h once for each. */
#define LINE_(name) FKD_CAT(FN(name), LINE_SUFFIX)
#define run_sort LINE_(run_sort)
#define run_sorts LINE_(run_sorts)
#define run_merge LINE_(run_merge)
#define run_merges LINE_(run_merges)
#define sort_run LINE_(sort_run)
#define fold_halves LINE_(fold_halves)
#define sort_tile LINE_(sort_tile)
#define line_min LINE_(line_min)
#define line_max LINE_(line_max)
#define line_load LINE_(line_load)
#define line_store LINE_(line_store)
#define line_row LINE_(line_row)
#define line_seen LINE_(line_seen)
#define line_real LINE_(line_real)
#define line_middle LINE_(line_middle)
#define run_mean LINE_(run_mean)
#define run_means LINE_(run_means)
#define run_fold LINE_(run_fold)
#define run_folds LINE_(run_folds)
#define direct_means LINE_(direct_means)

#if LINE_INTEGERS
typedef VI LINE_(LINE);
#define LINE LINE_(LINE)
FKD_INLINE LINE line_min(LINE a, LINE b) { return vimin(a, b); }
FKD_INLINE LINE line_max(LINE a, LINE b) { return vimax(a, b); }
FKD_INLINE LINE line_load(const REAL *p) { return vasint(vload(p)); }
FKD_INLINE void line_store(REAL *p, LINE x) { vstore(p, vasreal(x)); }
/* Two's complement from sign and magnitude: in the order of the numbers, and both zeros 0. */
FKD_INLINE LINE line_row(const REAL *p) {
  const VI x = vasint(vload(p)), s = x >> 31;
  return (x ^ (s & visetl(0x7fffffff))) - s;
}
FKD_INLINE V line_real(LINE x) {
  const VI s = x >> 31;
  return vasreal((x + s) ^ (s & visetl(0x7fffffff)));
}
#else
typedef V LINE_(LINE);
#define LINE LINE_(LINE)
FKD_INLINE LINE line_min(LINE a, LINE b) { return vmin(a, b); }
FKD_INLINE LINE line_max(LINE a, LINE b) { return vmax(a, b); }
FKD_INLINE LINE line_load(const REAL *p) { return vload(p); }
FKD_INLINE void line_store(REAL *p, LINE x) { vstore(p, x); }
FKD_INLINE LINE line_row(const REAL *p) { return vload(p); }
FKD_INLINE V line_real(LINE x) { return x; }
#endif

/* What tells whether all rows of a run were finite, kept for each vector of a tile: sums, which NaN and inf do not leave finite; of
 * integers the smallest and the largest. */
FKD_INLINE void line_seen(const LINE *x, int n, int sorted, REAL *seen) {
#if LINE_INTEGERS
  if (sorted) {
    line_store(seen, line_min(line_load(seen), x[0]));
    line_store(seen + OW, line_max(line_load(seen + OW), x[n - 1]));
  }
#else
  if (!sorted) {
    V s = vload(seen), t = vset1(0);
    FKD_UNROLL
    for (int i = 0; i < n; i += 2) {
      s = s + x[i];
      if (i + 1 < n) t = t + x[i + 1];
    }
    vstore(seen, s + t);
  }
#endif
}

/* Lines of a network, each a vector. Of two equal values, zeros of either sign, each goes one way: nothing is lost. */
#define ORDER_PAIR(i, j)              \
  do {                                \
    const LINE a = x[i], b = x[j];    \
    x[i] = line_min(a, b);            \
    x[j] = line_max(b, a);            \
  } while (0);

/* K rows of one vector of columns, sorted: declares x. While they are, one of the rows is fetched in the next panel. */
#define SORTED_ROWS(K)                                                                              \
  LINE x[K];                                                                                        \
  order_fetch(rows, K, ahead, u);                                                                   \
  FKD_UNROLL                                                                                        \
  for (int i = 0; i < K; ++i) x[i] = line_row(rows[i] + c + u * VL);                                \
  line_seen(x, K, 0, seen + u * VL);                                                                \
  SORT_##K(ORDER_PAIR)                                                                              \
  line_seen(x, K, 1, seen + u * VL);

/* Sorts K rows from column c on into the tile; takes note of them in `seen`. */
typedef void run_sort(const REAL *const *rows, int64_t c, const order_ahead *ahead, REAL *seen, REAL *to);
#define ORDER_SORT(K)                                                                               \
  static void FKD_CAT(run_sort, _##K)(const REAL *const *rows, int64_t c, const order_ahead *ahead, \
                                      REAL *seen, REAL *to) {                                       \
    for (int u = 0; u < OV; ++u) {                                                                  \
      SORTED_ROWS(K)                                                                                \
      FKD_UNROLL                                                                                    \
      for (int i = 0; i < K; ++i) line_store(to + i * OW + u * VL, x[i]);                           \
    }                                                                                               \
  }
#define SORT_1(C)
ORDER_SORT(1) ORDER_SORT(2) ORDER_SORT(3) ORDER_SORT(4) ORDER_SORT(5) ORDER_SORT(6) ORDER_SORT(7) ORDER_SORT(8)
ORDER_SORT(9) ORDER_SORT(10) ORDER_SORT(11) ORDER_SORT(12) ORDER_SORT(13) ORDER_SORT(14) ORDER_SORT(15) ORDER_SORT(16)
#undef ORDER_SORT
#define AT(k) FKD_CAT(run_sort, _##k)
static run_sort *const run_sorts[] = {AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7), AT(8), AT(9), AT(10), AT(11), AT(12), AT(13), AT(14),
                                      AT(15), AT(16)};
#undef AT

#if ORDER_DIRECT
/* (a + b) / 2, in double */
FKD_INLINE V line_middle(LINE a, LINE b) {
  const V x = line_real(a), y = line_real(b);
  return wide_narrow((wide_low(x) + wide_low(y)) * 0.5, (wide_high(x) + wide_high(y)) * 0.5);
}

/* Means of K sorted rows times their weights, 0 and 1; weights NULL: the median. */
typedef void run_mean(const REAL *const *rows, int64_t c, const order_ahead *ahead, const double *weights,
                      double share, REAL *seen, REAL *to);
#define ORDER_MEAN(K)                                                                               \
  static void FKD_CAT(run_mean, _##K)(const REAL *const *rows, int64_t c, const order_ahead *ahead, \
                                      const double *weights, double share, REAL *seen, REAL *to) {  \
    if (!weights)                                                                                   \
      for (int u = 0; u < OV; ++u) {                                                                \
        SORTED_ROWS(K)                                                                              \
        vstore(to + u * VL, K % 2 ? line_real(x[K / 2]) : line_middle(x[(K - 1) / 2], x[K / 2]));   \
      }                                                                                             \
    else                                                                                            \
      for (int u = 0; u < OV; ++u) {                                                                \
        SORTED_ROWS(K)                                                                              \
        WIDE low = {0}, high = {0};                                                                 \
        FKD_UNROLL                                                                                  \
        for (int i = 0; i < K; ++i) { /* 0 and 1 times x are exact, fused or not */                 \
          const V r = line_real(x[i]);                                                              \
          low = wide_fma(wide_low(r), weights[i], low);                                             \
          high = wide_fma(wide_high(r), weights[i], high);                                          \
        }                                                                                           \
        vstore(to + u * VL, wide_narrow(low * share, high * share));                                \
      }                                                                                             \
  }
ORDER_MEAN(1) ORDER_MEAN(2) ORDER_MEAN(3) ORDER_MEAN(4) ORDER_MEAN(5) ORDER_MEAN(6) ORDER_MEAN(7) ORDER_MEAN(8)
ORDER_MEAN(9) ORDER_MEAN(10) ORDER_MEAN(11) ORDER_MEAN(12) ORDER_MEAN(13) ORDER_MEAN(14) ORDER_MEAN(15) ORDER_MEAN(16)
#undef ORDER_MEAN
#define AT(k) FKD_CAT(run_mean, _##k)
static run_mean *const run_means[] = {AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7), AT(8), AT(9), AT(10), AT(11), AT(12), AT(13),
                                      AT(14), AT(15), AT(16)};
#undef AT

/* The median of K rows and of m sorted ones in the tile, m = K or K + 1: see fold_halves. */
typedef void run_fold(const REAL *const *rows, int64_t m, int64_t c, const order_ahead *ahead, const REAL *tile, REAL *seen, REAL *to);
#define ORDER_FOLD(K)                                                                               \
  static void FKD_CAT(run_fold, _##K)(const REAL *const *rows, int64_t m, int64_t c, const order_ahead *ahead, \
                                      const REAL *tile, REAL *seen, REAL *to) {                     \
    for (int u = 0; u < OV; ++u) {                                                                  \
      SORTED_ROWS(K)                                                                                \
      const REAL *p = tile + u * VL;                                                                \
      if (m > K) {                                                                                  \
        LINE low = line_load(p);                                                                    \
        FKD_UNROLL                                                                                  \
        for (int i = 1; i <= K; ++i) low = line_max(low, line_min(line_load(p + i * OW), x[K - i])); \
        vstore(to + u * VL, line_real(low));                                                        \
      } else {                                                                                      \
        LINE a = line_load(p), low = line_min(a, x[K - 1]), high = line_max(a, x[K - 1]);           \
        FKD_UNROLL                                                                                  \
        for (int i = 1; i < K; ++i) {                                                               \
          a = line_load(p + i * OW);                                                                \
          low = line_max(low, line_min(a, x[K - 1 - i]));                                           \
          high = line_min(high, line_max(a, x[K - 1 - i]));                                         \
        }                                                                                           \
        vstore(to + u * VL, line_middle(low, high));                                                \
      }                                                                                             \
    }                                                                                               \
  }
ORDER_FOLD(8) ORDER_FOLD(9) ORDER_FOLD(10) ORDER_FOLD(11) ORDER_FOLD(12) ORDER_FOLD(13) ORDER_FOLD(14) ORDER_FOLD(15) ORDER_FOLD(16)
#undef ORDER_FOLD
#define AT(k) FKD_CAT(run_fold, _##k)
static run_fold *const run_folds[] = {AT(8), AT(9), AT(10), AT(11), AT(12), AT(13), AT(14), AT(15), AT(16)}; /* of 17 rows and more */
#undef AT

/* Means of ranks lo .. hi - 1 of n <= 16 rows, or medians of n <= 32, in whole tiles, without passing through memory. */
static void direct_means(const REAL *const *rows, int64_t n, int64_t c, int64_t lo, int64_t hi, const order_ahead *ahead, REAL *seen,
                         REAL *tile, REAL *to) {
  if (n <= 16) {
    double weights[16];
    for (int i = 0; i < 16; ++i) weights[i] = i >= lo && i < hi;
    run_means[n - 1](rows, c, ahead, hi - lo <= 2 && lo == (n - 1) / 2 ? NULL : weights, 1 / (double)(hi - lo), seen, to);
    return;
  }
  const int64_t m = n - n / 2;
  run_sorts[m - 1](rows, c, ahead, seen, tile);
  run_folds[n / 2 - 8](rows + m, m, c, ahead, tile, seen, to);
}
#endif
#undef SORT_1

/* Merges the sorted first (K + 1) / 2 of K rows of the tile with the sorted rest. */
typedef void run_merge(REAL *tile);
#define ORDER_MERGE(K)                                                   \
  static void FKD_CAT(run_merge, _##K)(REAL *tile) {                    \
    for (int64_t u = 0; u < OW; u += VL) {                               \
      LINE x[K];                                                            \
      FKD_UNROLL_32                                                      \
      for (int i = 0; i < K; ++i) x[i] = line_load(tile + i * OW + u);       \
      MERGE_##K(ORDER_PAIR)                                              \
      FKD_UNROLL_32                                                      \
      for (int i = 0; i < K; ++i) line_store(tile + i * OW + u, x[i]);       \
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
static void sort_run(const REAL *const *rows, int64_t n, int64_t c, int64_t have, const order_ahead *ahead, REAL *seen, REAL *to) {
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
  run_sorts[first - 1](rows, c, ahead, seen, to);
  if (first == n) return;
  run_sorts[n - first - 1](rows + first, c, ahead, seen, to + first * OW);
  run_merges[n - 17](to);
}

/* The sorted halves of n rows, the first one (n + 1) / 2 rows: afterwards rows lo .. n - lo - 1 hold those ranks, in whatever order.
 * The k smallest of two ascending lists are the smaller ones of a_i and b_(k-1-i). Needs 2 lo <= n / 2 or no more than two ranks. */
static void fold_halves(REAL *tile, int64_t n, int64_t lo) {
  const int64_t m = n - n / 2, rest = n / 2;
  REAL *a = tile, *b = tile + m * OW;
  if (n - 2 * lo <= 2) {
    LINE low[OV], high[OV];
    FKD_UNROLL
    for (int u = 0; u < OV; ++u) low[u] = high[u] = line_load(a + u * VL);
    for (int64_t i = 0; i < m; ++i) {
      const REAL *p = a + i * OW, *q = b + (m - 1 - i) * OW;
      if (m - 1 - i == rest) continue; /* as if b went on with inf */
      FKD_UNROLL
      for (int u = 0; u < OV; ++u) {
        const LINE x = line_load(p + u * VL), y = line_load(q + u * VL), s = line_min(x, y), l = line_max(y, x);
        low[u] = i ? line_max(low[u], s) : s;
        high[u] = i ? line_min(high[u], l) : l;
      }
    }
    FKD_UNROLL
    for (int u = 0; u < OV; ++u) {
      line_store(tile + lo * OW + u * VL, low[u]);
      if (m == rest) line_store(tile + m * OW + u * VL, high[u]);
    }
    return;
  }
  for (int64_t i = 0; i < lo; ++i) {
    REAL *p = a + i * OW, *q = b + (lo - 1 - i) * OW, *r = a + (m - 1 - i) * OW, *s = b + (rest - lo + i) * OW;
    FKD_UNROLL
    for (int u = 0; u < OW; u += VL) {
      line_store(q + u, line_max(line_load(q + u), line_load(p + u)));
      line_store(r + u, line_min(line_load(r + u), line_load(s + u)));
    }
  }
}

/* Sorts `have` columns from c on into the tile, as far as ranks lo .. n - lo - 1, or those that `how` gives, need it. */
static void sort_tile(const REAL *const *rows, int64_t n, int64_t c, int64_t have, const fkd_sorter *how, int64_t lo,
                      const order_ahead *ahead, REAL *seen, REAL *tile) {
  for (int64_t k = 0; k < how->n_runs; ++k) {
    const int64_t from = how->runs[k], to = k + 1 < how->n_runs ? how->runs[k + 1] : n;
    sort_run(rows + from, to - from, c, have, ahead, seen, tile + from * OW);
  }
  for (int64_t k = 0; k < how->n_pairs; ++k) {
    REAL *p = tile + (int64_t)how->pairs[2 * k] * OW, *q = tile + (int64_t)how->pairs[2 * k + 1] * OW;
    FKD_UNROLL
    for (int u = 0; u < OV; ++u) {
      LINE a = line_load(p + u * VL), b = line_load(q + u * VL);
      line_store(p + u * VL, line_min(a, b));
      line_store(q + u * VL, line_max(b, a)); /* b first: of two zeros one goes each way */
    }
  }
  if (how->halves) fold_halves(tile, n, lo);
}
#undef LINE
#undef LINE_
#undef run_sort
#undef run_sorts
#undef run_merge
#undef run_merges
#undef sort_run
#undef fold_halves
#undef sort_tile
#undef line_min
#undef line_max
#undef line_load
#undef line_store
#undef line_row
#undef line_seen
#undef line_real
#undef line_middle
#undef run_mean
#undef run_means
#undef run_fold
#undef run_folds
#undef direct_means
#undef SORTED_ROWS
