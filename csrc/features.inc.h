/* features.inc.h: squared distance between mean features of synthetic and of real rows, and its derivative by the
 * synthetic rows. */

#define features_sums FN(features_sums)
#define features_push FN(features_push)
#define features_pull FN(features_pull)

/* sum += the columns of a (rows, ld) */
static void features_sums(const REAL *a, ptrdiff_t ld, int64_t rows, int64_t n, REAL *sum) {
  for (int64_t c = 0; c < n; c += VL) {
    V s[4] = {vset1(0), vset1(0), vset1(0), vset1(0)};
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) FKD_UNROLL
    for (int i = 0; i < 4; ++i) s[i] = s[i] + vload(a + (r + i) * ld + c);
    for (; r < rows; ++r) s[0] = s[0] + vload(a + r * ld + c);
    vstore(sum + c, vload(sum + c) + ((s[0] + s[1]) + (s[2] + s[3])));
  }
}

/* sums of the features of n rows into sum[1 .. deep]; only the last block's stay in k */
static void features_push(const fkd_mlp *net, const REAL *X, int64_t n, int slopes, int low, int deep, REAL *const *sum,
                          rop_work *k) {
  const int64_t in = net->sizes[0];
  for (int l = low; l <= deep; ++l) memset(sum[l], 0, (size_t)leading(net->sizes[l]) * sizeof(REAL));
  for (int64_t r = 0; r < n; r += FKD_PREDICT_ROWS) {
    const int64_t rows = n - r < FKD_PREDICT_ROWS ? n - r : FKD_PREDICT_ROWS;
    rop_forward(net, X + r * in, in, rows, deep, slopes, k);
    for (int l = low; l <= deep; ++l)
      features_sums(l < net->layers ? k->a[l] : k->d[l], mlp_ld(net, l), rows, net->sizes[l], sum[l]);
  }
}

/* dX of the rows that rop_forward did last; slope[l]: derivative by the features of every row */
static void features_pull(const fkd_mlp *net, int64_t rows, int low, int deep, REAL *const *slope, REAL *dX,
                          rop_work *k) {
  const int64_t in = net->sizes[0];
  for (int l = deep; l >= 0; --l) {
    const int64_t n = net->sizes[l], ld = mlp_ld(net, l);
    const int given = l && l >= low;
    for (int64_t r = 0; given && r < rows; ++r) memcpy(k->d[l] + r * ld, slope[l], (size_t)round_up(n) * sizeof(REAL));
    if (l < deep)
      gemm(k->d[l + 1], mlp_ld(net, l + 1), 1, k->wt[l], ld, rows, n, net->sizes[l + 1], k->d[l], ld,
           given ? GEMM_ADD : 0, k->d[l]);
    if (l == 0 || l == net->layers) continue;
    if (rop_smooth(net)) rop_curve(k->d[l], k->d[l], k->s1[l], NULL, NULL, NULL, ld, rows, n);
    if (net->activation != FKD_RELU) continue;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = r * ld; i < r * ld + n; i += VL)
        vstore(k->d[l] + i, vsel(VCMP(vload(k->a[l] + i), >, vset1(0)), vload(k->d[l] + i), vset1(0)));
  }
  for (int64_t r = 0; r < rows; ++r) memcpy(dX + r * in, k->d[0] + r * mlp_ld(net, 0), (size_t)in * sizeof(REAL));
}

static int64_t FN(fkd_features_scratch)(const fkd_mlp *net) {
  rop_work k;
  int64_t means = 0;
  rop_carve(net, FKD_PREDICT_ROWS, NULL, &k);
  for (int l = 1; l <= net->layers; ++l) means += 2 * leading(net->sizes[l]);
  return k.used + means;
}

static double FN(fkd_feature_match)(const fkd_mlp *net, const REAL *params, const REAL *reals,
                                    const int64_t *real_starts, const REAL *X, const int64_t *starts, int64_t groups,
                                    int all, REAL *dX, REAL *scratch) {
  const int64_t in = net->sizes[0];
  const int deep = net->layers > 1 ? net->layers - 1 : 1, low = all ? 1 : deep;
  double distance = 0;
  rop_work k;
  REAL *want[FKD_MAX_LAYERS + 1], *gap[FKD_MAX_LAYERS + 1];
  rop_carve(net, FKD_PREDICT_ROWS, scratch, &k);
  scratch += k.used;
  for (int l = 1; l <= deep; ++l) {
    want[l] = scratch, gap[l] = scratch + leading(net->sizes[l]);
    scratch = gap[l] + leading(net->sizes[l]);
  }
  mlp_pack(net, params, k.w);
  rop_store(net, k.w, k.wt);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t n = starts[g + 1] - starts[g], n_real = real_starts[g + 1] - real_starts[g];
    features_push(net, reals + real_starts[g] * in, n_real, 0, low, deep, want, &k);
    features_push(net, X + starts[g] * in, n, 1, low, deep, gap, &k);
    for (int l = low; l <= deep; ++l)
      for (int64_t i = 0; i < net->sizes[l]; ++i) {
        const REAL e = gap[l][i] / (REAL)n - want[l][i] / (REAL)n_real;
        distance += (double)e * e;
        gap[l][i] = 2 * e / (REAL)n;
      }
    for (int64_t r = 0; r < n; r += FKD_PREDICT_ROWS) {
      const int64_t rows = n - r < FKD_PREDICT_ROWS ? n - r : FKD_PREDICT_ROWS;
      if (n > FKD_PREDICT_ROWS)
        rop_forward(net, X + (starts[g] + r) * in, in, rows, deep, 1, &k); /* overwritten by the last block */
      features_pull(net, rows, low, deep, gap, dX + (starts[g] + r) * in, &k);
    }
  }
  return distance;
}
