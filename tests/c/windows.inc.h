/* windows.inc.h: laws of LSTMs and CNNs for one real type: gradient, epoch, prediction of windows, an LSTM step by step. */

static int64_t N(window_parameters)(const fkd_network *net) {
  int64_t n = N(n_parameters)(&net->head);
  for (int l = 0; l < net->layers; ++l) {
    const int64_t in = net->widths[l], out = net->widths[l + 1];
    n += net->kind == FKD_LSTM ? (in + out + 1) * 4 * out : (net->kernel * in + 1) * out;
  }
  return n;
}

/* the loss is that of the predicted probabilities; the gradient is its slope; one step of descent is w - rate * gradient; the loss falls */
static void N(window_gradient)(const K *t, const fkd_network *net, int64_t n) {
  const int64_t size = net->steps * net->widths[0], C = net->head.sizes[net->head.layers], d = N(window_parameters)(net);
  const size_t bytes = (size_t)d * sizeof(real);
  real *w = N(bells)(d, 0.4), *X = N(bells)(n * size, 1), *g = take(bytes, sizeof(real)), *other = take(bytes, sizeof(real));
  real *moved = take(bytes, sizeof(real)), *m = take(bytes, sizeof(real)), *v = take(bytes, sizeof(real));
  TARGETS y = N(targets)(n, C, FKD_CLASSES);
  y.teacher = NULL, y.how = (fkd_distill){1, 0, 0, FKD_NO_TEACHER};
  real *scratch = take((size_t)t->network_scratch(net, n) * sizeof(real), 64), *little = take((size_t)t->network_scratch(net, 5) * sizeof(real), 64);
  const double loss = t->network_gradient(net, w, X, &y, n, 0, g, scratch);
  real *packed = take((size_t)t->network_packed(net) * sizeof(real), 64), *p = take((size_t)(n * C) * sizeof(real), sizeof(real));
  real *work = take((size_t)t->network_predict_scratch(net, n) * sizeof(real), 64);
  t->network_pack(net, w, NULL, NULL, packed);
  CHECK(t->network_predict(net, packed, X, n, 1, p, work) == 0, "finite windows");
  double want = 0;
  for (int64_t r = 0; r < n; ++r)
    if (y.labels[r] >= 0) want -= (double)y.weights[r] * log((double)p[r * C + y.labels[r]]) / (double)n;
  CHECK(fabs(loss - want) <= 1000 * EPS * (1 + fabs(want)), "loss %.12g, not %.12g", loss, want);
#if BITS == 64
  const double step = 1e-6;
  for (int64_t i = 0; i < d; i += 1 + d / 40) { /* as for perceptrons: slopes to either side differ only at a kink */
    const real keep = w[i];
    w[i] = keep + step;
    const double up = (t->network_gradient(net, w, X, &y, n, 0, other, scratch) - loss) / step;
    w[i] = keep - step;
    const double down = (loss - t->network_gradient(net, w, X, &y, n, 0, other, scratch)) / step, slack = 1e-6 * (0.1 + fabs(up));
    w[i] = keep;
    CHECK(fmin(up, down) - slack <= g[i] && g[i] <= fmax(up, down) + slack, "slopes %.10g and %.10g, gradient %.10g; parameter %d, kind %d, pooling %d",
          down, up, g[i], (int)i, net->kind, net->pooling);
  }
#endif
  const fkd_optimizer sgd = {.kind = FKD_SGD, .learning_rate = 0.125, .momentum = 0}, adam = {FKD_ADAM, 0.01, 0, 0.9, 0.999, 1e-8};
  int64_t *order = take((size_t)n * sizeof(int64_t), sizeof(int64_t)), steps = 0;
  for (int64_t r = 0; r < n; ++r) order[r] = r;
  t->network_gradient(net, w, X, &y, n, 0.01, other, scratch);
  memcpy(moved, w, bytes);
  memset(m, 0, bytes);
  t->network_epoch(net, X, &y, order, n, n, 0.01, &sgd, moved, m, NULL, &steps, scratch);
  for (int64_t i = 0; i < d; ++i)
    CHECK(fabs(moved[i] - (w[i] - 0.125 * other[i])) <= 4 * EPS * (1 + fabs(w[i]) + fabs(other[i])), "parameter %d is %g", (int)i, (double)moved[i]);
  double first = NAN, last = NAN;
  memset(m, 0, bytes);
  memset(v, 0, bytes);
  for (int k = 0; k < 15; ++k) {
    last = t->network_epoch(net, X, &y, order, n, 5, 0, &adam, w, m, v, &steps, little);
    if (k == 0) first = last;
  }
  CHECK(n < 15 || last < first, "the loss went from %g to %g", first, last);
  for (int64_t i = 0; i < d; ++i) CHECK(isfinite(w[i]), "parameter %d", (int)i);
  give_back();
}

