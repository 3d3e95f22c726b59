/* mlp.inc.h: multi-layer perceptron: layout, losses, forward and backward of some rows. train.inc.h makes epochs of it.
 *
 * Layer l maps n_l to n_{l+1} with an (n_l + 1, n_{l+1}) matrix, its last row the bias. Inside, rows are padded to
 * `leading` reals with zeros, which stay zero through forward, backward and update, so that no loop needs a mask.
 * Activations A_l (rows x n_l) carry a column of ones at n_l: A_l^T D gives weight and bias gradients in one product.
 */

#define mlp_work FN(mlp_work)
#define mlp_carve FN(mlp_carve)
#define mlp_pack FN(fkd_pack)
#define mlp_unpack FN(mlp_unpack)
#define mlp_ld FN(mlp_ld)
#define mlp_wide FN(mlp_wide)
#define mlp_activate FN(mlp_activate)
#define mlp_deactivate FN(mlp_deactivate)
#define mlp_transpose FN(mlp_transpose)
#define mlp_loss FN(mlp_loss)
#define mlp_inputs FN(mlp_inputs)
#define mlp_forward FN(mlp_forward)
#define mlp_rows FN(mlp_rows)
#define mlp_decay FN(mlp_decay)
#define mlp_targets FN(mlp_targets)
#define mlp_copy FN(mlp_copy)
#define mlp_fetch FN(mlp_fetch)
#define mlp_narrow FN(mlp_narrow)
#define mlp_refresh FN(mlp_refresh)

/* where things lie in the caller's scratch */
typedef struct {
  REAL *w, *g, *m, *v; /* padded parameters, gradient, moments */
  REAL *wt[FKD_MAX_LAYERS + 1], *a[FKD_MAX_LAYERS + 1], *d[FKD_MAX_LAYERS + 1], *z[FKD_MAX_LAYERS + 1];
  REAL *teacher, *weights, *values, *loss;
  int32_t *labels;
  int64_t wide, used; /* reals of padded parameters; of everything */
} mlp_work;

/* rows of activations and deltas: room for the column of ones */
FKD_INLINE int64_t mlp_ld(const fkd_mlp *net, int l) { return leading(net->sizes[l] + 1); }

static int64_t mlp_wide(const fkd_mlp *net) {
  int64_t n = 0;
  for (int l = 0; l < net->layers; ++l) n += (net->sizes[l] + 1) * leading(net->sizes[l + 1]);
  return n;
}

/* inner: the gradient with respect to the inputs is wanted too, in d[0] */
static void mlp_carve(const fkd_mlp *net, int64_t rows, int inner, REAL *base, mlp_work *k) {
  const int L = net->layers;
  int64_t at = 0, out = net->sizes[L], slack = 16 * leading(out); /* mlp_transpose reads whole blocks of rows */
#define CARVE(p, n) ((p) = base ? base + at : base, at += ((n) + 15) / 16 * 16)
  k->wide = mlp_wide(net);
  CARVE(k->w, k->wide + slack);
  CARVE(k->g, k->wide);
  CARVE(k->m, k->wide);
  CARVE(k->v, k->wide);
  for (int l = 0; l <= L; ++l) {
    CARVE(k->a[l], rows * mlp_ld(net, l));
    k->d[l] = k->wt[l] = NULL;
    if (l == 0 && !inner) continue;
    CARVE(k->d[l], rows * mlp_ld(net, l));
    if (l < L) CARVE(k->wt[l], net->sizes[l + 1] * mlp_ld(net, l));
    if (l && l < L && net->activation == FKD_GELU) CARVE(k->z[l], rows * mlp_ld(net, l));
  }
  CARVE(k->teacher, rows * out);
  CARVE(k->values, rows * out);
  CARVE(k->weights, rows);
  REAL *labels;
  CARVE(labels, rows);
  k->labels = (int32_t *)labels;
  CARVE(k->loss, 5 * ((out + 15) / 16 * 16));
#undef CARVE
  k->used = at;
}

