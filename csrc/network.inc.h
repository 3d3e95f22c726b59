/* network.inc.h: a body (none, LSTM layers or convolutions), pooling over time, and a perceptron as its head: memory,
 * layout, pooling.
 *
 * Body layer l maps widths[l] to widths[l + 1] channels with a matrix whose last row is the bias. LSTM: rows are
 * inputs, then the state; columns the four gates i, f, g, o. In scratch it lies in panels of VL units, each row of a
 * panel the 4 VL gates of those units: one product gives all that a unit needs, and padded units stay 0 by themselves.
 * CNN: row j * n_in + i is input i at offset j of the kernel; padded to whole vectors as the perceptron's layers are.
 *
 * LSTM activations are time-major: row t * rows + r. CNN activations hold, for each window, `span` = steps + kernel - 1
 * rows: the steps with zeros around them, so that the rows of one product overlap in memory and nothing is copied. */

#define net_work FN(net_work)
#define net_rows FN(net_rows)
#define net_span FN(net_span)
#define net_ld FN(net_ld)
#define net_layer FN(net_layer)
#define net_body FN(net_body)
#define net_carve FN(net_carve)
#define body_pack FN(body_pack)
#define body_unpack FN(body_unpack)
#define body_decay FN(body_decay)
#define pool_forward FN(pool_forward)
#define pool_backward FN(pool_backward)

typedef struct {
  mlp_work head;
  REAL *w, *g, *m, *v; /* the body's packed parameters, gradient, moments */
  REAL *wt[FKD_MAX_LAYERS], *wx[FKD_MAX_LAYERS];
  REAL *a[FKD_MAX_LAYERS + 1],
      *d[FKD_MAX_LAYERS + 1]; /* inputs of each layer (the last: the body's outputs), gradients of outputs */
  REAL *gates[FKD_MAX_LAYERS], *c[FKD_MAX_LAYERS], *tc[FKD_MAX_LAYERS], *dc;
  int64_t wide, used;
} net_work;

/* rows that training keeps at once: with a body the activations of all steps are kept */
static int64_t net_rows(const fkd_network *net) { return net->kind == FKD_DENSE ? FKD_ROWS : FKD_WINDOWS; }

FKD_INLINE int64_t net_span(const fkd_network *net) { return net->steps + net->kernel - 1; }

/* row length of the inputs of layer l */
static int64_t net_ld(const fkd_network *net, int l) {
  if (net->kind == FKD_LSTM && l < net->layers) return leading(net->widths[l] + round_up(net->widths[l + 1]) + VL);
  return l ? round_up(net->widths[l]) : net->widths[0];
}

/* rows above the bias, and row length, of layer l's packed matrix; for an LSTM those of one panel */
static int64_t net_layer(const fkd_network *net, int l, int64_t *ldw) {
  if (net->kind == FKD_LSTM) {
    *ldw = 4 * VL;
    return net->widths[l] + net->widths[l + 1];
  }
  *ldw = leading(net->widths[l + 1]);
  return net->kernel * net_ld(net, l);
}

/* reals of layer l's packed matrix */
static int64_t net_body(const fkd_network *net, int l) {
  int64_t ldw, rows = net_layer(net, l, &ldw) + 1;
  return (net->kind == FKD_LSTM ? round_up(net->widths[l + 1]) / VL : 1) * rows * ldw;
}

static void net_carve(const fkd_network *net, int64_t rows, REAL *base, net_work *k) {
  int64_t at = 0, most = 0;
  mlp_carve(&net->head, rows, net->kind != FKD_DENSE, base, &k->head);
  at = k->head.used;
  k->wide = 0;
  for (int l = 0; l < net->layers; ++l) {
    const int64_t ldw = leading(net->widths[l + 1]);
    k->wide += net_body(net, l);
    most = ldw > most ? ldw : most;
  }
  k->used = at;
  if (net->kind == FKD_DENSE) return;
#define CARVE(p, n) ((p) = base ? base + at : base, at += ((n) + 15) / 16 * 16)
  CARVE(k->w, k->wide + 16 * (most + 4 * VL)); /* mlp_transpose reads whole blocks of rows */
  CARVE(k->g, k->wide);
  CARVE(k->m, k->wide);
  CARVE(k->v, k->wide);
  for (int l = 0; l <= net->layers; ++l) {
    const int64_t ld = net_ld(net, l), wide = round_up(net->widths[l]);
    if (net->kind == FKD_LSTM) {
      CARVE(k->a[l], net->steps * rows * ld + VL);
      CARVE(k->d[l], net->steps * rows * wide);
      if (l == net->layers) break;
      const int64_t up = round_up(net->widths[l + 1]);
      CARVE(k->gates[l], net->steps * rows * leading(4 * up));
      CARVE(k->c[l], net->steps * rows * up);
      CARVE(k->tc[l], net->steps * rows * up);
      CARVE(k->wt[l], 4 * up * up);
      CARVE(k->wx[l], 4 * up * wide);
    } else {
      CARVE(k->a[l], rows * net_span(net) * ld + VL);
      CARVE(k->d[l], (rows * net_span(net) + net->kernel) * wide);
      if (l < net->layers) CARVE(k->wt[l], net->kernel * round_up(net->widths[l + 1]) * wide);
    }
  }
  CARVE(k->dc, rows * (most + VL));
#undef CARVE
  k->used = at;
}

