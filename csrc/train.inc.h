/* train.inc.h: gradient and training epoch of any network; a perceptron by itself is a head without a body. */

#define net_chunk FN(net_chunk)
#define net_refresh FN(net_refresh)
#define net_gradient FN(fkd_network_gradient)
#define net_epoch FN(fkd_network_epoch)
#define net_step FN(net_step)
#define net_bare FN(net_bare)
#define net_clear FN(net_clear)

static fkd_network net_bare(const fkd_mlp *head) {
  fkd_network net = {.kind = FKD_DENSE, .head = *head, .steps = 1, .kernel = 1};
  net.widths[0] = head->sizes[0];
  return net;
}

static void net_refresh(const fkd_network *net, net_work *k) {
  mlp_refresh(&net->head, &k->head);
  if (net->kind == FKD_LSTM) lstm_refresh(net, k);
  if (net->kind == FKD_CNN) cnn_refresh(net, k);
}

/* forward and backward of some rows, picked by order, if given; returns the sum of their losses */
static double net_chunk(const fkd_network *net, const REAL *X, const FN(fkd_targets) * t, const int64_t *order,
                        int64_t rows, double scale, int add, net_work *k) {
  const fkd_mlp *head = &net->head;
  mlp_targets(t, head->sizes[head->layers], order, rows, &k->head);
  if (net->kind == FKD_DENSE) {
    mlp_inputs(head, X, order, rows, &k->head);
    return mlp_rows(head, t, rows, scale, add, &k->head);
  }
  const int L = net->layers;
  const int64_t n = net->widths[L], ld = net_ld(net, L), lda = mlp_ld(head, 0);
  const ptrdiff_t by_row = net->kind == FKD_LSTM ? ld : net_span(net) * ld,
                  by_step = net->kind == FKD_LSTM ? rows * ld : ld;
  REAL *a = k->head.a[0];
  if (net->kind == FKD_LSTM) lstm_forward(net, X, order, rows, k);
  else cnn_forward(net, X, order, rows, k);
  const REAL *h = net->kind == FKD_LSTM ? k->a[L] : k->a[L] + cnn_left(net) * ld;
  pool_forward(net->pooling, h, by_row, by_step, net->steps, rows, n, a, lda);
  for (int64_t r = 0; r < rows; ++r) a[r * lda + n] = 1;
  const double loss = mlp_rows(head, t, rows, scale, add, &k->head);
  if (net->kind == FKD_LSTM) {
    pool_backward(net->pooling, k->head.d[0], lda, h, by_row, by_step, net->steps, rows, n, k->d[L], by_row, by_step);
    lstm_backward(net, rows, add, k);
  } else {
    cnn_unpool(net, rows, k->head.d[0], lda, k);
    cnn_backward(net, rows, add, k);
  }
  return loss;
}

/* padding of the gradient, where the backward pass does not write all of it */
static void net_clear(net_work *k) {
  memset(k->head.g, 0, (size_t)k->head.wide * sizeof(REAL));
  if (k->wide) memset(k->g, 0, (size_t)k->wide * sizeof(REAL));
}

static double net_gradient(const fkd_network *net, const REAL *params, const REAL *X, const FN(fkd_targets) * t,
                           int64_t n, double l2, REAL *grad, REAL *scratch) {
  const fkd_mlp *head = &net->head;
  const int64_t most = net_rows(net), out = head->sizes[head->layers];
  net_work k;
  double loss = 0;
  net_carve(net, n < most ? n : most, scratch, &k);
  mlp_pack(head, body_pack(net, params, k.w), k.head.w);
  net_clear(&k);
  net_refresh(net, &k);
  for (int64_t r = 0; r < n; r += most) {
    FN(fkd_targets) part = *t;
    part.labels = t->labels ? t->labels + r : NULL, part.weights = t->weights ? t->weights + r : NULL;
    part.teacher = t->teacher ? t->teacher + r * out : NULL, part.values = t->values ? t->values + r * out : NULL;
    loss += net_chunk(net, X + r * net->steps * net->widths[0], &part, NULL, n - r < most ? n - r : most,
                      1.0 / (double)n, r > 0, &k);
  }
  loss /= (double)n;
  if (l2 > 0) loss += body_decay(net, l2, k.w, k.g) + mlp_decay(head, l2, k.head.w, k.head.g);
  mlp_unpack(head, k.head.g, body_unpack(net, k.g, grad));
  return loss;
}

