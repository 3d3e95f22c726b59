/* roperator.inc.h: gradients of gradients. Pearlmutter's forward-over-backward pass (1994) through a perceptron, and
 * gradient matching on it.
 *
 * R{x} is the derivative of x when the parameters move along V. Forward R{z} = a V + R{a} W, backward R{e} = R{d} W^T +
 * d V^T, where d is the gradient by z and e that by a. R{dL/dW} is the Hessian-vector product, R{dL/dX} = d <V, grad L>
 * / dX. Layout as in mlp.inc.h. */

#define rop_work FN(rop_work)
#define rop_carve FN(rop_carve)
#define rop_smooth FN(rop_smooth)
#define rop_slopes FN(rop_slopes)
#define rop_curve FN(rop_curve)
#define rop_loss FN(rop_loss)
#define rop_tangent_loss FN(rop_tangent_loss)
#define rop_forward FN(rop_forward)
#define rop_backward FN(rop_backward)
#define rop_tangent FN(rop_tangent)
#define rop_store FN(rop_store)

typedef struct {
  REAL *w, *g, *v, *h;                           /* padded: parameters, gradient, V, R{gradient} */
  REAL *wt[FKD_MAX_LAYERS], *vt[FKD_MAX_LAYERS]; /* transposed weights */
  REAL *a[FKD_MAX_LAYERS + 1], *d[FKD_MAX_LAYERS + 1], *ra[FKD_MAX_LAYERS + 1], *rd[FKD_MAX_LAYERS + 1];
  REAL *e[FKD_MAX_LAYERS], *rz[FKD_MAX_LAYERS], *s1[FKD_MAX_LAYERS],
      *s2[FKD_MAX_LAYERS]; /* of tanh and gelu: e, R{z}, slope, curvature */
  REAL *p;                 /* probabilities; the targets of one row */
  REAL *y;
  int64_t wide, used;
} rop_work;

FKD_INLINE int rop_smooth(const fkd_mlp *net) { return net->activation == FKD_TANH || net->activation == FKD_GELU; }

static void rop_carve(const fkd_mlp *net, int64_t rows, REAL *base, rop_work *k) {
  const int L = net->layers;
  const int64_t slack = 16 * leading(net->sizes[L]); /* mlp_transpose reads whole blocks of rows */
  int64_t at = 0;
#define CARVE(p, n) ((p) = base ? base + at : base, at += ((n) + 15) / 16 * 16)
  k->wide = mlp_wide(net);
  CARVE(k->w, k->wide + slack);
  CARVE(k->v, k->wide + slack);
  CARVE(k->g, k->wide);
  CARVE(k->h, k->wide);
  for (int l = 0; l <= L; ++l) {
    const int64_t ld = mlp_ld(net, l);
    CARVE(k->a[l], rows * ld);
    CARVE(k->d[l], rows * ld);
    CARVE(k->rd[l], rows * ld);
    if (l) CARVE(k->ra[l], rows * ld);
    if (l == L) break;
    CARVE(k->wt[l], net->sizes[l + 1] * ld);
    CARVE(k->vt[l], net->sizes[l + 1] * ld);
    if (l && rop_smooth(net)) {
      CARVE(k->e[l], rows * ld);
      CARVE(k->rz[l], rows * ld);
      CARVE(k->s1[l], rows * ld);
      CARVE(k->s2[l], rows * ld);
    }
  }
  CARVE(k->p, rows * mlp_ld(net, L));
  CARVE(k->y, mlp_ld(net, L));
#undef CARVE
  k->used = at;
}

/* z <- activation(z), with its first two derivatives */
static void rop_slopes(int activation, REAL *z, REAL *s1, REAL *s2, ptrdiff_t ld, int64_t rows, int64_t n) {
  const V half = vset1((REAL)0.5), one = vset1(1);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = r * ld; i < r * ld + n; i += VL) {
      V t = vload(z + i);
      if (activation == FKD_TANH) {
        V a = vtanh(t), s = one - a * a;
        vstore(z + i, a);
        vstore(s1 + i, s);
        vstore(s2 + i, vset1(-2) * a * s);
      } else {
        V cdf = half * verfc(t * vset1((REAL)-0.70710678118654752440));
        V pdf = vset1((REAL)0.39894228040143267794) * vexp(vset1((REAL)-0.5) * t * t);
        vstore(z + i, t * cdf);
        vstore(s1 + i, cdf + t * pdf);
        vstore(s2 + i, (vset1(2) - t * t) * pdf);
      }
    }
}

