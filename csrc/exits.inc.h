/* exits.inc.h: a perceptron with a classifier at every hidden layer, whose exits teach each other ("be your own teacher").
 *
 * Exit l (l = 1 .. layers - 2) is a matrix (n_l + 1, C) on the activations of hidden layer l; the network's own last layer is the exit of
 * hidden layer layers - 1, the deepest. With hints, an adapter (n_l + 1, n_deepest) per shallow exit maps its activations onto those of
 * the deepest hidden layer. Padding and the column of ones are those of mlp.inc.h. */

#define exits_work FN(exits_work)
#define exits_shallow FN(exits_shallow)
#define exits_matrix FN(exits_matrix)
#define exits_matrices FN(exits_matrices)
#define exits_carve FN(exits_carve)
#define exits_pack FN(exits_pack)
#define exits_unpack FN(exits_unpack)
#define exits_refresh FN(exits_refresh)
#define exits_teach FN(exits_teach)
#define exits_hint FN(exits_hint)
#define exits_rows FN(exits_rows)
#define exits_decay FN(exits_decay)

/* a matrix of the flat parameters: inputs (without the bias), outputs, and where it starts in padded storage */
typedef struct {
  int64_t in, out, at;
} exits_matrix;

typedef struct {
  mlp_work k; /* w, g, m, v hold all matrices: those of the network, then per shallow exit its head and its adapter */
  exits_matrix mat[3 * FKD_MAX_LAYERS];
  int n;
  int head[FKD_MAX_LAYERS], adapter[FKD_MAX_LAYERS];                                               /* places in mat, by hidden layer */
  REAL *z[FKD_MAX_LAYERS], *zt[FKD_MAX_LAYERS], *f[FKD_MAX_LAYERS], *ft[FKD_MAX_LAYERS]; /* outputs of both, and both transposed */
  int64_t wide, used;
} exits_work;

FKD_INLINE int exits_shallow(const fkd_mlp *net) { return net->layers - 2; }

static void exits_matrices(const fkd_mlp *net, const fkd_exits *e, exits_work *x) {
  const int L = net->layers;
  int64_t at = 0;
  x->n = 0;
#define EXITS_ADD(n_in, n_out)                                     \
  (x->mat[x->n].in = (n_in), x->mat[x->n].out = (n_out), x->mat[x->n].at = at, at += ((n_in) + 1) * leading(n_out), x->n++)
  for (int l = 0; l < L; ++l) EXITS_ADD(net->sizes[l], net->sizes[l + 1]);
  for (int l = 1; l <= exits_shallow(net); ++l) {
    x->head[l] = EXITS_ADD(net->sizes[l], net->sizes[L]);
    x->adapter[l] = e->feature_weight > 0 ? EXITS_ADD(net->sizes[l], net->sizes[L - 1]) : x->head[l];
  }
#undef EXITS_ADD
  x->wide = at;
}

static void exits_carve(const fkd_mlp *net, const fkd_exits *e, int64_t rows, REAL *base, exits_work *x) {
  const int L = net->layers;
  int64_t widest = leading(net->sizes[L]), at;
  exits_matrices(net, e, x);
  mlp_carve(net, rows, 0, base, &x->k);
  at = x->k.used;
  for (int l = 1; l < L; ++l) widest = leading(net->sizes[l]) > widest ? leading(net->sizes[l]) : widest;
#define CARVE(p, n) ((p) = base ? base + at : base, at += ((n) + 15) / 16 * 16)
  CARVE(x->k.w, x->wide + 16 * widest); /* mlp_transpose reads whole blocks of rows */
  CARVE(x->k.g, x->wide);
  CARVE(x->k.m, x->wide);
  CARVE(x->k.v, x->wide);
  for (int l = 1; l <= exits_shallow(net); ++l) {
    CARVE(x->z[l], rows * leading(net->sizes[L]));
    CARVE(x->zt[l], net->sizes[L] * mlp_ld(net, l));
    if (!(e->feature_weight > 0)) continue;
    CARVE(x->f[l], rows * leading(net->sizes[L - 1]));
    CARVE(x->ft[l], net->sizes[L - 1] * mlp_ld(net, l));
  }
#undef CARVE
  x->used = at;
}

