/* windows.inc.h: prediction of networks with a body: whole windows, and an LSTM step by step.
 *
 * Packed: shift and factor of each feature, the body's matrices (an LSTM's as bfloat.inc.h has them, if asked for) and
 * the head's. An LSTM goes through all layers step by step, so that it needs memory for one step only; a row of `a` is
 * [inputs, state], the bias is added by the product. */

#define window_work FN(window_work)
#define window_carve FN(window_carve)
#define window_lstm FN(window_lstm)
#define window_step FN(window_step)
#define window_cnn FN(window_cnn)
#define packed_head FN(packed_head)
#define window_narrow FN(window_narrow)
#define window_body FN(window_body)
#define pool_step FN(pool_step)

typedef struct {
  REAL *a[FKD_MAX_LAYERS + 1], *c[FKD_MAX_LAYERS + 1], *gates, *pooled, *head;
  int64_t used;
} window_work;

static void window_carve(const fkd_network *net, int64_t rows, REAL *base, window_work *k) {
  const int L = net->layers;
  int64_t at = 0, most[2] = {net->widths[0], 0}; /* of the layers 0, 2, ... and 1, 3, ... */
#define CARVE(p, n) ((p) = base ? base + at : base, at += ((n) + 15) / 16 * 16)
  for (int l = 1; l <= L; ++l) {
    const int64_t up = round_up(net->widths[l]);
    most[l & 1] = up > most[l & 1] ? up : most[l & 1];
    if (net->kind != FKD_LSTM) continue;
    CARVE(k->a[l - 1], rows * net_ld(net, l - 1));
    CARVE(k->c[l - 1], rows * up);
  }
  if (net->kind == FKD_LSTM) CARVE(k->gates, rows * leading(4 * (most[0] > most[1] ? most[0] : most[1])));
  else
    for (int odd = 0; odd < 2; ++odd) CARVE(k->a[odd], rows * net_span(net) * most[odd] + VL);
  CARVE(k->pooled, rows * round_up(net->widths[L]));
  CARVE(k->head, FN(fkd_predict_scratch)(&net->head, rows));
#undef CARVE
  k->used = at;
}

/* only float has narrower weights */
FKD_INLINE int window_narrow(const fkd_network *net) {
  return FKD_BITS == 32 && net->kind == FKD_LSTM && net->weights == FKD_BFLOAT16;
}

/* reals of layer l's packed matrix */
FKD_INLINE int64_t window_body(const fkd_network *net, int l) {
#if FKD_BITS == 32
  if (window_narrow(net)) return bfloat_body(net, l);
#endif
  return net_body(net, l);
}

FKD_INLINE int64_t packed_head(const fkd_network *net) {
  int64_t n = (2 * net->widths[0] + 15) / 16 * 16;
  for (int l = 0; l < net->layers; ++l) n += window_body(net, l);
  return (n + 15) / 16 * 16;
}

static int64_t FN(fkd_network_packed)(const fkd_network *net) { return packed_head(net) + mlp_wide(&net->head); }

static void FN(fkd_network_pack)(const fkd_network *net, const REAL *params, const REAL *shift, const REAL *factor,
                                 REAL *packed) {
  const int64_t F = net->widths[0];
  for (int64_t i = 0; i < F; ++i) packed[i] = shift ? shift[i] : 0, packed[F + i] = factor ? factor[i] : 1;
  REAL *body = packed + (2 * F + 15) / 16 * 16;
#if FKD_BITS == 32
  const REAL *head = window_narrow(net) ? bfloat_pack(net, params, body) : body_pack(net, params, body);
#else
  const REAL *head = body_pack(net, params, body);
#endif
  mlp_pack(&net->head, head, packed + packed_head(net));
}

static int64_t FN(fkd_network_predict_scratch)(const fkd_network *net, int64_t rows) {
  window_work k;
  window_carve(net, rows < FKD_WINDOWS ? rows : FKD_WINDOWS, NULL, &k);
  return k.used;
}

