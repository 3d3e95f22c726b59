/* cnn.inc.h: 1-D convolutions over time with zero padding ("same" length: (kernel - 1) / 2 zeros before, the rest
 * after) and ReLU.
 *
 * Row q = r * span + t of a product reads `kernel` consecutive rows of the inputs from row q on: A[q, i] at A + q * ld
 * + i, overlapping. Rows t >= steps mix two windows; they land on the zeros between windows of the next layer and are
 * set to 0 again. */

#define cnn_inputs FN(cnn_inputs)
#define cnn_layer FN(cnn_layer)
#define cnn_forward FN(cnn_forward)
#define cnn_backward FN(cnn_backward)
#define cnn_refresh FN(cnn_refresh)
#define cnn_pads FN(cnn_pads)

#define cnn_left FN(cnn_left)
FKD_INLINE int64_t cnn_left(const fkd_network *net) { return (net->kernel - 1) / 2; }

/* zeros around each window of a (rows * span, ld) */
static void cnn_pads(const fkd_network *net, REAL *a, int64_t ld, int64_t rows) {
  const int64_t left = cnn_left(net), span = net_span(net), T = net->steps;
  for (int64_t r = 0; r < rows; ++r, a += span * ld) {
    memset(a, 0, (size_t)(left * ld) * sizeof(REAL));
    memset(a + (left + T) * ld, 0, (size_t)((span - left - T) * ld) * sizeof(REAL));
  }
}

static void cnn_layer(const fkd_network *net, int l, const REAL *w, const REAL *a, int64_t rows, REAL *to) {
  int64_t ldw, depth = net_layer(net, l, &ldw), ld = net_ld(net, l + 1);
  gemm(a, net_ld(net, l), 1, w, ldw, rows * net_span(net) - net->kernel + 1, net->widths[l + 1], depth,
       to + cnn_left(net) * ld, ld, GEMM_BIAS | GEMM_RELU, to);
  cnn_pads(net, to, ld, rows);
}

static void cnn_forward(const fkd_network *net, const REAL *X, const int64_t *order, int64_t rows, net_work *k) {
  const int64_t T = net->steps, F = net->widths[0];
  const REAL *w = k->w;
  for (int64_t r = 0; r < rows; ++r)
    memcpy(k->a[0] + (r * net_span(net) + cnn_left(net)) * F, X + (order ? order[r] : r) * T * F,
           (size_t)(T * F) * sizeof(REAL));
  cnn_pads(net, k->a[0], F, rows);
  for (int l = 0; l < net->layers; ++l) {
    cnn_layer(net, l, w, k->a[l], rows, k->a[l + 1]);
    w += net_body(net, l);
  }
}

/* From the gradient of the last layer's outputs in d[layers] to that of all parameters. Row `right` + q of d belongs to
 * output q: the zeros before it let the product over reversed offsets begin at any row. */
static void cnn_backward(const fkd_network *net, int64_t rows, int add, net_work *k) {
  const int64_t span = net_span(net), left = cnn_left(net), right = net->kernel - 1 - left,
                M = rows * span - net->kernel + 1;
  REAL *g = k->g + k->wide;
  for (int l = net->layers - 1; l >= 0; --l) {
    const int64_t n = net->widths[l + 1], ldd = round_up(n), ld = net_ld(net, l);
    int64_t ldw, depth = net_layer(net, l, &ldw);
    const REAL *d = k->d[l + 1] + right * ldd;
    g -= net_body(net, l);
    gemm(k->a[l], 1, ld, d, ldd, depth, n, M, g, ldw, add ? GEMM_ADD : 0, g);
    for (int64_t c = 0; c < n; c += VL) {
      V sum = add ? vload(g + depth * ldw + c) : vset1(0);
      for (int64_t q = 0; q < M; ++q) sum = sum + vload(d + q * ldd + c);
      vstore(g + depth * ldw + c, sum);
    }
    if (l == 0) break;
    memset(k->d[l], 0, (size_t)(right * ld) * sizeof(REAL));
    memset(k->d[l] + (right + M) * ld, 0, (size_t)((net->kernel - 1) * ld) * sizeof(REAL));
    gemm(k->d[l + 1], ldd, 1, k->wt[l], ld, M, net->widths[l], net->kernel * ldd, k->d[l] + right * ld, ld, GEMM_MASK,
         k->a[l] + left * ld);
  }
}

/* the pooled gradient, through the last ReLU, into d[layers] */
#define cnn_unpool FN(cnn_unpool)
static void cnn_unpool(const fkd_network *net, int64_t rows, const REAL *dp, ptrdiff_t ldp, net_work *k) {
  const int L = net->layers;
  const int64_t span = net_span(net), left = cnn_left(net), right = net->kernel - 1 - left, n = net->widths[L],
                ld = net_ld(net, L);
  const REAL *h = k->a[L] + left * ld;
  REAL *d = k->d[L] + right * ld;
  memset(k->d[L], 0, (size_t)((rows * span + right) * ld) * sizeof(REAL));
  pool_backward(net->pooling, dp, ldp, h, span * ld, ld, net->steps, rows, n, d, span * ld, ld);
  for (int64_t i = 0; i < (rows * span - left) * ld; i += VL)
    vstore(d + i, vsel(VCMP(vload(h + i), >, vset1(0)), vload(d + i), vset1(0)));
}

static void cnn_refresh(const fkd_network *net, net_work *k) {
  const REAL *w = k->w;
  for (int l = 0; l < net->layers; ++l) {
    const int64_t ld = net_ld(net, l), ldd = round_up(net->widths[l + 1]), ldw = leading(net->widths[l + 1]);
    if (l)
      for (int64_t j = 0; j < net->kernel; ++j)
        mlp_transpose(w + j * ld * ldw, ldw, ld, ldd, k->wt[l] + (net->kernel - 1 - j) * ldd * ld, ld);
    w += net_body(net, l);
  }
}
