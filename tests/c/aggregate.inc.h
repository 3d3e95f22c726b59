/* aggregate.inc.h: laws of robust aggregation for one real type (BITS). `plain` is the scalar table. Rows are buffers of their own. */

static real **N(rows)(int64_t n, int64_t d, double offset) {
  real **rows = take((size_t)n * sizeof(real *), 8);
  for (int64_t i = 0; i < n; ++i) {
    rows[i] = N(bells)(d, 1);
    for (int64_t c = 0; c < d; ++c) rows[i][c] = (real)(rows[i][c] + offset);
  }
  return rows;
}

static void N(finite_case)(const K *t, int64_t d) {
  const real bad[] = {(real)NAN, (real)INFINITY, -(real)INFINITY};
  real *x = N(bells)(d, 1);
  x[0] = BITS == 32 ? (real)FLT_MAX : (real)DBL_MAX;
  CHECK(t->finite(x, d) == 1, "the largest number is finite; d %d", (int)d);
  for (int64_t c = 0; c < d; ++c)
    for (int k = 0; k < 3; ++k) {
      const real keep = x[c];
      x[c] = bad[k];
      CHECK(t->finite(x, d) == 0, "%g in place %d of %d was not seen", (double)bad[k], (int)c, (int)d);
      x[c] = keep;
    }
  give_back();
}

static void N(distances_case)(const K *t, const K *plain, int64_t n, int64_t d, double offset) {
  const size_t size = (size_t)(n * n) * sizeof(double);
  real **table = N(rows)(n, d, offset);
  const real *const *rows = (const real *const *)table;
  double *exact = take(size, 8), *rough = take(size, 8), *near = take(size, 8), *other = take(size, 8);
  double *scratch = take((size_t)(FKD_NEAR * n) * sizeof(double), 64);
  if (n > 4) memcpy(table[3], table[1], (size_t)d * sizeof(real));
  memset(exact, 0, size), memset(rough, 0, size), memset(near, 0, size), memset(other, 0, size);
  t->sq_distances(rows, n, d, 0, 1, exact);
  t->rough_distances(rows, n, d, 0, 1, rough);
  t->near_distances(rows, n, d, 0, 1, near, scratch);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double want = 0;
      for (int64_t c = 0; c < d; ++c) want += ((double)rows[i][c] - (double)rows[j][c]) * ((double)rows[i][c] - (double)rows[j][c]);
      if (j <= i) want = 0; /* what is not above the diagonal is left alone */
      CHECK(fabs(exact[i * n + j] - want) <= 4e-16 * (double)d * want, "%.17g, not %.17g; n %d d %d", exact[i * n + j], want, (int)n, (int)d);
      CHECK(fabs(near[i * n + j] - want) <= 1e-9 * want, "near %.17g, not %.17g; n %d d %d", near[i * n + j], want, (int)n, (int)d);
      CHECK(fabs(rough[i * n + j] - want) <= (BITS == 32 ? 1e-5 : 1e-9) * want, "rough %.9g, not %.9g; n %d d %d", rough[i * n + j],
            want, (int)n, (int)d);
    }
  plain->sq_distances(rows, n, d, 0, 1, other);
  CHECK(!memcmp(other, exact, size), "other bits than scalar; n %d d %d", (int)n, (int)d);
  for (int64_t step = 2; step < 4; ++step)
    for (int kind = 0; kind < 2; ++kind) { /* shared out among workers */
      memset(other, 0, size);
      for (int64_t first = 0; first < step; ++first) (kind ? t->rough_distances : t->sq_distances)(rows, n, d, first, step, other);
      CHECK(!memcmp(other, kind ? rough : exact, size), "%d workers change bits; n %d d %d", (int)step, (int)n, (int)d);
    }
  table[0][d - 1] = (real)NAN; /* is seen in all distances to it, and in no other */
  memset(rough, 0, size);
  t->rough_distances(rows, n, d, 0, 1, rough);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i + 1; j < n; ++j) CHECK((isnan(rough[i * n + j]) != 0) == (i == 0), "distance %d, %d is %g", (int)i, (int)j, rough[i * n + j]);
  table[0][d - 1] = BITS == 32 ? (real)3e38 : (real)1e300;
  memset(rough, 0, size);
  t->rough_distances(rows, n, d, 0, 1, rough);
  for (int64_t j = 1; j < n; ++j) CHECK(rough[j] == INFINITY, "squares beyond the largest number give %g", rough[j]);
  give_back();
}