/* pooled (rows, n) takes in step `count` (from 0) of the last layer; a mean is a sum until the end */
static void pool_step(int pooling, const REAL *h, ptrdiff_t ld, int64_t count, int64_t rows, int64_t n, REAL *pooled) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < n; ++c) {
      const REAL x = h[r * ld + c], p = pooled[r * n + c];
      pooled[r * n + c] = pooling == FKD_LAST || count == 0 ? x : pooling == FKD_MEAN ? p + x : x > p ? x : p;
    }
}

/* one step of all layers; row r's features are x + r * stride */
static void window_step(const fkd_network *net, const REAL *packed, const REAL *x, ptrdiff_t stride, int64_t rows,
                        window_work *k) {
  const int64_t F = net->widths[0];
  const REAL *w = packed + (2 * F + 15) / 16 * 16;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < F; ++i) k->a[0][r * net_ld(net, 0) + i] = (x[r * stride + i] - packed[i]) * packed[F + i];
  for (int l = 0; l < net->layers; ++l) {
    const int64_t in = net->widths[l], n = net->widths[l + 1], up = round_up(n), ld = net_ld(net, l),
                  ldg = leading(4 * up);
#if FKD_BITS == 32
    if (window_narrow(net)) bfloat_gates(k->a[l], ld, w, in + n, up, rows, k->gates, ldg);
    else
#endif
      lstm_gates(k->a[l], ld, w, in + n, up, rows, k->gates, ldg);
    lstm_cell(rows, up, k->gates, ldg, k->c[l], k->c[l], NULL, k->a[l] + in, ld, NULL, 0);
    if (l + 1 < net->layers)
      for (int64_t r = 0; r < rows; ++r)
        memcpy(k->a[l + 1] + r * net_ld(net, l + 1), k->a[l] + r * ld + in, (size_t)n * sizeof(REAL));
    w += window_body(net, l);
  }
}

static void window_lstm(const fkd_network *net, const REAL *packed, const REAL *X, int64_t rows, window_work *k) {
  const int L = net->layers;
  const int64_t T = net->steps, F = net->widths[0], n = net->widths[L], last = net_ld(net, L - 1);
  for (int l = 0; l < L; ++l) {
    memset(k->a[l], 0, (size_t)(rows * net_ld(net, l)) * sizeof(REAL));
    memset(k->c[l], 0, (size_t)(rows * round_up(net->widths[l + 1])) * sizeof(REAL));
  }
  for (int64_t t = 0; t < T; ++t) {
    window_step(net, packed, X + t * F, T * F, rows, k);
    if (net->pooling != FKD_LAST || t + 1 == T)
      pool_step(net->pooling, k->a[L - 1] + net->widths[L - 1], last, t, rows, n, k->pooled);
  }
  if (net->pooling == FKD_MEAN)
    for (int64_t i = 0; i < rows * n; ++i) k->pooled[i] *= (REAL)(1 / (double)T);
}

static void window_cnn(const fkd_network *net, const REAL *packed, const REAL *X, int64_t rows, window_work *k) {
  const int L = net->layers;
  const int64_t T = net->steps, F = net->widths[0], n = net->widths[L], span = net_span(net), left = cnn_left(net);
  const REAL *w = packed + (2 * F + 15) / 16 * 16;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t i = 0; i < F; ++i)
        k->a[0][(r * span + left + t) * F + i] = (X[(r * T + t) * F + i] - packed[i]) * packed[F + i];
  cnn_pads(net, k->a[0], F, rows);
  for (int l = 0; l < L; ++l) {
    cnn_layer(net, l, w, k->a[l & 1], rows, k->a[(l + 1) & 1]);
    w += net_body(net, l);
  }
  const int64_t ld = net_ld(net, L), by_step = ld, by_row = span * ld;
  pool_forward(net->pooling, k->a[L & 1] + left * ld, by_row, by_step, T, rows, n, k->pooled, ld);
  if (ld != n)
    for (int64_t r = 1; r < rows; ++r) memmove(k->pooled + r * n, k->pooled + r * ld, (size_t)n * sizeof(REAL));
}