static void net_step(REAL *w, const REAL *g, REAL *m, REAL *v, int64_t n, const fkd_optimizer *o, int64_t step) {
  if (o->kind == FKD_ADAM) adam_step(w, g, m, v, n, o, step);
  else sgd_step(w, g, m, n, o->learning_rate, o->momentum);
}

static double net_epoch(const fkd_network *net, const REAL *X, const FN(fkd_targets) * t, const int64_t *order,
                        int64_t n, int64_t batch, double l2, const fkd_optimizer *o, REAL *params, REAL *m, REAL *v,
                        int64_t *step, REAL *scratch) {
  const fkd_mlp *head = &net->head;
  const int64_t most = net_rows(net);
  net_work k;
  double loss = 0;
  net_carve(net, batch < most ? batch : most, scratch, &k);
  mlp_pack(head, body_pack(net, params, k.w), k.head.w);
  mlp_pack(head, body_pack(net, m, k.m), k.head.m);
  if (o->kind == FKD_ADAM) mlp_pack(head, body_pack(net, v, k.v), k.head.v);
  net_clear(&k);
  for (int64_t b = 0; b < n; b += batch) {
    const int64_t size = n - b < batch ? n - b : batch;
    net_refresh(net, &k);
    for (int64_t r = 0; r < size; r += most) {
      const int64_t rows = size - r < most ? size - r : most, left = n - b - r - rows;
      if (net->kind == FKD_DENSE)
        mlp_fetch(head->sizes[0], head->sizes[head->layers], X, t, order + b + r + rows, left < rows ? left : rows);
      loss += net_chunk(net, X, t, order + b + r, rows, 1.0 / (double)size, r > 0, &k);
    }
    if (l2 > 0) mlp_decay(head, l2, k.head.w, k.head.g), body_decay(net, l2, k.w, k.g);
    ++*step;
    net_step(k.head.w, k.head.g, k.head.m, k.head.v, k.head.wide, o, *step);
    if (k.wide) net_step(k.w, k.g, k.m, k.v, k.wide, o, *step);
  }
  mlp_unpack(head, k.head.w, body_unpack(net, k.w, params));
  mlp_unpack(head, k.head.m, body_unpack(net, k.m, m));
  if (o->kind == FKD_ADAM) mlp_unpack(head, k.head.v, body_unpack(net, k.v, v));
  return n ? loss / (double)n : 0;
}

static int64_t FN(fkd_network_scratch)(const fkd_network *net, int64_t rows) {
  net_work k;
  net_carve(net, rows < net_rows(net) ? rows : net_rows(net), NULL, &k);
  return k.used;
}

static int64_t FN(fkd_mlp_scratch)(const fkd_mlp *net, int64_t rows) {
  const fkd_network whole = net_bare(net);
  return FN(fkd_network_scratch)(&whole, rows);
}

static double FN(fkd_mlp_gradient)(const fkd_mlp *net, const REAL *params, const REAL *X, const FN(fkd_targets) * t,
                                   int64_t n, double l2, REAL *grad, REAL *scratch) {
  const fkd_network whole = net_bare(net);
  return net_gradient(&whole, params, X, t, n, l2, grad, scratch);
}

static double FN(fkd_mlp_epoch)(const fkd_mlp *net, const REAL *X, const FN(fkd_targets) * t, const int64_t *order,
                                int64_t n, int64_t batch, double l2, const fkd_optimizer *o, REAL *params, REAL *m,
                                REAL *v, int64_t *step, REAL *scratch) {
  const fkd_network whole = net_bare(net);
  return net_epoch(&whole, X, t, order, n, batch, l2, o, params, m, v, step, scratch);
}