static int N(ascending)(const void *a, const void *b) {
  const real x = *(const real *)a, y = *(const real *)b;
  return (x > y) - (x < y);
}

/* bubble sort of rows first .. end - 1 */
static int64_t N(bubble)(uint16_t *pairs, int64_t n_pairs, int64_t first, int64_t end) {
  for (int64_t a = end - 1; a > first; --a)
    for (int64_t b = first; b < a; ++b) pairs[2 * n_pairs] = (uint16_t)b, pairs[2 * n_pairs++ + 1] = (uint16_t)(b + 1);
  return n_pairs;
}

/* runs of so many rows; comparators sort the rest, or the halves */
static void N(order_case)(const K *t, const K *plain, int64_t n, int64_t d, int64_t run, int halves, int integers) {
  real **table = N(rows)(n, d, 0), *out = take((size_t)d * sizeof(real), sizeof(real)), *other = take((size_t)d * sizeof(real), sizeof(real));
  real *column = take((size_t)n * sizeof(real), sizeof(real)), *scratch = take((size_t)(64 * n) * sizeof(real), 64);
  const real *const *rows = (const real *const *)table;
  uint16_t *pairs = take((size_t)(n * n) * sizeof(uint16_t), 2), *runs = take((size_t)(n + 1) * sizeof(uint16_t), 2);
  const int64_t middle = halves ? n - n / 2 : n;
  fkd_sorter how = {runs, pairs, 0, N(bubble)(pairs, 0, 0, middle), halves, integers};
  how.n_pairs = N(bubble)(pairs, how.n_pairs, middle, n);
  for (int64_t i = 0; i < middle; i += run) runs[how.n_runs++] = (uint16_t)i;
  for (int64_t i = middle; i < n; i += run) runs[how.n_runs++] = (uint16_t)i;
  if (run >= (halves ? middle : n)) how.n_pairs = 0;
  if (n > 1) table[1][0] = table[0][0];
  for (int64_t lo = 0; lo <= (n - 1) / 2; lo += 1 + n / 5) {
    const int64_t hi = n - lo, keep = n - lo;
    if (halves && 2 * lo > n / 2 && hi - lo > 2) continue;
    for (int near = 0; near < (halves ? 1 : 2); ++near) {
      memset(out, 0xFF, (size_t)d * sizeof(real)), memset(other, 0xFF, (size_t)d * sizeof(real));
      CHECK(t->order(rows, n, 0, d, &how, lo, hi, near ? keep : 0, out, scratch) == 1, "finite rows are not called so; n %d", (int)n);
      for (int64_t c = 0; c < d; ++c) {
        double want = 0;
        for (int64_t i = 0; i < n; ++i) column[i] = rows[i][c];
        qsort(column, (size_t)n, sizeof(real), N(ascending));
        if (near) {
          const double center = ((double)column[(n - 1) / 2] + (double)column[n / 2]) / 2;
          int64_t a = 0, b = n; /* the farther end goes, the upper one of equals */
          while (b - a > keep) {
            if (center - (double)column[a] > (double)column[b - 1] - center) ++a;
            else --b;
          }
          for (int64_t i = a; i < b; ++i) want += (double)column[i] / (double)keep;
        } else
          for (int64_t i = lo; i < hi; ++i) want += (double)column[i] / (double)(hi - lo);
        CHECK(fabs(out[c] - want) <= EPS * fabs(want) + 1e-15, "%.17g, not %.17g; n %d column %d of %d, near %d, runs of %d, halves %d",
              (double)out[c], want, (int)n, (int)c, (int)d, near, (int)run, halves);
      }
      plain->order(rows, n, 0, d / 3, &how, lo, hi, near ? keep : 0, other, scratch);
      CHECK(d / 3 == d || isnan(other[d / 3]), "a column was written that was not asked for");
      plain->order(rows, n, d / 3, d, &how, lo, hi, near ? keep : 0, other, scratch);
      CHECK(!memcmp(out, other, (size_t)d * sizeof(real)), "other bits than scalar in two parts; n %d d %d", (int)n, (int)d);
    }
  }
  for (int bad = 0; bad < 3; ++bad) {
    const int64_t i = (int64_t)(uniform() * (double)n), c = (int64_t)(uniform() * (double)d);
    const real was = table[i][c];
    table[i][c] = (real)(bad ? bad == 1 ? INFINITY : -INFINITY : NAN);
    CHECK(t->order(rows, n, 0, d, &how, (n - 1) / 2, n / 2 + 1, 0, out, scratch) == 0, "%g goes unnoticed", (double)table[i][c]);
    table[i][c] = was;
  }
  give_back();
}