/* out = s1 * x, or s1 * x + s2 * y * z */
static void rop_curve(REAL *out, const REAL *x, const REAL *s1, const REAL *s2, const REAL *y, const REAL *z,
                      ptrdiff_t ld, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = r * ld; i < r * ld + n; i += VL) {
      V t = vload(s1 + i) * vload(x + i);
      vstore(out + i, s2 ? t + vload(s2 + i) * vload(y + i) * vload(z + i) : t);
    }
}

/* sum of weight * loss over rows first .. first + rows - 1; d holds outputs and becomes scale * weight * gradient, p
 * the probabilities */
static double rop_loss(const fkd_mlp *net, const FN(fkd_targets) * t, int64_t first, int64_t rows, double scale,
                       rop_work *k) {
  const int64_t out = net->sizes[net->layers], ld = mlp_ld(net, net->layers);
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = first + r;
    const double w = t->weights ? t->weights[i] : 1;
    REAL *d = k->d[net->layers] + r * ld, *p = k->p + r * ld, *y = k->y;
    const REAL f = (REAL)(scale * w);
    if (t->kind == FKD_SQUARED) {
      for (int64_t c = 0; c < out; ++c) {
        const REAL e = t->values[i * out + c] - d[c];
        sum += w * 0.5 * (double)e * e;
        d[c] = -f * e;
      }
      continue;
    }
    REAL mass = 1; /* of the target, so that soft labels may be free numbers */
    memset(y, 0, (size_t)ld * sizeof(REAL));
    if (t->teacher) {
      mass = 0;
      for (int64_t c = 0; c < out; ++c) mass += y[c] = t->teacher[i * out + c];
    } else if (t->labels[i] >= 0) {
      y[t->labels[i]] = 1;
    } else {
      mass = 0;
    }
    REAL top = d[0];
    for (int64_t c = 1; c < out; ++c) top = d[c] > top ? d[c] : top;
    V total = vset1(0);
    double dot = 0;
    for (int64_t c = 0; c < out; ++c) dot += (double)y[c] * (d[c] - top);
    for (int64_t c = 0; c < out; c += VL) { /* whole vectors: a part that was just stored waits for memory */
      V u = load_part(d + c, out - c, (REAL)-INFINITY) - vset1(top);
      V x = vsel(VCMP(u, <, vset1(FKD_BITS == 32 ? -80 : -700)), vset1(0),
                 vexp_up(u, 1)); /* padding, and what would be subnormal */
      vstore(p + c, x);
      total = total + x;
    }
    const REAL z = fold_sum(total);
    const V inverse = vset1(1 / z), share = vset1(mass), factor = vset1(f);
    for (int64_t c = 0; c < out; c += VL) {
      V x = vload(p + c) * inverse;
      vstore(p + c, x);
      vstore(d + c, factor * (share * x - vload(y + c)));
    }
    sum += w * ((double)mass * log((double)z * EXP_DOWN) - dot);
  }
  return sum;
}

/* rd holds R{outputs} and becomes R{gradient}; dY (if wanted) the gradient of R{loss} with respect to soft labels or
 * values */
static void rop_tangent_loss(const fkd_mlp *net, const FN(fkd_targets) * t, int64_t first, int64_t rows, double scale,
                             REAL *dY, rop_work *k) {
  const int64_t out = net->sizes[net->layers], ld = mlp_ld(net, net->layers);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = first + r;
    REAL *rd = k->rd[net->layers] + r * ld, *p = k->p + r * ld;
    const REAL f = (REAL)(scale * (t->weights ? (double)t->weights[i] : 1));
    REAL mass = 1, mean = 0;
    if (t->kind == FKD_CLASSES) {
      for (int64_t c = 0; c < out; ++c) mean += p[c] * rd[c];
      if (t->teacher) {
        mass = 0;
        for (int64_t c = 0; c < out; ++c) mass += t->teacher[i * out + c];
      } else if (t->labels[i] < 0) {
        mass = 0;
      }
    }
    for (int64_t c = 0; c < out; ++c) {
      const REAL x = rd[c] - mean;
      if (dY) dY[i * out + c] = -f * x;
      rd[c] = t->kind == FKD_CLASSES ? f * mass * p[c] * x : f * x;
    }
  }
}