static void exits_pack(const exits_work *x, const REAL *flat, REAL *w) {
  for (int i = 0; i < x->n; ++i) {
    const int64_t n = x->mat[i].out, ld = leading(n);
    for (int64_t r = 0; r <= x->mat[i].in; ++r, flat += n, w += ld) {
      memcpy(w, flat, (size_t)n * sizeof(REAL));
      memset(w + n, 0, (size_t)(ld - n) * sizeof(REAL));
    }
  }
}

static void exits_unpack(const exits_work *x, const REAL *w, REAL *flat) {
  for (int i = 0; i < x->n; ++i) {
    const int64_t n = x->mat[i].out, ld = leading(n);
    for (int64_t r = 0; r <= x->mat[i].in; ++r, flat += n, w += ld) memcpy(flat, w, (size_t)n * sizeof(REAL));
  }
}

static void exits_refresh(const fkd_mlp *net, const fkd_exits *e, exits_work *x) {
  mlp_refresh(net, &x->k);
  for (int l = 1; l <= exits_shallow(net); ++l) {
    const exits_matrix *h = x->mat + x->head[l], *a = x->mat + x->adapter[l];
    mlp_transpose(x->k.w + h->at, leading(h->out), h->in, h->out, x->zt[l], mlp_ld(net, l));
    if (e->feature_weight > 0) mlp_transpose(x->k.w + a->at, leading(a->out), a->in, a->out, x->ft[l], mlp_ld(net, l));
  }
}

/* gradient += l2 * weights (not biases); returns 0.5 * l2 * |weights|^2 */
static double exits_decay(const exits_work *x, double l2) {
  double sum = 0;
  for (int i = 0; i < x->n; ++i) {
    const int64_t n = x->mat[i].in * leading(x->mat[i].out);
    const REAL *w = x->k.w + x->mat[i].at;
    REAL *g = x->k.g + x->mat[i].at;
    for (int64_t j = 0; j < n; ++j) {
      g[j] += (REAL)l2 * w[j];
      sum += (double)w[j] * w[j];
    }
  }
  return 0.5 * l2 * sum;
}

/* losses of all exits; their outputs become scale * gradient. Teachers are constants: no gradient flows into them. */
static double exits_teach(const fkd_mlp *net, const fkd_exits *e, const FN(fkd_targets) *t, int64_t rows, double scale, exits_work *x) {
  const int L = net->layers, deep = L - 1, shallow = exits_shallow(net);
  const int64_t C = net->sizes[L], ld = leading(C), ldd = mlp_ld(net, L);
  const int32_t *labels = t->labels ? x->k.labels : NULL;
  const REAL *weights = t->weights ? x->k.weights : NULL;
  REAL *teacher = x->k.teacher, *one = x->k.values;
  fkd_distill taught = t->how, untaught = t->how;
  double loss = 0, sum;
  taught.teacher = e->shallow_teaches ? FKD_PROBABILITIES : FKD_LOGITS;
  untaught.teacher = FKD_NO_TEACHER, untaught.kd_weight = 0;
  if (e->shallow_teaches) {
    memset(teacher, 0, (size_t)(rows * C) * sizeof(REAL));
    for (int l = 1; l <= shallow; ++l) {
      for (int64_t r = 0; r < rows; ++r) memcpy(one + r * C, x->z[l] + r * ld, (size_t)C * sizeof(REAL));
      FN(fkd_softmax)(one, rows, C, 1 / t->how.temperature, 0, one);
      for (int64_t i = 0; i < rows * C; ++i) teacher[i] += one[i] / (REAL)shallow;
    }
  } else {
    for (int64_t r = 0; r < rows; ++r) memcpy(teacher + r * C, x->k.d[L] + r * ldd, (size_t)C * sizeof(REAL));
  }
  for (int l = 1; l <= deep; ++l) {
    const int pupil = (l == deep) == e->shallow_teaches;
    REAL *z = l == deep ? x->k.d[L] : x->z[l];
    const int64_t ldz = l == deep ? ldd : ld;
    kd_rows(z, ldz, pupil ? teacher : NULL, C, labels, weights, rows, C, pupil ? &taught : &untaught, scale * e->weights[l - 1], &sum, z, ldz,
            x->k.loss);
    loss += e->weights[l - 1] * sum;
  }
  return loss;
}

