/* networks.inc.h: laws of the perceptron for one real type (BITS): gradient, epoch, prediction. `exact` is the scalar table of doubles. */

static int64_t N(n_parameters)(const fkd_mlp *net) {
  int64_t n = 0;
  for (int l = 0; l < net->layers; ++l) n += (net->sizes[l] + 1) * net->sizes[l + 1];
  return n;
}

static real *N(bells)(int64_t n, double scale) {
  real *x = take((size_t)n * sizeof(real), sizeof(real));
  for (int64_t i = 0; i < n; ++i) x[i] = (real)(scale * bell());
  return x;
}

/* kind: 0 labels and a teacher's logits, 1 squared, 2 quantile */
static TARGETS N(targets)(int64_t n, int64_t out, int kind) {
  TARGETS t = {.kind = kind, .how = {3, 0.6, 0.05, FKD_LOGITS}, .quantile = 0.3};
  real *weights = take((size_t)n * sizeof(real), sizeof(real));
  int32_t *labels = take((size_t)n * sizeof(int32_t), sizeof(int32_t));
  for (int64_t r = 0; r < n; ++r) weights[r] = (real)(0.5 + uniform()), labels[r] = (int32_t)(uniform() * (double)(out + 1)) - 1;
  t.weights = weights;
  if (kind == FKD_CLASSES) t.labels = labels, t.teacher = N(bells)(n * out, 2);
  else t.values = N(bells)(n * out, 1);
  return t;
}

static void N(gradient_case)(const K *t, const fkd_mlp *net, int64_t n, int kind) {
  const int64_t in = net->sizes[0], out = net->sizes[net->layers], d = N(n_parameters)(net);
  const double l2 = 0.01;
  real *w = N(bells)(d, 0.5), *X = N(bells)(n * in, 1), *g = take((size_t)d * sizeof(real), sizeof(real));
  const TARGETS y = N(targets)(n, out, kind);
  real *scratch = take((size_t)t->mlp_scratch(net, n) * sizeof(real), 64);
  const double loss = t->mlp_gradient(net, w, X, &y, n, l2, g, scratch);
  double want = 0, decay = 0;
  for (int64_t r = 0; r < n; ++r) { /* the loss against the oracle */
    double x[WIDEST], f[WIDEST], unused[WIDEST], z[WIDEST], row = 0, *p = malloc((size_t)d * sizeof(double));
    for (int64_t i = 0; i < d; ++i) p[i] = w[i];
    for (int64_t i = 0; i < in; ++i) x[i] = X[r * in + i];
    oracle_forward(net, p, x, f);
    free(p);
    for (int64_t c = 0; c < out; ++c) {
      const double e = kind ? (double)y.values[r * out + c] - f[c] : 0;
      if (kind) row += kind == FKD_SQUARED ? 0.5 * e * e : fmax(0.3 * e, -0.7 * e);
      else z[c] = y.teacher[r * out + c];
    }
    want += (double)y.weights[r] * (kind ? row : oracle_distill(f, z, y.labels[r], (int)out, &y.how, unused)) / (double)n;
  }
  for (int64_t l = 0, at = 0; l < net->layers; at += (net->sizes[l] + 1) * net->sizes[l + 1], ++l)
    for (int64_t i = 0; i < net->sizes[l] * net->sizes[l + 1]; ++i) decay += 0.5 * l2 * (double)w[at + i] * (double)w[at + i];
  CHECK(fabs(loss - want - decay) <= 500 * EPS * (1 + fabs(loss)), "loss %.12g, not %.12g", loss, want + decay);
  for (int64_t i = 0; i < d; ++i) CHECK(isfinite(g[i]), "gradient %d is %g", (int)i, (double)g[i]);
#if BITS == 64
  const double step = 1e-6;
  real *other = take((size_t)d * sizeof(real), sizeof(real));
  for (int64_t i = 0; i < d; i += 1 + d / 40) { /* the gradient lies between the slopes to either side, which differ only at a kink */
    const real keep = w[i];
    w[i] = keep + step;
    const double up = (t->mlp_gradient(net, w, X, &y, n, l2, other, scratch) - loss) / step;
    w[i] = keep - step;
    const double down = (loss - t->mlp_gradient(net, w, X, &y, n, l2, other, scratch)) / step, slack = 1e-6 * (0.1 + fabs(up));
    w[i] = keep;
    CHECK(fmin(up, down) - slack <= g[i] && g[i] <= fmax(up, down) + slack, "slopes %.10g and %.10g, gradient %.10g; parameter %d, activation %d, kind %d",
          down, up, g[i], (int)i, net->activation, kind);
  }
#endif
  /* one step of plain descent over the whole batch is w - rate * gradient */
  const fkd_optimizer sgd = {.kind = FKD_SGD, .learning_rate = 0.125, .momentum = 0};
  int64_t *order = take((size_t)n * sizeof(int64_t), sizeof(int64_t)), steps = 0;
  for (int64_t r = 0; r < n; ++r) order[r] = r;
  real *moved = take((size_t)d * sizeof(real), sizeof(real)), *m = take((size_t)d * sizeof(real), sizeof(real));
  memcpy(moved, w, (size_t)d * sizeof(real));
  memset(m, 0, (size_t)d * sizeof(real));
  const double seen = t->mlp_epoch(net, X, &y, order, n, n, l2, &sgd, moved, m, NULL, &steps, scratch);
  CHECK(steps == 1 && fabs(seen - want) <= 500 * EPS * (1 + fabs(seen)), "loss %.12g, not %.12g", seen, want);
  for (int64_t i = 0; i < d; ++i)
    CHECK(fabs(moved[i] - (w[i] - 0.125 * g[i])) <= 4 * EPS * (1 + fabs(w[i])), "parameter %d is %g", (int)i, (double)moved[i]);
  give_back();
}

