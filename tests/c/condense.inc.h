/* condense.inc.h: matching of features, and kernel ridge regression. */

/* equal rows match; slopes are finite and lead downwards */
static void N(features_case)(const K *t, const fkd_mlp *net, int64_t n, int all) {
  const int64_t in = net->sizes[0], starts[] = {0, n / 2, n}, whole[] = {0, n};
  const int64_t groups = n > 1 ? 2 : 1, *at = n > 1 ? starts : whole;
  real *w = N(bells)(N(n_parameters)(net), 0.3), *X = N(bells)(n * in, 1), *other = N(bells)(n * in, 1);
  real *dX = take((size_t)(n * in) * sizeof(real), sizeof(real)), *scratch = take((size_t)t->features_scratch(net) * sizeof(real), 64);
  CHECK(t->feature_match(net, w, X, at, X, at, groups, all, dX, scratch) == 0, "distance of rows to themselves");
  for (int64_t i = 0; i < n * in; ++i) CHECK(dX[i] == 0, "slope %d is %g at the minimum", (int)i, (double)dX[i]);
  const double value = t->feature_match(net, w, other, at, X, at, groups, all, dX, scratch);
  double square = 0;
  for (int64_t i = 0; i < n * in; ++i) square += (double)dX[i] * dX[i];
  CHECK(isfinite(square) && value >= 0, "distance %g, slope %g", value, square);
  const double step = 1e-3 * value / (square + 1e-30); /* by a thousandth of the distance: relu bends little */
  for (int64_t i = 0; i < n * in; ++i) X[i] -= (real)(step * (double)dX[i]);
  if (square > 1e-8) {
    const double moved = t->feature_match(net, w, other, at, X, at, groups, all, dX, scratch);
    CHECK(moved < value, "distance %.9g after %.9g", moved, value);
  }
  give_back();
}

/* loss and its derivative by the dual weights against plain loops */
static void N(ridge_case)(const K *t, const fkd_kernel *f, int64_t m, int64_t d, int64_t C, int64_t n) {
  real *S = N(bells)(m * d, 1), *a = N(bells)(m * C, 1), *X = N(bells)(n * d, 1), *T = N(bells)(n * C, 1);
  real *da = take((size_t)(m * C) * sizeof(real), sizeof(real)), *dS = take((size_t)(m * d) * sizeof(real), sizeof(real));
  real *scratch = take((size_t)t->ridge_scratch(f, m, d, C) * sizeof(real), 64);
  double *want = take((size_t)(m * C) * 8, 8), *k = take((size_t)m * 8, 8), loss = 0, size = 0;
  memset(want, 0, (size_t)(m * C) * 8);
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t j = 0; j < m; ++j) {
      double x[WIDEST], s[WIDEST];
      for (int64_t i = 0; i < d; ++i) x[i] = X[r * d + i], s[i] = S[j * d + i];
      k[j] = oracle_kernel(f, x, s, (int)d);
    }
    for (int64_t c = 0; c < C; ++c) {
      double gap = -(double)T[r * C + c];
      for (int64_t j = 0; j < m; ++j) gap += k[j] * a[j * C + c];
      loss += 0.5 * gap * gap / (double)(n * C);
      for (int64_t j = 0; j < m; ++j) want[j * C + c] += k[j] * gap / (double)(n * C);
    }
  }
  const double got = t->ridge(f, S, m, d, a, C, X, T, n, da, dS, scratch);
  CHECK(fabs(got - loss) <= 3000 * EPS * (1 + loss), "ridge loss %.12g, not %.12g", got, loss);
  for (int64_t i = 0; i < m * C; ++i) size = fmax(size, fabs(want[i]));
  for (int64_t i = 0; i < m * C; ++i) CHECK(fabs((double)da[i] - want[i]) <= 3000 * EPS * (1 + size), "da %d is %g, not %g", (int)i, (double)da[i], want[i]);
  for (int64_t i = 0; i < m * d; ++i) CHECK(isfinite(dS[i]), "dS %d is %g", (int)i, (double)dS[i]);
  give_back();
}

static void N(condensation)(const K *t) {
  static const fkd_mlp nets[] = {{1, FKD_RELU, {4, 3}}, {3, FKD_RELU, {5, 17, 16, 3}}, {3, FKD_TANH, {3, 16, 7, 2}}, {2, FKD_GELU, {17, 15, 17}}};
  static const int64_t rows[] = {1, 2, 17, 65, 130};
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 5; ++j)
      for (int all = 0; all < 2; ++all) N(features_case)(t, &nets[i], rows[j], all);
  for (int depth = 0; depth < 4; ++depth) {
    const fkd_kernel f = {depth, 0.1, 2, 0.01};
    for (int j = 0; j < 5; ++j) N(ridge_case)(t, &f, 1 + 5 * j, 1 + 4 * j, j % 2 ? 1 : 3 + 5 * j, rows[j]);
  }
}
