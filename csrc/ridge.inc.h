/* ridge.inc.h: kernel ridge regression seen from its support rows: squared error on target rows, derivatives by dual
 * weights and support.
 *
 * Targets are worked off RIDGE_ROWS at a time, one a lane, so that the kernel between them and the support never leaves
 * the cache. */

#define ridge_work FN(ridge_work)
#define ridge_carve FN(ridge_carve)
#define ridge_load FN(ridge_load)
#define ridge_rbf FN(ridge_rbf)
#define ridge_ntk FN(ridge_ntk)
#define ridge_ntk_slope FN(ridge_ntk_slope)
#define RIDGE_ROWS 64
#define RIDGE_PI 3.14159265358979323846

typedef struct {
  REAL *mean, *s, *norm;     /* of the support; its rows without the mean (rbf), their squared lengths */
  REAL *xt, *xa, *x2;        /* block of targets: transposed; with a column of ones; squared lengths */
  REAL *q, *root, *inverse;  /* tangent kernel, by layer: variance of the targets, its root, the root's inverse */
  REAL *K, *G, *cosine, *k0; /* support by targets, the last two by layer */
  REAL *p, *rt;              /* predictions, then residuals, a target a lane; residuals, a target a row */
  REAL *b, *h, *dq;          /* sums over targets: K r, G times (X, 1), derivative by the support's variance */
  int64_t ld, ldh, ldc, used;
} ridge_work;

static void ridge_carve(const fkd_kernel *f, int64_t m, int64_t d, int64_t C, REAL *base, ridge_work *k) {
  int64_t at = 0;
  k->ld = leading(RIDGE_ROWS), k->ldh = leading(d + 1), k->ldc = leading(C);
#define CARVE(p, n) ((p) = base ? base + at : base, at += ((n) + 15) / 16 * 16)
  CARVE(k->mean, d);
  CARVE(k->s, m * d);
  CARVE(k->norm, m);
  CARVE(k->xt, d * k->ld);
  CARVE(k->xa, RIDGE_ROWS * k->ldh);
  CARVE(k->x2, RIDGE_ROWS);
  CARVE(k->q, f->depth * RIDGE_ROWS);
  CARVE(k->root, f->depth * RIDGE_ROWS);
  CARVE(k->inverse, f->depth * RIDGE_ROWS);
  CARVE(k->K, m * k->ld);
  CARVE(k->G, m * k->ld);
  CARVE(k->cosine, f->depth * m * k->ld);
  CARVE(k->k0, f->depth * m * k->ld);
  CARVE(k->p, C * k->ld);
  CARVE(k->rt, RIDGE_ROWS * k->ldc);
  CARVE(k->b, m * k->ldc);
  CARVE(k->h, m * k->ldh);
  CARVE(k->dq, m);
#undef CARVE
  k->used = at;
}

/* a block of targets; rows beyond the last are 0 */
static void ridge_load(const fkd_kernel *f, const REAL *X, int64_t rows, int64_t d, ridge_work *k) {
  for (int64_t r = 0; r < RIDGE_ROWS; ++r) {
    REAL sum = 0;
    for (int64_t c = 0; c < d; ++c) {
      const REAL x = r < rows ? X[r * d + c] - k->mean[c] : 0;
      k->xt[c * k->ld + r] = k->xa[r * k->ldh + c] = x;
      sum += x * x;
    }
    k->xa[r * k->ldh + d] = 1;
    k->x2[r] = sum;
    REAL q = (REAL)(f->weight_variance / (double)d) * sum + (REAL)f->bias_variance;
    for (int l = 0; l < f->depth; ++l) {
      const int64_t i = l * RIDGE_ROWS + r;
      k->q[i] = q, k->root[i] = FKD_BITS == 32 ? sqrtf((float)q) : sqrt(q), k->inverse[i] = 1 / k->root[i];
      q = (REAL)(f->weight_variance / 2) * q + (REAL)f->bias_variance;
    }
  }
}