/* batches of 5 leave a smaller one at the end; the loss falls; rows that `order` leaves out do not matter */
static void N(epoch_case)(const K *t, const fkd_mlp *net, int64_t n, int kind, int optimizer) {
  const int64_t in = net->sizes[0], out = net->sizes[net->layers], d = N(n_parameters)(net), used = n - n / 3;
  real *w = N(bells)(d, 0.3), *X = N(bells)(n * in, 1), *m = take((size_t)d * sizeof(real), sizeof(real)), *v = take((size_t)d * sizeof(real), sizeof(real));
  TARGETS y = N(targets)(n, out, kind);
  int64_t *order = take((size_t)used * sizeof(int64_t), sizeof(int64_t)), steps = 0;
  real *scratch = take((size_t)t->mlp_scratch(net, 5) * sizeof(real), 64);
  const fkd_optimizer o = {optimizer, optimizer == FKD_ADAM ? 0.01 : 0.02, 0.5, 0.9, 0.999, 1e-8};
  for (int64_t r = 0; r < used; ++r) order[r] = used - 1 - r;
  for (int64_t r = used * in; r < n * in; ++r) X[r] = (real)NAN;
  memset(m, 0, (size_t)d * sizeof(real));
  memset(v, 0, (size_t)d * sizeof(real));
  double first = NAN, last = NAN;
  for (int e = 0; e < 30; ++e) {
    last = t->mlp_epoch(net, X, &y, order, used, 5, 0, &o, w, m, v, &steps, scratch);
    if (e == 0) first = last;
  }
  CHECK(steps == 30 * ((used + 4) / 5), "%d steps", (int)steps);
  CHECK(last < first, "the loss went from %g to %g; n %d kind %d optimizer %d activation %d", first, last, (int)n, kind, optimizer, net->activation);
  for (int64_t i = 0; i < d; ++i) CHECK(isfinite(w[i]) && isfinite(m[i]) && isfinite(v[i]), "parameter %d", (int)i);
  give_back();
}