static void mlp_pack(const fkd_mlp *net, const REAL *flat, REAL *w) {
  for (int l = 0; l < net->layers; ++l) {
    const int64_t n = net->sizes[l + 1], ld = leading(n);
    for (int64_t i = 0; i <= net->sizes[l]; ++i, flat += n, w += ld) {
      memcpy(w, flat, (size_t)n * sizeof(REAL));
      memset(w + n, 0, (size_t)(ld - n) * sizeof(REAL));
    }
  }
}

static void mlp_unpack(const fkd_mlp *net, const REAL *w, REAL *flat) {
  for (int l = 0; l < net->layers; ++l) {
    const int64_t n = net->sizes[l + 1], ld = leading(n);
    for (int64_t i = 0; i <= net->sizes[l]; ++i, flat += n, w += ld) memcpy(flat, w, (size_t)n * sizeof(REAL));
  }
}

/* x <- activation(x); gelu keeps the argument in z */
static void mlp_activate(int activation, REAL *x, ptrdiff_t ld, REAL *z, int64_t rows, int64_t n) {
  if (activation == FKD_IDENTITY || activation == FKD_RELU) return;
  for (int64_t r = 0; r < rows; ++r, x += ld) {
    for (int64_t c = 0; c < n; c += VL) {
      V t = vload(x + c);
      if (activation == FKD_TANH) {
        vstore(x + c, vtanh(t));
      } else {
        if (z) vstore(z + r * ld + c, t);
        vstore(x + c, t * (vset1((REAL)0.5) * verfc(t * vset1((REAL)-0.70710678118654752440))));
      }
    }
  }
}

/* d <- d * activation'(.) */
static void mlp_deactivate(int activation, REAL *d, const REAL *a, const REAL *z, ptrdiff_t ld, int64_t rows,
                           int64_t n) {
  if (activation == FKD_IDENTITY || activation == FKD_RELU) return;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; c += VL) {
      const int64_t i = r * ld + c;
      V s;
      if (activation == FKD_TANH) {
        V t = vload(a + i);
        s = vset1(1) - t * t;
      } else {
        V t = vload(z + i);
        s = vset1((REAL)0.5) * verfc(t * vset1((REAL)-0.70710678118654752440)) +
            t * vset1((REAL)0.39894228040143267794) * vexp(vset1((REAL)-0.5) * t * t);
      }
      vstore(d + i, vload(d + i) * s);
    }
  }
}

/* wt (out, ldt) = the weights w (in, ldw) transposed, columns from `in` on zero up to a whole vector */
static void mlp_transpose(const REAL *w, ptrdiff_t ldw, int64_t in, int64_t out, REAL *wt, ptrdiff_t ldt) {
#ifdef FKD_PACKED
  for (int64_t i = 0; i < in; i += VL) {
    for (int64_t c = 0; c < out; c += QW) {
      V t[QW];
      load_piece(w + i * ldw + c, ldw, t);
      for (int q = 0; q < QW && c + q < out; ++q) {
        REAL *to = wt + (c + q) * ldt + i;
        vstore(to, t[q]);
        for (int64_t k = in - i; k < VL; ++k) to[k] = 0;
      }
    }
  }
#else
  for (int64_t i = 0; i < in; ++i)
    for (int64_t c = 0; c < out; ++c) wt[c * ldt + i] = w[i * ldw + c];
#endif
}