/* one window is as many; scaling is done before; a window that is not finite spoils no other; a stream follows its window */
static void N(window_predict)(const K *t, const fkd_network *net, int64_t n) {
  const int64_t F = net->widths[0], size = net->steps * F, C = net->head.sizes[net->head.layers];
  real *w = N(bells)(N(window_parameters)(net), 0.4), *X = N(bells)(n * size, 1), *raw = take((size_t)(n * size) * sizeof(real), sizeof(real));
  real *shift = N(bells)(F, 1), *factor = take((size_t)F * sizeof(real), sizeof(real)), *f = take((size_t)(n * C) * sizeof(real), sizeof(real));
  real *again = take((size_t)(n * C) * sizeof(real), sizeof(real)), *one = take((size_t)C * sizeof(real), sizeof(real));
  real *packed = take((size_t)t->network_packed(net) * sizeof(real), 64), *scaled = take((size_t)t->network_packed(net) * sizeof(real), 64);
  real *work = take((size_t)t->network_predict_scratch(net, n) * sizeof(real), 64);
  real *little = take((size_t)t->network_predict_scratch(net, 1) * sizeof(real), 64), *row = take((size_t)size * sizeof(real), sizeof(real));
  for (int64_t i = 0; i < F; ++i) factor[i] = 2;
  for (int64_t i = 0; i < n * size; ++i) raw[i] = X[i] / 2 + shift[i % F];
  t->network_pack(net, w, NULL, NULL, packed);
  t->network_pack(net, w, shift, factor, scaled);
  t->network_predict(net, packed, X, n, 0, f, work);
  CHECK(t->network_predict(net, scaled, raw, n, 0, again, work) == 0, "finite windows");
  for (int64_t i = 0; i < n * C; ++i) CHECK(fabs(again[i] - f[i]) <= 2000 * EPS * (1 + fabs(f[i])), "scaled: %.9g, not %.9g", (double)again[i], (double)f[i]);
  real *state = take((size_t)t->network_state(net) * sizeof(real), sizeof(real)), *tick = take((size_t)F * sizeof(real), sizeof(real));
  for (int64_t r = 0; r < n; ++r) {
    memcpy(row, X + r * size, (size_t)size * sizeof(real));
    CHECK(t->network_predict(net, packed, row, 1, 0, one, little) == 0, "one window");
    for (int64_t c = 0; c < C; ++c) CHECK(fabs(one[c] - f[r * C + c]) <= 1000 * EPS * (1 + fabs(one[c])), "one: %g", (double)one[c]);
    if (net->kind != FKD_LSTM) continue;
    memset(state, 0, (size_t)t->network_state(net) * sizeof(real));
    for (int64_t s = 0; s < net->steps; ++s) {
      memcpy(tick, row + s * F, (size_t)F * sizeof(real));
      CHECK(t->network_push(net, packed, state, tick, 0, one, little) == 0, "one step");
    }
    for (int64_t c = 0; c < C; ++c) CHECK(fabs(one[c] - f[r * C + c]) <= 1000 * EPS * (1 + fabs(one[c])), "stream: %g", (double)one[c]);
    tick[0] = (real)NAN;
    CHECK(t->network_push(net, packed, state, tick, 0, one, little) == 1 && isnan(one[0]) && state[t->network_state(net) - 1] == (real)net->steps, "NaN");
  }
  X[(n - 1) * size + size / 2] = (real)INFINITY;
  CHECK(t->network_predict(net, packed, X, n, 0, again, work) == 1, "one window that is not finite");
  for (int64_t i = 0; i < n * C; ++i) CHECK(i / C == n - 1 ? isnan(again[i]) : again[i] == f[i], "output %d is %g", (int)i, (double)again[i]);
  give_back();
}

static void N(windows)(const K *t) {
  static const fkd_network nets[] = {
      {FKD_LSTM, 1, FKD_LAST, FKD_FULL, 5, 1, {3, 8}, {1, FKD_RELU, {8, 3}}},
      {FKD_LSTM, 2, FKD_MEAN, FKD_FULL, 4, 1, {1, 17, 3}, {2, FKD_TANH, {3, 9, 2}}},
      {FKD_LSTM, 1, FKD_MAX, FKD_FULL, 1, 1, {17, 16}, {1, FKD_RELU, {16, 17}}},
      {FKD_CNN, 1, FKD_MAX, FKD_FULL, 6, 3, {2, 5}, {1, FKD_RELU, {5, 3}}},
      {FKD_CNN, 2, FKD_MEAN, FKD_FULL, 9, 2, {3, 16, 17}, {2, FKD_GELU, {17, 8, 2}}},
      {FKD_CNN, 3, FKD_LAST, FKD_FULL, 3, 5, {1, 7, 33, 4}, {1, FKD_RELU, {4, 2}}},
      {FKD_LSTM, 1, FKD_LAST, FKD_BFLOAT16, 5, 1, {3, 8}, {1, FKD_RELU, {8, 3}}},
      {FKD_LSTM, 2, FKD_MAX, FKD_BFLOAT16, 4, 1, {1, 17, 32}, {2, FKD_TANH, {32, 9, 2}}}};
  static const int64_t rows[] = {1, 16, 65};
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 3; ++j) {
      if (nets[i].weights == FKD_FULL) N(window_gradient)(t, &nets[i], rows[j]); /* training does not look at it */
      N(window_predict)(t, &nets[i], rows[j]);
    }
}
