/* losses.inc.h: laws of softmax and of the distillation loss for one real type (BITS), on the table `t`. */

/* logits on a grid of 1/64, so that a shift by 1024 is exact also in float */
static void N(fill_logits)(real *x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = (real)(floor(bell() * 3 * 64) / 64);
}

static void N(softmax_case)(const K *t, const K *plain, int64_t n, int64_t C, double T) {
  const size_t size = (size_t)(n * C) * sizeof(real);
  real *x = take(size, sizeof(real)), *p = take(size, sizeof(real)), *l = take(size, sizeof(real)), *other = take(size, sizeof(real));
  N(fill_logits)(x, n * C);
  CHECK(t->softmax(x, n, C, 1 / T, 0, p) == -1, "n %d C %d", (int)n, (int)C);
  CHECK(t->softmax(x, n, C, 1 / T, 1, l) == -1, "n %d C %d", (int)n, (int)C);
  for (int64_t r = 0; r < n; ++r) {
    double z[WIDEST], want[WIDEST], sum = 0;
    for (int64_t c = 0; c < C; ++c) z[c] = x[r * C + c];
    oracle_log_softmax(z, (int)C, T, want);
    for (int64_t c = 0; c < C; ++c) {
      const double got = p[r * C + c], slack = EPS * (8 + 2 * fabs(want[c]));
      CHECK(fabs(got - exp(want[c])) <= slack * exp(want[c]), "softmax %.9g, not %.9g; n %d C %d T %g", got, exp(want[c]), (int)n, (int)C, T);
      CHECK(fabs(l[r * C + c] - want[c]) <= slack, "log softmax %.9g, not %.9g; C %d T %g", (double)l[r * C + c], want[c], (int)C, T);
      sum += got;
    }
    CHECK(fabs(sum - 1) <= EPS * (double)(C + 2), "row %d sums to %.9g", (int)r, sum);
  }
  CHECK(plain->softmax(x, n, C, 1 / T, 0, other) == -1 && !memcmp(other, p, size), "other bits than scalar; n %d C %d", (int)n, (int)C);
  CHECK(plain->softmax(x, n, C, 1 / T, 1, other) == -1 && !memcmp(other, l, size), "other bits than scalar; n %d C %d", (int)n, (int)C);
  memcpy(other, x, size);
  CHECK(t->softmax(other, n, C, 1 / T, 0, other) == -1 && !memcmp(other, p, size), "in place it differs");
  for (int64_t i = 0; i < n * C; ++i) other[i] = x[i] + 1024;
  CHECK(t->softmax(other, n, C, 1 / T, 0, other) == -1 && !memcmp(other, p, size), "a shift of the logits changes it");
  for (int log_ = 0; log_ < 2; ++log_) { /* logits far apart */
    for (int64_t i = 0; i < n * C; ++i) other[i] = x[i] * (real)1e4;
    CHECK(t->softmax(other, n, C, 1 / T, log_, other) == -1, "large logits");
    for (int64_t i = 0; i < n * C; ++i) CHECK(isfinite(other[i]), "large logits give %g", (double)other[i]);
  }
  for (int64_t bad = 0; bad < n; bad += n > 4 ? 7 : 1) {
    const real poison[] = {(real)NAN, (real)INFINITY};
    for (int i = 0; i < 2; ++i) {
      memcpy(other, x, size);
      other[bad * C + C - 1] = poison[i];
      CHECK(t->softmax(other, n, C, 1 / T, 0, l) == bad, "a bad row was not named; n %d C %d", (int)n, (int)C);
    }
    memcpy(other, x, size);
    for (int64_t c = 0; c < C; ++c) other[bad * C + c] = -(real)INFINITY;
    CHECK(t->softmax(other, n, C, 1 / T, 0, l) == bad, "a row of -inf was not named; n %d C %d", (int)n, (int)C);
    if (C == 1) continue;
    other[bad * C] = 0;
    CHECK(t->softmax(other, n, C, 1 / T, 0, l) == -1 && l[bad * C] == 1 && l[bad * C + 1] == 0, "-inf is probability 0");
  }
  give_back();
}