/* the first `layers` layers: activations into a[1] ... with what backward needs of them (slopes = 1) or alone, outputs
 * into d[L] */
static void rop_forward(const fkd_mlp *net, const REAL *x, ptrdiff_t ldx, int64_t rows, int layers, int slopes,
                        rop_work *k) {
  const int L = net->layers, relu = net->activation == FKD_RELU;
  const REAL *w = k->w;
  for (int l = 0; l < layers; ++l) {
    const int64_t n = net->sizes[l + 1], ld = mlp_ld(net, l + 1), ldw = leading(n);
    REAL *to = l + 1 < L ? k->a[l + 1] : k->d[L];
    gemm(x, ldx, 1, w, ldw, rows, n, net->sizes[l], to, ld, GEMM_BIAS | (l + 1 < L && relu ? GEMM_RELU : 0), to);
    if (l + 1 < L) {
      if (!slopes) mlp_activate(net->activation, to, ld, NULL, rows, n);
      else if (rop_smooth(net)) rop_slopes(net->activation, to, k->s1[l + 1], k->s2[l + 1], ld, rows, n);
      for (int64_t r = 0; slopes && r < rows; ++r) to[r * ld + n] = 1;
    }
    w += (net->sizes[l] + 1) * ldw;
    x = to, ldx = ld;
  }
}

/* forward and backward of rows first .. first + rows - 1; the gradient is stored (add = 0) or added in g; the sum of
 * losses */
static double rop_backward(const fkd_mlp *net, const REAL *X, const FN(fkd_targets) * t, int64_t first, int64_t rows,
                           double scale, int add, rop_work *k) {
  const int L = net->layers, relu = net->activation == FKD_RELU, smooth = rop_smooth(net);
  const int64_t in = net->sizes[0], ld0 = mlp_ld(net, 0);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < in; c += VL) vstore(k->a[0] + r * ld0 + c, load_part(X + (first + r) * in + c, in - c, 0));
    k->a[0][r * ld0 + in] = 1;
  }
  rop_forward(net, k->a[0], ld0, rows, L, 1, k);
  const double loss = rop_loss(net, t, first, rows, scale, k);
  REAL *g = k->g + k->wide;
  for (int l = L - 1; l >= 0; --l) {
    const int64_t n = net->sizes[l], m = net->sizes[l + 1], lda = mlp_ld(net, l), ldd = mlp_ld(net, l + 1),
                  ldw = leading(m);
    g -= (n + 1) * ldw;
    gemm(k->a[l], 1, lda, k->d[l + 1], ldd, n + 1, m, rows, g, ldw, add ? GEMM_ADD : 0, g);
    if (l == 0) break;
    REAL *e = smooth ? k->e[l] : k->d[l];
    gemm(k->d[l + 1], ldd, 1, k->wt[l], lda, rows, n, m, e, lda, relu ? GEMM_MASK : 0, k->a[l]);
    if (smooth) rop_curve(k->d[l], e, k->s1[l], NULL, NULL, NULL, lda, rows, n);
  }
  return loss;
}