/* K holds products of rows and becomes exp(-gamma |s - x|^2) */
static void ridge_rbf(const fkd_kernel *f, int64_t m, ridge_work *k) {
  const V gamma = vset1((REAL)-f->gamma), two = vset1(2), zero = vset1(0);
  for (int64_t j = 0; j < m; ++j) {
    V t[RIDGE_ROWS / VL];
    REAL *row = k->K + j * k->ld;
    for (int i = 0; i < RIDGE_ROWS / VL; ++i)
      t[i] = gamma * vmax(zero, vset1(k->norm[j]) + vload(k->x2 + i * VL) - two * vload(row + i * VL));
    vexp_all(t, RIDGE_ROWS / VL, 1);
    for (int i = 0; i < RIDGE_ROWS / VL; ++i) vstore(row + i * VL, t[i] * vset1(EXP_DOWN));
  }
}

/* K holds products of rows and becomes the tangent kernel; cosine and k0 by layer */
static void ridge_ntk(const fkd_kernel *f, int64_t m, int64_t d, ridge_work *k) {
  const V w = vset1((REAL)f->weight_variance), b = vset1((REAL)f->bias_variance), one = vset1(1);
  const V scale = vset1((REAL)(f->weight_variance / (double)d)), turn = vset1((REAL)(0.5 / RIDGE_PI)),
          pi = vset1((REAL)RIDGE_PI);
  for (int64_t j = 0; j < m; ++j) {
    double q[FKD_MAX_LAYERS];
    q[0] = f->weight_variance / (double)d * k->norm[j] + f->bias_variance;
    for (int l = 1; l < f->depth; ++l) q[l] = f->weight_variance / 2 * q[l - 1] + f->bias_variance;
    for (int64_t i = 0; i < RIDGE_ROWS; i += VL) {
      V s = scale * vload(k->K + j * k->ld + i) + b, theta = s;
      for (int l = 0; l < f->depth; ++l) {
        const int64_t at = (l * m + j) * k->ld + i, r = l * RIDGE_ROWS + i;
        V c = s * (vset1((REAL)(1 / sqrt(q[l]))) * vload(k->inverse + r));
        c = vmin(one, vmax(-one, c));
        V k0 = (pi - vacos(c)) * turn, sine = vsqrt((one - c) * (one + c));
        vstore(k->cosine + at, c);
        vstore(k->k0 + at, k0);
        s = w * (vset1((REAL)sqrt(q[l])) * vload(k->root + r)) * (sine * turn + k0 * c) + b;
        theta = s + w * k0 * theta;
      }
      vstore(k->K + j * k->ld + i, theta);
    }
  }
}

/* G holds the derivative by the kernel and becomes that by the product of rows, without its scale; dq: by the support's
 * variance */
static void ridge_ntk_slope(const fkd_kernel *f, int64_t m, int64_t d, ridge_work *k) {
  const double w = f->weight_variance;
  const V one = vset1(1), turn = vset1((REAL)(w / (2 * RIDGE_PI))), weight = vset1((REAL)w),
          half = vset1((REAL)(w / 2));
  for (int64_t j = 0; j < m; ++j) {
    double q[FKD_MAX_LAYERS];
    V total = vset1(0);
    q[0] = w / (double)d * k->norm[j] + f->bias_variance;
    for (int l = 1; l < f->depth; ++l) q[l] = w / 2 * q[l - 1] + f->bias_variance;
    for (int64_t i = 0; i < RIDGE_ROWS; i += VL) {
      V theta[FKD_MAX_LAYERS], root[FKD_MAX_LAYERS], d_theta = vload(k->G + j * k->ld + i), d_s = vset1(0),
                                                     d_q = vset1(0);
      for (int l = 0; l < f->depth; ++l) { /* the kernel before each layer, once more */
        const int64_t at = (l * m + j) * k->ld + i;
        root[l] = vset1((REAL)sqrt(q[l])) * vload(k->root + l * RIDGE_ROWS + i);
        theta[l] = vload(k->cosine + at) * root[l];
        if (l) theta[l] = theta[l] + weight * vload(k->k0 + at - m * k->ld) * theta[l - 1];
      }
      for (int l = f->depth - 1; l >= 0; --l) {
        const int64_t at = (l * m + j) * k->ld + i, r = l * RIDGE_ROWS + i;
        V c = vload(k->cosine + at), k0 = weight * vload(k->k0 + at), sine = vsqrt((one - c) * (one + c));
        d_s = d_s + d_theta;
        V d_c = d_theta * theta[l] * turn / vmax(vset1((REAL)1e-6), sine);
        d_theta = d_theta * k0;
        d_q = half * d_q + d_s * sine * vload(k->root + r) * (turn * vset1((REAL)(0.5 / sqrt(q[l])))) -
              d_c * c * vset1((REAL)(0.5 / q[l]));
        d_s = d_s * k0 + d_c * (vset1((REAL)(1 / sqrt(q[l]))) * vload(k->inverse + r));
      }
      vstore(k->G + j * k->ld + i, d_s + d_theta);
      total = total + d_q;
    }
    k->dq[j] += fold_sum(total);
  }
}