/* sum of weight * feature_weight * 0.5 |adapter output - deepest activations|^2; the adapter's outputs become scale * gradient */
static double exits_hint(const fkd_mlp *net, const fkd_exits *e, const FN(fkd_targets) *t, int l, int64_t rows, double scale, exits_work *x) {
  const int deep = net->layers - 1;
  const int64_t n = net->sizes[deep], ld = leading(n), lda = mlp_ld(net, deep);
  double loss = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const double w = e->feature_weight * (t->weights ? x->k.weights[r] : 1);
    REAL *f = x->f[l] + r * ld;
    double sum = 0;
    for (int64_t c = 0; c < n; ++c) {
      const REAL gap = f[c] - x->k.a[deep][r * lda + c];
      sum += (double)gap * gap;
      f[c] = (REAL)(scale * w) * gap;
    }
    loss += 0.5 * w * sum;
  }
  return loss;
}

/* forward and backward of `rows` <= FKD_ROWS rows, as mlp_rows */
static double exits_rows(const fkd_mlp *net, const fkd_exits *e, const REAL *X, const FN(fkd_targets) *t, const int64_t *order, int64_t rows,
                         double scale, int add, exits_work *x) {
  const int L = net->layers, shallow = exits_shallow(net), hints = e->feature_weight > 0, act = net->activation, plus = add ? GEMM_ADD : 0;
  mlp_work *k = &x->k;
  mlp_inputs(net, X, order, rows, k);
  mlp_targets(t, net->sizes[L], order, rows, k);
  mlp_forward(net, rows, k);
#define EXITS_OUT(matrix, to) \
  gemm(k->a[l], mlp_ld(net, l), 1, k->w + (matrix)->at, leading((matrix)->out), rows, (matrix)->out, (matrix)->in, to, leading((matrix)->out), \
       GEMM_BIAS, to)
  for (int l = 1; l <= shallow; ++l) {
    EXITS_OUT(x->mat + x->head[l], x->z[l]);
    if (hints) EXITS_OUT(x->mat + x->adapter[l], x->f[l]);
  }
#undef EXITS_OUT
  double loss = exits_teach(net, e, t, rows, scale, x);
  for (int l = 1; hints && l <= shallow; ++l) loss += exits_hint(net, e, t, l, rows, scale, x);
  for (int l = L - 1; l >= 0; --l) {
    const int64_t n = net->sizes[l], m = net->sizes[l + 1], lda = mlp_ld(net, l), ldd = mlp_ld(net, l + 1);
    const int has_exit = l >= 1 && l <= shallow, mask = act == FKD_RELU ? GEMM_MASK : 0;
    REAL *g = k->g + x->mat[l].at;
    gemm(k->a[l], 1, lda, k->d[l + 1], ldd, n + 1, m, rows, g, leading(m), plus, g);
    if (l == 0) break;
    gemm(k->d[l + 1], ldd, 1, k->wt[l], lda, rows, n, m, k->d[l], lda, has_exit ? 0 : mask, k->a[l]);
    if (has_exit) { /* what the exit here has learned comes down the same way */
      const exits_matrix *h = x->mat + x->head[l], *a = x->mat + x->adapter[l];
      gemm(k->a[l], 1, lda, x->z[l], leading(h->out), n + 1, h->out, rows, k->g + h->at, leading(h->out), plus, k->g + h->at);
      gemm(x->z[l], leading(h->out), 1, x->zt[l], lda, rows, n, h->out, k->d[l], lda, GEMM_ADD | (hints ? 0 : mask), k->a[l]);
      if (hints) {
        gemm(k->a[l], 1, lda, x->f[l], leading(a->out), n + 1, a->out, rows, k->g + a->at, leading(a->out), plus, k->g + a->at);
        gemm(x->f[l], leading(a->out), 1, x->ft[l], lda, rows, n, a->out, k->d[l], lda, GEMM_ADD | mask, k->a[l]);
      }
    }
    mlp_deactivate(act, k->d[l], k->a[l], k->z[l], lda, rows, n);
  }
  return loss;
}