static void N(combine_case)(const K *t, const K *plain, int64_t n, int64_t d) {
  real **table = N(rows)(n, d, 0), *out = take((size_t)d * sizeof(real), sizeof(real)), *other = take((size_t)d * sizeof(real), sizeof(real));
  const real *const *rows = (const real *const *)table;
  double *w = take((size_t)n * 8, 8);
  for (int64_t i = 0; i < n; ++i) w[i] = i % 3 ? bell() : 0;
  t->combine(rows, n, w, 0, d, out);
  for (int64_t c = 0; c < d; ++c) {
    double want = 0;
    for (int64_t i = 0; i < n; ++i) want += w[i] * (double)rows[i][c];
    CHECK(out[c] == (real)want, "%.17g, not %.17g; n %d column %d of %d", (double)out[c], want, (int)n, (int)c, (int)d);
  }
  CHECK(t->combine(rows, n, NULL, 0, d, other) == 1, "a mean of finite rows is not called so; n %d d %d", (int)n, (int)d);
  for (int64_t c = 0; c < d; ++c) {
    double want = 0;
    for (int64_t i = 0; i < n; ++i) want += (double)rows[i][c];
    CHECK(other[c] == (real)(want * (1 / (double)n)), "%.17g, not %.17g; n %d column %d of %d", (double)other[c], want / (double)n, (int)n,
          (int)c, (int)d);
  }
  memset(other, 0xFF, (size_t)d * sizeof(real));
  plain->combine(rows, n, w, 0, d / 3, other);
  CHECK(d / 3 == d || isnan(other[d / 3]), "a column was written that was not asked for");
  plain->combine(rows, n, w, d / 3, d, other);
  CHECK(!memcmp(out, other, (size_t)d * sizeof(real)), "other bits than scalar in two parts; n %d d %d", (int)n, (int)d);
  double gap = 0;
  for (int64_t c = 0; c < d; ++c) gap += ((double)rows[0][c] - (double)out[c]) * ((double)rows[0][c] - (double)out[c]);
  const double got = t->gap(rows, n, w, 0, d, rows[0], 0.5), same = plain->gap(rows, n, w, 0, d, rows[0], 0.5);
  CHECK(fabs(4 * got - gap) <= 1e-13 * gap && !memcmp(&got, &same, 8), "gap %.17g, scalar %.17g, not %.17g; n %d d %d", 4 * got, 4 * same, gap,
        (int)n, (int)d);
  t->combine(rows, n, w, 0, d, table[n - 1]);
  CHECK(!memcmp(out, table[n - 1], (size_t)d * sizeof(real)), "in place it differs; n %d d %d", (int)n, (int)d);
  give_back();
}

static void N(aggregation)(const K *t, const K *plain) {
  int64_t orders = 0; /* floats as integers every other time */
  static const int64_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13}, lengths[] = {1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 129};
  for (int j = 0; j < 11; ++j) {
    N(finite_case)(t, lengths[j]);
    for (int i = 0; i < 10; ++i) {
      N(distances_case)(t, plain, counts[i], lengths[j], 0);
      N(distances_case)(t, plain, counts[i], lengths[j], 1000);
      for (int halves = 0; halves < (counts[i] > 1 ? 2 : 1); ++halves) N(order_case)(t, plain, counts[i], lengths[j], 1 + j % 4, halves, (int)(orders++ % 2));
      N(combine_case)(t, plain, counts[i], lengths[j]);
    }
  }
  N(distances_case)(t, plain, 6, 2085, 30); /* several blocks of columns */
  N(distances_case)(t, plain, 70, 20, 0);   /* and of rows */
  for (int64_t k = 0; k < 128; ++k) { /* every network, twice */
    const int64_t n = 1 + k / 2;
    if (n <= 32) N(order_case)(t, plain, n, 70, 32, 0, (int)(k % 2));
    if (n > 1) N(order_case)(t, plain, n, 70, 32, 1, (int)(k % 2));
  }
  N(order_case)(t, plain, 40, 300, 7, 0, (int)(orders++ % 2));
  N(combine_case)(t, plain, 5, 2085);
}