/* a network with exits: one step of plain descent is w - rate * gradient; the loss falls; without weight on exits it is the plain network */
static void N(exits_case)(const K *t, const fkd_mlp *net, int64_t n, int shallow_teaches, double feature_weight) {
  const int L = net->layers;
  const int64_t in = net->sizes[0], out = net->sizes[L], plain = N(n_parameters)(net);
  fkd_exits e = {.shallow_teaches = shallow_teaches, .feature_weight = feature_weight};
  int64_t d = plain;
  for (int l = 1; l < L; ++l) e.weights[l - 1] = 0.5 + 0.25 * l;
  for (int l = 1; l < L - 1; ++l) d += (net->sizes[l] + 1) * (out + (feature_weight > 0 ? net->sizes[L - 1] : 0));
  real *w = N(bells)(d, 0.3), *X = N(bells)(n * in, 1), *g = take((size_t)d * sizeof(real), sizeof(real)), *m = take((size_t)d * sizeof(real), sizeof(real));
  real *moved = take((size_t)d * sizeof(real), sizeof(real)), *v = take((size_t)d * sizeof(real), sizeof(real));
  real *scratch = take((size_t)t->exits_scratch(net, &e, n) * sizeof(real), 64), *little = take((size_t)t->exits_scratch(net, &e, 5) * sizeof(real), 64);
  TARGETS y = N(targets)(n, out, FKD_CLASSES);
  y.teacher = NULL, y.how.teacher = FKD_NO_TEACHER;
  const double loss = t->exits_gradient(net, &e, w, X, &y, n, 0.01, g, scratch);
  CHECK(isfinite(loss) && loss > 0, "loss %g", loss);
  const fkd_optimizer sgd = {.kind = FKD_SGD, .learning_rate = 0.125, .momentum = 0}, adam = {FKD_ADAM, 0.01, 0, 0.9, 0.999, 1e-8};
  int64_t *order = take((size_t)n * sizeof(int64_t), sizeof(int64_t)), steps = 0;
  for (int64_t r = 0; r < n; ++r) order[r] = r;
  memcpy(moved, w, (size_t)d * sizeof(real));
  memset(m, 0, (size_t)d * sizeof(real));
  t->exits_epoch(net, &e, X, &y, order, n, n, 0.01, &sgd, moved, m, NULL, &steps, scratch);
  for (int64_t i = 0; i < d; ++i)
    CHECK(fabs(moved[i] - (w[i] - 0.125 * g[i])) <= 4 * EPS * (1 + fabs(w[i]) + fabs(g[i])), "parameter %d is %g", (int)i, (double)moved[i]);
  for (int l = 1; l < L - 1; ++l) e.weights[l - 1] = 0;
  e.weights[L - 2] = 1;
  if (!shallow_teaches && !(feature_weight > 0)) {
    TARGETS hard = y;
    hard.how.kd_weight = 0;
    const double own = t->exits_gradient(net, &e, w, X, &y, n, 0, g, scratch), want = t->mlp_gradient(net, w, X, &hard, n, 0, moved, scratch);
    CHECK(fabs(own - want) <= 50 * EPS * (1 + fabs(want)), "loss %.12g, not %.12g", own, want);
    for (int64_t i = 0; i < d; ++i) CHECK(fabs(g[i] - (i < plain ? moved[i] : 0)) <= 100 * EPS, "gradient %d is %g", (int)i, (double)g[i]);
  }
  for (int l = 1; l < L; ++l) e.weights[l - 1] = 1;
  double first = NAN, last = NAN;
  memset(m, 0, (size_t)d * sizeof(real));
  memset(v, 0, (size_t)d * sizeof(real));
  for (int k = 0; k < 20; ++k) {
    last = t->exits_epoch(net, &e, X, &y, order, n, 5, 0, &adam, w, m, v, &steps, little);
    if (k == 0) first = last;
  }
  CHECK(n < 15 || last < first, "the loss went from %g to %g", first, last);
  for (int64_t i = 0; i < d; ++i) CHECK(isfinite(w[i]), "parameter %d", (int)i);
  give_back();
}

static void N(predict_case)(const K *t, const fkd_mlp *net, int64_t n) {
  const int64_t in = net->sizes[0], out = net->sizes[net->layers], d = N(n_parameters)(net);
  real *w = N(bells)(d, 0.5), *X = N(bells)(n * in, 1), *f = take((size_t)(n * out) * sizeof(real), sizeof(real));
  real *p = take((size_t)(n * out) * sizeof(real), sizeof(real)), *one = take((size_t)out * sizeof(real), sizeof(real));
  real *packed = take((size_t)t->packed_size(net) * sizeof(real), 64), *scratch = take((size_t)t->predict_scratch(net, n) * sizeof(real), 64);
  real *little = take((size_t)t->predict_scratch(net, 1) * sizeof(real), 64), *row = take((size_t)in * sizeof(real), sizeof(real));
  t->pack(net, w, packed);
  CHECK(t->predict(net, packed, X, n, 0, f, scratch) == 0 && t->predict(net, packed, X, n, 1, p, scratch) == 0, "finite rows");
  for (int64_t r = 0; r < n; ++r) {
    double x[WIDEST], want[WIDEST], q[WIDEST], *params = malloc((size_t)d * sizeof(double));
    for (int64_t i = 0; i < d; ++i) params[i] = w[i];
    for (int64_t i = 0; i < in; ++i) x[i] = X[r * in + i];
    oracle_forward(net, params, x, want);
    free(params);
    oracle_log_softmax(want, (int)out, 1, q);
    memcpy(row, X + r * in, (size_t)in * sizeof(real));
    for (int soft = 0; soft < 2; ++soft) {
      CHECK(t->predict(net, packed, row, 1, soft, one, little) == 0, "one row");
      for (int64_t c = 0; c < out; ++c) {
        const double expected = soft ? exp(q[c]) : want[c], batch = soft ? p[r * out + c] : f[r * out + c];
        CHECK(fabs(batch - expected) <= 300 * EPS * (1 + fabs(want[c])), "batch of %d: %.9g, not %.9g", (int)n, batch, expected);
        CHECK(fabs(one[c] - expected) <= 300 * EPS * (1 + fabs(want[c])), "one row: %.9g, not %.9g", (double)one[c], expected);
      }
    }
  }
  X[(n - 1) * in] = (real)NAN;
  if (n > 2) X[in + in - 1] = (real)INFINITY;
  CHECK(t->predict(net, packed, X, n, 1, f, scratch) == (n > 2 ? 2 : 1), "rows that are not finite");
  for (int64_t i = 0; i < n * out; ++i) {
    const int spoiled = i / out == n - 1 || (n > 2 && i / out == 1);
    CHECK(spoiled ? isnan(f[i]) : f[i] == p[i], "output %d is %g beside %g", (int)i, (double)f[i], (double)p[i]);
  }
  give_back();
}