static int64_t FN(fkd_network_predict)(const fkd_network *net, const REAL *packed, const REAL *X, int64_t n,
                                       int softmax, REAL *out, REAL *scratch) {
  const int64_t size = net->steps * net->widths[0], C = net->head.sizes[net->head.layers];
  window_work k;
  int64_t bad = 0;
  window_carve(net, n < FKD_WINDOWS ? n : FKD_WINDOWS, scratch, &k);
  for (int64_t r = 0; r < n; r += FKD_WINDOWS) {
    const int64_t rows = n - r < FKD_WINDOWS ? n - r : FKD_WINDOWS;
    const REAL *x = X + r * size;
    if (net->kind == FKD_LSTM) window_lstm(net, packed, x, rows, &k);
    else window_cnn(net, packed, x, rows, &k);
    if (not_finite(x, rows * size)) /* a maximum may pass over a NaN: the head must not */
      for (int64_t i = 0; i < rows; ++i)
        if (not_finite(x + i * size, size)) k.pooled[i * net->widths[net->layers]] = (REAL)NAN;
    bad += FN(fkd_predict)(&net->head, packed + packed_head(net), k.pooled, rows, softmax, out + r * C, k.head);
  }
  return bad;
}

/* state: of each layer h, then c; what pooling has gathered, of a mean the sum and what rounding has taken from it
 * (Kahan); the number of steps, high * 2^24 + low */
static int64_t FN(fkd_network_state)(const fkd_network *net) {
  int64_t n = (net->pooling == FKD_MEAN ? 2 : 1) * net->widths[net->layers] + 2;
  for (int l = 1; l <= net->layers; ++l) n += 2 * net->widths[l];
  return n;
}

static int FN(fkd_network_push)(const fkd_network *net, const REAL *packed, REAL *state, const REAL *x, int softmax,
                                REAL *out, REAL *scratch) {
  const int L = net->layers;
  const int64_t n = net->widths[L], C = net->head.sizes[net->head.layers];
  window_work k;
  if (not_finite(x, net->widths[0])) {
    for (int64_t c = 0; c < C; ++c) out[c] = (REAL)NAN;
    return 1;
  }
  window_carve(net, 1, scratch, &k);
  REAL *s = state;
  for (int l = 0; l < L; ++l) {
    const int64_t m = net->widths[l + 1];
    memcpy(k.a[l] + net->widths[l], s, (size_t)m * sizeof(REAL));
    for (int64_t i = 0; i < m; i += VL) vstore(k.c[l] + i, load_part(s + m + i, m - i, 0));
    s += 2 * m;
  }
  window_step(net, packed, x, 0, 1, &k);
  for (int l = 0; l < L; ++l) /* finite features may be too large once they are scaled or weighted */
    if (not_finite(k.a[l] + net->widths[l], net->widths[l + 1]) || not_finite(k.c[l], net->widths[l + 1])) {
      for (int64_t c = 0; c < C; ++c) out[c] = (REAL)NAN;
      return 1;
    }
  s = state;
  for (int l = 0; l < L; ++l) {
    const int64_t m = net->widths[l + 1];
    memcpy(s, k.a[l] + net->widths[l], (size_t)m * sizeof(REAL));
    memcpy(s + m, k.c[l], (size_t)m * sizeof(REAL));
    s += 2 * m;
  }
  REAL *steps = state + FN(fkd_network_state)(net) - 2;
  const double count = 0x1p24 * (double)steps[0] + (double)steps[1];
  const REAL *h = k.a[L - 1] + net->widths[L - 1];
  if (net->pooling == FKD_MEAN)
    for (int64_t i = 0; i < n; ++i) {
      const REAL x = h[i] - s[n + i], sum = s[i] + x;
      s[n + i] = (sum - s[i]) - x, s[i] = sum;
      k.pooled[i] = (REAL)((double)sum / (count + 1));
    }
  else {
    pool_step(net->pooling, h, 0, count > 0, 1, n, s);
    memcpy(k.pooled, s, (size_t)n * sizeof(REAL));
  }
  steps[1] += 1;
  if (steps[1] == (REAL)0x1p24) steps[0] += 1, steps[1] = 0;
  return (int)FN(fkd_predict)(&net->head, packed + packed_head(net), k.pooled, 1, softmax, out, k.head);
}