static void N(distill_case)(const K *t, int64_t n, int64_t C, int teacher, int labelled, int weighted, double T, double kd) {
  const size_t size = (size_t)(n * C) * sizeof(real);
  real *s = take(size, sizeof(real)), *z = take(size, sizeof(real)), *g = take(size, sizeof(real)), *w = take((size_t)n * sizeof(real), sizeof(real));
  int32_t *y = take((size_t)n * sizeof(int32_t), sizeof(int32_t));
  real *scratch = take((size_t)(C > 16 ? 5 * ((C + 15) / 16 * 16) : 0) * sizeof(real), 64);
  const fkd_distill how = {T, kd, labelled == 2 ? 0.1 : 0, teacher};
  const double scale = 1 / (double)n;
  double loss = NAN, again = NAN, want = 0, slack = 0;
  N(fill_logits)(s, n * C);
  N(fill_logits)(z, n * C);
  for (int64_t r = 0; r < n; ++r) {
    y[r] = r % 5 == 3 ? -1 : (int32_t)(uniform() * (double)C);
    w[r] = (real)(0.25 + uniform());
    if (r % 6 == 1) memcpy(z + r * C, s + r * C, (size_t)C * sizeof(real)); /* student and teacher agree */
    if (teacher == FKD_PROBABILITIES) {
      double row[WIDEST];
      for (int64_t c = 0; c < C; ++c) row[c] = z[r * C + c];
      oracle_log_softmax(row, (int)C, T, row);
      for (int64_t c = 0; c < C; ++c) z[r * C + c] = (real)exp(row[c]);
    }
  }
  CHECK(t->distill_loss(s, teacher ? z : NULL, labelled ? y : NULL, weighted ? w : NULL, n, C, &how, scale, &loss, g, scratch) == -1, "bad row");
  for (int64_t r = 0; r < n; ++r) {
    double a[WIDEST], b[WIDEST], d[WIDEST];
    const double weight = weighted ? (double)w[r] : 1;
    for (int64_t c = 0; c < C; ++c) a[c] = s[r * C + c], b[c] = z[r * C + c];
    const double row = weight * oracle_distill(a, b, labelled ? y[r] : -1, (int)C, &how, d);
    want += row;
    /* also: a cross-entropy near 0 is the logarithm of a sum near 1, and rounded q_t sum to 1 only within EPS */
    slack += 64 * EPS * fabs(row) + 4 * EPS * weight * labelled + weight * T * T * (teacher == FKD_PROBABILITIES ? 4 * EPS : 32 * DBL_EPSILON);
    for (int64_t c = 0; c < C; ++c)
      CHECK(fabs(g[r * C + c] - scale * weight * d[c]) <= 64 * EPS * scale * (1 + T), "gradient %.9g, not %.9g; n %d C %d T %g teacher %d",
            (double)g[r * C + c], scale * weight * d[c], (int)n, (int)C, T, teacher);
  }
  CHECK(fabs(loss - want) <= slack, "loss %.17g, not %.17g; n %d C %d T %g teacher %d", loss, want, (int)n, (int)C, T, teacher);
  CHECK(t->distill_loss(s, teacher ? z : NULL, labelled ? y : NULL, weighted ? w : NULL, n, C, &how, scale, &again, NULL, scratch) == -1 &&
            again == loss, "without gradient the loss is %.17g, not %.17g", again, loss);
  if (BITS == 64) { /* the gradient is the derivative of the loss */
    const int64_t at = (int64_t)(uniform() * (double)(n * C));
    const real keep = s[at], step = (real)1e-5;
    double up, down;
    s[at] = keep + step, t->distill_loss(s, teacher ? z : NULL, labelled ? y : NULL, weighted ? w : NULL, n, C, &how, scale, &up, NULL, scratch);
    s[at] = keep - step, t->distill_loss(s, teacher ? z : NULL, labelled ? y : NULL, weighted ? w : NULL, n, C, &how, scale, &down, NULL, scratch);
    s[at] = keep;
    const double slope = scale * (up - down) / (2 * (double)step);
    CHECK(fabs(slope - (double)g[at]) <= 1e-6 * (fabs(slope) + scale * T), "slope %.12g, gradient %.12g", slope, (double)g[at]);
  }
  CHECK(t->distill_loss(s, teacher ? z : NULL, labelled ? y : NULL, weighted ? w : NULL, n, C, &how, scale, &again, s, scratch) == -1 &&
            !memcmp(s, g, size), "the gradient in place of the student differs");
  s[(n - 1) * C] = (real)NAN;
  CHECK(t->distill_loss(s, teacher ? z : NULL, labelled ? y : NULL, weighted ? w : NULL, n, C, &how, scale, &again, g, scratch) == n - 1 || C < 1,
        "the bad row was not named");
  give_back();
}

static void N(losses)(const K *t, const K *plain) {
  static const int64_t rows[] = {1, 2, 15, 16, 17, 33}, classes[] = {1, 2, 3, 4, 5, 7, 15, 16, 17, 33};
  static const double temperatures[] = {0.5, 1, 3};
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 10; ++j)
      for (int k = 0; k < 3; ++k) {
        N(softmax_case)(t, plain, rows[i], classes[j], temperatures[k]);
        for (int teacher = 0; teacher < 3; ++teacher)
          for (int labelled = teacher ? 0 : 1; labelled < 3; ++labelled) /* 2: with smoothing */
            N(distill_case)(t, rows[i], classes[j], teacher, labelled, (i + j + k) % 2, temperatures[k], !teacher ? 0 : !labelled ? 1 : 0.3);
      }
}