/* the R pass over the rows that rop_backward did last; dX, dY and h (with_h) are wanted or not */
static void rop_tangent(const fkd_mlp *net, const FN(fkd_targets) * t, int64_t first, int64_t rows, double scale,
                        int with_h, int add, REAL *dX, REAL *dY, rop_work *k) {
  const int L = net->layers, relu = net->activation == FKD_RELU, smooth = rop_smooth(net);
  const REAL *w = k->w, *v = k->v;
  for (int l = 0; l < L; ++l) {
    const int64_t m = net->sizes[l], n = net->sizes[l + 1], ld = mlp_ld(net, l + 1), ldw = leading(n);
    const int mask = l + 1 < L && relu ? GEMM_MASK : 0;
    REAL *to = l + 1 == L ? k->rd[L] : smooth ? k->rz[l + 1] : k->ra[l + 1];
    gemm(k->a[l], mlp_ld(net, l), 1, v, ldw, rows, n, m, to, ld, GEMM_BIAS | (l ? 0 : mask), k->a[l + 1]);
    if (l) gemm(k->ra[l], mlp_ld(net, l), 1, w, ldw, rows, n, m, to, ld, GEMM_ADD | mask, k->a[l + 1]);
    if (l + 1 < L) {
      if (smooth) rop_curve(k->ra[l + 1], to, k->s1[l + 1], NULL, NULL, NULL, ld, rows, n);
      for (int64_t r = 0; r < rows; ++r) k->ra[l + 1][r * ld + n] = 0; /* the ones do not move */
    }
    w += (m + 1) * ldw, v += (m + 1) * ldw;
  }
  rop_tangent_loss(net, t, first, rows, scale, dY, k);
  REAL *h = k->h + k->wide;
  for (int l = L - 1; l >= 0; --l) {
    const int64_t n = net->sizes[l], m = net->sizes[l + 1], lda = mlp_ld(net, l), ldd = mlp_ld(net, l + 1),
                  ldw = leading(m);
    h -= (n + 1) * ldw;
    if (with_h) {
      gemm(k->a[l], 1, lda, k->rd[l + 1], ldd, n + 1, m, rows, h, ldw, add ? GEMM_ADD : 0, h);
      if (l) gemm(k->ra[l], 1, lda, k->d[l + 1], ldd, n + 1, m, rows, h, ldw, GEMM_ADD, h);
    }
    if (l == 0 && !dX) break;
    const int mask = l && relu ? GEMM_MASK : 0;
    gemm(k->rd[l + 1], ldd, 1, k->wt[l], lda, rows, n, m, k->rd[l], lda, 0, k->a[l]);
    gemm(k->d[l + 1], ldd, 1, k->vt[l], lda, rows, n, m, k->rd[l], lda, GEMM_ADD | mask, k->a[l]);
    if (l && smooth) rop_curve(k->rd[l], k->rd[l], k->s1[l], k->s2[l], k->rz[l], k->e[l], lda, rows, n);
  }
  if (!dX) return;
  const int64_t in = net->sizes[0];
  for (int64_t r = 0; r < rows; ++r)
    memcpy(dX + (first + r) * in, k->rd[0] + r * mlp_ld(net, 0), (size_t)in * sizeof(REAL));
}

/* transposes of padded weights, the first layer's too */
static void rop_store(const fkd_mlp *net, const REAL *w, REAL *const *wt) {
  for (int l = 0; l < net->layers; ++l) {
    const int64_t ldw = leading(net->sizes[l + 1]);
    mlp_transpose(w, ldw, net->sizes[l], net->sizes[l + 1], wt[l], mlp_ld(net, l));
    w += (net->sizes[l] + 1) * ldw;
  }
}

static int64_t FN(fkd_rop_scratch)(const fkd_mlp *net, int64_t rows) {
  rop_work k;
  rop_carve(net, rows < FKD_ROWS ? rows : FKD_ROWS, NULL, &k);
  return k.used;
}

static double FN(fkd_rop)(const fkd_mlp *net, const REAL *params, const REAL *v, const REAL *X,
                          const FN(fkd_targets) * t, int64_t n, REAL *grad, REAL *hv, REAL *dX, REAL *dY,
                          REAL *scratch) {
  rop_work k;
  double loss = 0;
  const double scale = 1.0 / (double)n;
  rop_carve(net, n < FKD_ROWS ? n : FKD_ROWS, scratch, &k);
  mlp_pack(net, params, k.w);
  mlp_pack(net, v, k.v);
  rop_store(net, k.w, k.wt);
  rop_store(net, k.v, k.vt);
  for (int64_t r = 0; r < n; r += FKD_ROWS) {
    const int64_t rows = n - r < FKD_ROWS ? n - r : FKD_ROWS;
    loss += rop_backward(net, X, t, r, rows, scale, r > 0, &k);
    rop_tangent(net, t, r, rows, scale, hv != NULL, r > 0, dX, dY, &k);
  }
  if (grad) mlp_unpack(net, k.g, grad);
  if (hv) mlp_unpack(net, k.h, hv);
  return loss / (double)n;
}