/* loss of `rows` outputs in d (ld), which becomes scale * gradient; returns the sum of weight * loss */
static double mlp_loss(const FN(fkd_targets) * t, int64_t out, mlp_work *k, REAL *d, ptrdiff_t ld, int64_t rows,
                       double scale) {
  double sum = 0;
  if (t->kind == FKD_CLASSES) {
    kd_rows(d, ld, t->teacher ? k->teacher : NULL, out, t->labels ? k->labels : NULL, t->weights ? k->weights : NULL,
            rows, out, &t->how, scale, &sum, d, ld, k->loss);
    return sum;
  }
  const REAL tau = (REAL)t->quantile;
  for (int64_t r = 0; r < rows; ++r) {
    const double w = t->weights ? k->weights[r] : 1;
    const REAL f = (REAL)(scale * w);
    for (int64_t c = 0; c < out; ++c) {
      const REAL e = k->values[r * out + c] - d[r * ld + c];
      if (t->kind == FKD_SQUARED) {
        sum += w * 0.5 * (double)e * e;
        d[r * ld + c] = -f * e;
      } else {
        sum += w * (e > 0 ? tau * (double)e : (tau - 1) * (double)e);
        d[r * ld + c] = f * (e > 0 ? -tau : e < 0 ? 1 - tau : 0);
      }
    }
  }
  return sum;
}

/* n reals and no byte more: a masked load of a whole vector touches the next line of the cache too */
FKD_INLINE void mlp_copy(REAL *to, const REAL *from, int64_t n) {
  int64_t c = 0;
  for (; c + VL <= n; c += VL) vstore(to + c, vload(from + c));
#if FKD_VBYTES > 16
  for (; c + QW <= n; c += QW) memcpy(to + c, from + c, QW * sizeof(REAL));
#endif
  for (; c < n; ++c) {
    FKD_HIDE(to); /* no vectors, no call of memcpy */
    to[c] = from[c];
  }
}

/* Asks for the inputs and targets of `rows` rows of an order, into L2, while the rows before them are worked on:
 * shuffled rows are cache misses. Inlined, or gcc takes it for a function without effect. */
FKD_INLINE void mlp_fetch(int64_t in, int64_t out, const REAL *X, const FN(fkd_targets) * t, const int64_t *order,
                          int64_t rows) {
  const int64_t line = 64 / (int64_t)sizeof(REAL);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = order[r];
    for (int64_t c = 0; c < in; c += line) FKD_PREFETCH_FAR(X + i * in + c);
    if (in > 1) FKD_PREFETCH_FAR(X + i * in + in - 1);
    if (t->labels) FKD_PREFETCH_FAR(t->labels + i);
    if (t->teacher) FKD_PREFETCH_FAR(t->teacher + i * out);
    if (t->values) FKD_PREFETCH_FAR(t->values + i * out);
    if (t->weights) FKD_PREFETCH_FAR(t->weights + i);
  }
}

/* the targets of `rows` rows, picked by order, if given */
static void mlp_targets(const FN(fkd_targets) * t, int64_t out, const int64_t *order, int64_t rows, mlp_work *k) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = order ? order[r] : r;
    if (t->teacher) mlp_copy(k->teacher + r * out, t->teacher + i * out, out);
    if (t->values) mlp_copy(k->values + r * out, t->values + i * out, out);
    if (t->labels) k->labels[r] = t->labels[i];
    if (t->weights) k->weights[r] = t->weights[i];
  }
}

/* the inputs of `rows` rows, picked by order, if given */
static void mlp_inputs(const fkd_mlp *net, const REAL *X, const int64_t *order, int64_t rows, mlp_work *k) {
  const int64_t in = net->sizes[0], ld0 = mlp_ld(net, 0);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = order ? order[r] : r;
    mlp_copy(k->a[0] + r * ld0, X + i * in, in);
    k->a[0][r * ld0 + in] = 1;
  }
}

#ifdef FEW_OUTPUTS
/* whether layer l is one for narrow.inc.h, which needs its transposed weights and a place for the gradient of its
 * inputs */
FKD_INLINE int mlp_narrow(const fkd_mlp *net, int l, const mlp_work *k) {
  return l + 1 == net->layers && net->sizes[l + 1] <= FEW_OUTPUTS && k->d[l];
}
#endif