/* the R operator and gradient matching: gradient of the perceptron, symmetry of the Hessian, distance of a gradient to itself */
static void N(rop_case)(const K *t, const fkd_mlp *net, int64_t n) {
  const int64_t in = net->sizes[0], out = net->sizes[net->layers], d = N(n_parameters)(net);
  real *w = N(bells)(d, 0.5), *u = N(bells)(d, 0.1), *v = N(bells)(d, 0.1), *X = N(bells)(n * in, 1);
  const size_t size = (size_t)d * sizeof(real);
  real *g = take(size, sizeof(real)), *h = take(size, sizeof(real)), *other = take(2 * size, sizeof(real));
  real *dX = take((size_t)(n * in) * sizeof(real), sizeof(real)), *dY = take((size_t)(n * out) * sizeof(real), sizeof(real));
  TARGETS y = N(targets)(n, out, FKD_CLASSES);
  y.teacher = NULL, y.how = (fkd_distill){1, 0, 0, FKD_NO_TEACHER};
  real *scratch = take((size_t)t->rop_scratch(net, n) * sizeof(real), 64), *plain = take((size_t)t->mlp_scratch(net, n) * sizeof(real), 64);
  const double loss = t->rop(net, w, v, X, &y, n, g, h, dX, dY, scratch), want = t->mlp_gradient(net, w, X, &y, n, 0, other, plain);
  CHECK(fabs(loss - want) <= 500 * EPS * (1 + fabs(want)), "loss %.12g, not %.12g", loss, want);
  double uhv = 0, vhu = 0;
  for (int64_t i = 0; i < d; ++i) {
    CHECK(fabs((double)g[i] - (double)other[i]) <= 500 * EPS * (1 + fabs((double)g[i])), "gradient %d", (int)i);
    uhv += (double)u[i] * h[i];
  }
  t->rop(net, w, u, X, &y, n, NULL, h, NULL, NULL, scratch);
  for (int64_t i = 0; i < d; ++i) vhu += (double)v[i] * h[i];
  CHECK(fabs(uhv - vhu) <= 5000 * EPS * (1 + fabs(uhv)), "u H v = %.12g, v H u = %.12g", uhv, vhu);
  int64_t starts[] = {0, n / 2, n};
  const int64_t groups = n > 1 ? 2 : 1;
  if (n == 1) starts[1] = 1;
  for (int distance = FKD_ROWWISE; distance <= FKD_MSE; ++distance) {
    memcpy(other, g, size), memcpy(other + d, g, size);
    const double value = t->gradient_match(net, w, other, X, &y, starts, groups, distance, dX, dY, scratch);
    CHECK(isfinite(value) && value > -1e-3, "distance %g", value);
    for (int64_t i = 0; i < n * in; ++i) CHECK(isfinite(dX[i]), "slope %d is %g", (int)i, (double)dX[i]);
  }
  give_back();
}

static void N(networks)(const K *t) {
  static const fkd_mlp nets[] = {{1, FKD_RELU, {4, 3}},         {2, FKD_RELU, {5, 17, 3}},        {3, FKD_TANH, {3, 16, 7, 2}},
                                 {2, FKD_GELU, {17, 15, 17}},   {2, FKD_IDENTITY, {1, 1, 1}},     {3, FKD_GELU, {9, 33, 16, 1}},
                                 {4, FKD_RELU, {2, 32, 24, 8, 5}}};
  static const int64_t rows[] = {1, 15, 16, 17, 65, 300};
  for (int i = 0; i < 7; ++i)
    for (int j = 0; j < 6; ++j) {
      for (int kind = 0; kind < 3; ++kind) {
        if (rows[j] < 300 || i < 2) N(gradient_case)(t, &nets[i], rows[j], kind);
        if (rows[j] >= 15 && rows[j] < 100 && nets[i].sizes[nets[i].layers] > 1)
          for (int optimizer = 0; optimizer < 2; ++optimizer) N(epoch_case)(t, &nets[i], rows[j], kind, optimizer);
      }
      N(predict_case)(t, &nets[i], rows[j]);
      if (nets[i].layers > 2 && nets[i].sizes[nets[i].layers] > 1 && rows[j] < 300)
        for (int k = 0; k < 4; ++k) N(exits_case)(t, &nets[i], rows[j], k / 2, k % 2 ? 0.1 : 0);
      if (rows[j] < 300 || i < 2) N(rop_case)(t, &nets[i], rows[j]);
    }
}