/* the body's flat parameters to w, and back; returns where the head's begin */
static const REAL *body_pack(const fkd_network *net, const REAL *flat, REAL *w) {
  for (int l = 0; l < net->layers; ++l) {
    const int64_t in = net->widths[l], n = net->widths[l + 1], size = net_body(net, l);
    int64_t ldw, rows = net_layer(net, l, &ldw) + 1;
    memset(w, 0, (size_t)size * sizeof(REAL));
    if (net->kind == FKD_LSTM) {
      for (int64_t r = 0; r < rows; ++r)
        for (int q = 0; q < 4; ++q)
          for (int64_t u = 0; u < n; ++u) w[(u / VL * rows + r) * ldw + q * VL + u % VL] = *flat++;
    } else {
      for (int64_t j = 0; j < net->kernel; ++j)
        for (int64_t i = 0; i < in; ++i, flat += n)
          memcpy(w + (j * net_ld(net, l) + i) * ldw, flat, (size_t)n * sizeof(REAL));
      memcpy(w + (rows - 1) * ldw, flat, (size_t)n * sizeof(REAL));
      flat += n;
    }
    w += size;
  }
  return flat;
}

static REAL *body_unpack(const fkd_network *net, const REAL *w, REAL *flat) {
  for (int l = 0; l < net->layers; ++l) {
    const int64_t in = net->widths[l], n = net->widths[l + 1], size = net_body(net, l);
    int64_t ldw, rows = net_layer(net, l, &ldw) + 1;
    if (net->kind == FKD_LSTM) {
      for (int64_t r = 0; r < rows; ++r)
        for (int q = 0; q < 4; ++q)
          for (int64_t u = 0; u < n; ++u) *flat++ = w[(u / VL * rows + r) * ldw + q * VL + u % VL];
    } else {
      for (int64_t j = 0; j < net->kernel; ++j)
        for (int64_t i = 0; i < in; ++i, flat += n)
          memcpy(flat, w + (j * net_ld(net, l) + i) * ldw, (size_t)n * sizeof(REAL));
      memcpy(flat, w + (rows - 1) * ldw, (size_t)n * sizeof(REAL));
      flat += n;
    }
    w += size;
  }
  return flat;
}

/* as mlp_decay, for the body */
static double body_decay(const fkd_network *net, double l2, const REAL *w, REAL *g) {
  const REAL f = (REAL)l2;
  double sum = 0;
  for (int l = 0; l < net->layers; ++l) {
    int64_t ldw, rows = net_layer(net, l, &ldw), size = net_body(net, l);
    for (int64_t p = 0; p < size; p += (rows + 1) * ldw)
      for (int64_t i = p; i < p + rows * ldw; ++i) {
        g[i] += f * w[i];
        sum += (double)w[i] * w[i];
      }
    w += size, g += size;
  }
  return 0.5 * l2 * sum;
}

/* to (rows, ldt) = h pooled over `steps`; step t of row r lies at h + r * by_row + t * by_step, whole vectors of n
 * channels */
static void pool_forward(int pooling, const REAL *h, ptrdiff_t by_row, ptrdiff_t by_step, int64_t steps, int64_t rows,
                         int64_t n, REAL *to, ptrdiff_t ldt) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < n; c += VL) {
      const REAL *p = h + r * by_row + c;
      V x = vload(pooling == FKD_LAST ? p + (steps - 1) * by_step : p);
      if (pooling == FKD_MAX)
        for (int64_t t = 1; t < steps; ++t) x = vmax(x, vload(p + t * by_step));
      if (pooling == FKD_MEAN) {
        for (int64_t t = 1; t < steps; ++t) x = x + vload(p + t * by_step);
        x = x * vset1((REAL)(1 / (double)steps));
      }
      vstore(to + r * ldt + c, x);
    }
}

/* d, laid out by d_row and d_step, = the gradient at h of the pooled gradient dp (rows, ldp); a maximum passes it to
 * its first step */
static void pool_backward(int pooling, const REAL *dp, ptrdiff_t ldp, const REAL *h, ptrdiff_t by_row,
                          ptrdiff_t by_step, int64_t steps, int64_t rows, int64_t n, REAL *d, ptrdiff_t d_row,
                          ptrdiff_t d_step) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < n; c += VL) {
      const REAL *p = h + r * by_row + c;
      REAL *to = d + r * d_row + c;
      V x = vload(dp + r * ldp + c), top = vload(p);
      if (pooling == FKD_MEAN) x = x * vset1((REAL)(1 / (double)steps));
      if (pooling == FKD_MAX)
        for (int64_t t = 1; t < steps; ++t) top = vmax(top, vload(p + t * by_step));
      for (int64_t t = 0; t < steps; ++t) {
        V now = pooling == FKD_LAST && t + 1 < steps ? vset1(0) : x;
        if (pooling == FKD_MAX) {
          VI here = VCMP(vload(p + t * by_step), ==, top);
          now = vsel(here, x, vset1(0));
          x = vsel(here, vset1(0), x);
        }
        vstore(to + t * d_step, now);
      }
    }
}