static int64_t FN(fkd_ridge_scratch)(const fkd_kernel *f, int64_t m, int64_t d, int64_t C) {
  ridge_work k;
  ridge_carve(f, m, d, C, NULL, &k);
  return k.used;
}

static double FN(fkd_ridge)(const fkd_kernel *f, const REAL *S, int64_t m, int64_t d, const REAL *a, int64_t C,
                            const REAL *X, const REAL *T, int64_t n, REAL *da, REAL *dS, REAL *scratch) {
  const double share = 1 / ((double)n * (double)C);
  double loss = 0;
  ridge_work k;
  ridge_carve(f, m, d, C, scratch, &k);
  memset(scratch, 0, (size_t)k.used * sizeof(REAL));
  if (f->depth == 0) /* distances do not know a common offset, but their rounding does */
    for (int64_t c = 0; c < d; ++c) {
      double sum = 0;
      for (int64_t j = 0; j < m; ++j) sum += S[j * d + c];
      k.mean[c] = (REAL)(sum / (double)m);
    }
  for (int64_t i = 0; i < m * d; ++i) {
    k.s[i] = S[i] - k.mean[i % d];
    k.norm[i / d] += k.s[i] * k.s[i];
  }
  for (int64_t r = 0; r < n; r += RIDGE_ROWS) {
    const int64_t rows = n - r < RIDGE_ROWS ? n - r : RIDGE_ROWS;
    ridge_load(f, X + r * d, rows, d, &k);
    gemm(k.s, d, 1, k.xt, k.ld, m, RIDGE_ROWS, d, k.K, k.ld, 0, k.K);
    if (f->depth) ridge_ntk(f, m, d, &k);
    else ridge_rbf(f, m, &k);
    gemm(a, 1, C, k.K, k.ld, C, RIDGE_ROWS, m, k.p, k.ld, 0, k.p);
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < RIDGE_ROWS; ++i) {
        const double gap = i < rows ? (double)k.p[c * k.ld + i] - T[(r + i) * C + c] : 0;
        loss += gap * gap;
        k.p[c * k.ld + i] = k.rt[i * k.ldc + c] = (REAL)(share * gap);
      }
    gemm(k.K, k.ld, 1, k.rt, k.ldc, m, C, rows, k.b, k.ldc, GEMM_ADD, k.b);
    gemm(a, C, 1, k.p, k.ld, m, RIDGE_ROWS, C, k.G, k.ld, 0, k.G);
    if (f->depth) ridge_ntk_slope(f, m, d, &k);
    else
      for (int64_t i = 0; i < m * k.ld; i += VL) vstore(k.G + i, vload(k.G + i) * vload(k.K + i));
    gemm(k.G, k.ld, 1, k.xa, k.ldh, m, d + 1, rows, k.h, k.ldh, GEMM_ADD, k.h);
  }
  const REAL scale = (REAL)(f->depth ? f->weight_variance / (double)d : 2 * f->gamma);
  for (int64_t j = 0; j < m; ++j) {
    const REAL *h = k.h + j * k.ldh, own = f->depth ? 2 * k.dq[j] : -h[d];
    memcpy(da + j * C, k.b + j * k.ldc, (size_t)C * sizeof(REAL));
    for (int64_t c = 0; c < d; ++c) dS[j * d + c] = scale * (h[c] + own * k.s[j * d + c]);
  }
  return 0.5 * share * loss;
}