static int64_t FN(fkd_exits_scratch)(const fkd_mlp *net, const fkd_exits *e, int64_t rows) {
  exits_work x;
  exits_carve(net, e, rows < FKD_ROWS ? rows : FKD_ROWS, NULL, &x);
  return x.used;
}

static double FN(fkd_exits_gradient)(const fkd_mlp *net, const fkd_exits *e, const REAL *params, const REAL *X, const FN(fkd_targets) *t, int64_t n,
                                     double l2, REAL *grad, REAL *scratch) {
  exits_work x;
  double loss = 0;
  exits_carve(net, e, n < FKD_ROWS ? n : FKD_ROWS, scratch, &x);
  exits_pack(&x, params, x.k.w);
  exits_refresh(net, e, &x);
  for (int64_t r = 0; r < n; r += FKD_ROWS) {
    FN(fkd_targets) part = *t;
    part.labels = t->labels ? t->labels + r : NULL, part.weights = t->weights ? t->weights + r : NULL;
    loss += exits_rows(net, e, X + r * net->sizes[0], &part, NULL, n - r < FKD_ROWS ? n - r : FKD_ROWS, 1.0 / (double)n, r > 0, &x);
  }
  loss /= (double)n;
  if (l2 > 0) loss += exits_decay(&x, l2);
  exits_unpack(&x, x.k.g, grad);
  return loss;
}

static double FN(fkd_exits_epoch)(const fkd_mlp *net, const fkd_exits *e, const REAL *X, const FN(fkd_targets) *t, const int64_t *order, int64_t n,
                                  int64_t batch, double l2, const fkd_optimizer *o, REAL *params, REAL *m, REAL *v, int64_t *step, REAL *scratch) {
  exits_work x;
  double loss = 0;
  exits_carve(net, e, batch < FKD_ROWS ? batch : FKD_ROWS, scratch, &x);
  exits_pack(&x, params, x.k.w);
  exits_pack(&x, m, x.k.m);
  if (o->kind == FKD_ADAM) exits_pack(&x, v, x.k.v);
  for (int64_t b = 0; b < n; b += batch) {
    const int64_t size = n - b < batch ? n - b : batch;
    exits_refresh(net, e, &x);
    for (int64_t r = 0; r < size; r += FKD_ROWS) {
      const int64_t rows = size - r < FKD_ROWS ? size - r : FKD_ROWS, left = n - b - r - rows;
      mlp_fetch(net->sizes[0], net->sizes[net->layers], X, t, order + b + r + rows, left < rows ? left : rows);
      loss += exits_rows(net, e, X, t, order + b + r, rows, 1.0 / (double)size, r > 0, &x);
    }
    if (l2 > 0) exits_decay(&x, l2);
    ++*step;
    if (o->kind == FKD_ADAM) adam_step(x.k.w, x.k.g, x.k.m, x.k.v, x.wide, o, *step);
    else sgd_step(x.k.w, x.k.g, x.k.m, x.wide, o->learning_rate, o->momentum);
  }
  exits_unpack(&x, x.k.w, params);
  exits_unpack(&x, x.k.m, m);
  if (o->kind == FKD_ADAM) exits_unpack(&x, x.k.v, v);
  return n ? loss / (double)n : 0;
}