/* activations into a[1] .. a[L - 1], outputs into d[L] */
static void mlp_forward(const fkd_mlp *net, int64_t rows, mlp_work *k) {
  const int L = net->layers, act = net->activation;
  const REAL *w = k->w;
  for (int l = 0; l < L; ++l) {
    const int64_t n = net->sizes[l + 1], ld = mlp_ld(net, l + 1), ldw = leading(n);
    REAL *to = l + 1 < L ? k->a[l + 1] : k->d[L];
#ifdef FEW_OUTPUTS
    if (mlp_narrow(net, l, k)) {
      narrow_forward((int)n, k->a[l], mlp_ld(net, l), k->wt[l], mlp_ld(net, l), w + net->sizes[l] * ldw, net->sizes[l],
                     rows, to, ld);
      break;
    }
#endif
    gemm(k->a[l], mlp_ld(net, l), 1, w, ldw, rows, n, net->sizes[l], to, ld,
         GEMM_BIAS | (l + 1 < L && act == FKD_RELU ? GEMM_RELU : 0), to);
    if (l + 1 < L) {
      mlp_activate(act, to, ld, k->z[l + 1], rows, n);
      for (int64_t r = 0; r < rows; ++r) to[r * ld + n] = 1;
    }
    w += (net->sizes[l] + 1) * ldw;
  }
}

/* forward and backward of `rows` <= FKD_ROWS rows, inputs and targets in k; the gradient is stored (add = 0) or added
 */
static double mlp_rows(const fkd_mlp *net, const FN(fkd_targets) * t, int64_t rows, double scale, int add,
                       mlp_work *k) {
  const int L = net->layers, act = net->activation;
  mlp_forward(net, rows, k);
  const double loss = mlp_loss(t, net->sizes[L], k, k->d[L], mlp_ld(net, L), rows, scale);
  REAL *g = k->g + k->wide;
  for (int l = L - 1; l >= 0; --l) {
    const int64_t n = net->sizes[l], m = net->sizes[l + 1], lda = mlp_ld(net, l), ldd = mlp_ld(net, l + 1),
                  ldw = leading(m);
    g -= (n + 1) * ldw;
#ifdef FEW_OUTPUTS
    if (mlp_narrow(net, l, k)) {
      narrow_backward((int)m, k->a[l], lda, k->d[L], ldd, k->wt[l], lda, n, rows, add, l && act == FKD_RELU, k->d[l], g,
                      ldw);
      if (l) mlp_deactivate(act, k->d[l], k->a[l], k->z[l], lda, rows, n);
      continue;
    }
#endif
    gemm(k->a[l], 1, lda, k->d[l + 1], ldd, n + 1, m, rows, g, ldw, add ? GEMM_ADD : 0, g);
    if (l == 0 && !k->d[0]) break;
    gemm(k->d[l + 1], ldd, 1, k->wt[l], lda, rows, n, m, k->d[l], lda, l && act == FKD_RELU ? GEMM_MASK : 0, k->a[l]);
    if (l) mlp_deactivate(act, k->d[l], k->a[l], k->z[l], lda, rows, n);
  }
  return loss;
}

/* gradient += l2 * weights (not biases); returns 0.5 * l2 * |weights|^2 */
static double mlp_decay(const fkd_mlp *net, double l2, const REAL *w, REAL *g) {
  double sum = 0;
  for (int l = 0; l < net->layers; ++l) {
    const int64_t ld = leading(net->sizes[l + 1]), n = net->sizes[l] * ld;
    const REAL f = (REAL)l2;
    for (int64_t i = 0; i < n; ++i) {
      g[i] += f * w[i];
      sum += (double)w[i] * w[i];
    }
    w += n + ld, g += n + ld;
  }
  return 0.5 * l2 * sum;
}

static void mlp_refresh(const fkd_mlp *net, mlp_work *k) {
  const REAL *w = k->w;
  for (int l = 0; l < net->layers; ++l) {
    const int64_t ldw = leading(net->sizes[l + 1]);
    if (k->wt[l]) mlp_transpose(w, ldw, net->sizes[l], net->sizes[l + 1], k->wt[l], mlp_ld(net, l));
    w += (net->sizes[l] + 1) * ldw;
  }
}
