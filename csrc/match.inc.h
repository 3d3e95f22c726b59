/* match.inc.h: distance between the gradients of synthetic and of real rows, and its derivative with respect to the
 * synthetic rows.
 *
 * V = dD / ds for the synthetic gradient s; then d D / dX = d <V, s> / dX with V held fixed, which is the R operator's.
 */

#define match_columns FN(match_columns)
#define match_whole FN(match_whole)
#define MATCH_EPSILON 1e-6

/* row-wise: the columns of W are the units. v holds r and becomes V */
static double match_columns(const fkd_mlp *net, const REAL *s, REAL *v) {
  double sum = 0;
  const V eps = vset1((REAL)MATCH_EPSILON), zero = vset1(0);
  for (int l = 0; l < net->layers; ++l) {
    const int64_t m = net->sizes[l], n = net->sizes[l + 1], ld = leading(n);
    for (int64_t c = 0; c < n; c += VL) {
      V rs = zero, rr = zero, ss = zero;
      for (int64_t i = 0; i < m; ++i) {
        V a = vload(v + i * ld + c), b = vload(s + i * ld + c);
        rs = vfma(a, b, rs), rr = vfma(a, a, rr), ss = vfma(b, b, ss);
      }
      V nr = vsqrt(rr), ns = vsqrt(ss), q = vset1(1) / (nr * ns + eps),
        f = vsel(VCMP(ns, >, zero), rs * nr * q * q / ns, zero);
      for (int64_t i = 0; i < m; ++i) {
        REAL *at = v + i * ld + c;
        vstore(at, f * vload(s + i * ld + c) - q * vload(at));
      }
      REAL cosine[VL];
      vstore(cosine, rs * q);
      for (int64_t j = 0; j < VL && c + j < n; ++j) sum += 1 - (double)cosine[j];
    }
    v += m * ld, s += m * ld;
    memset(v, 0, (size_t)ld * sizeof(REAL)); /* biases are not matched */
    v += ld, s += ld;
  }
  return sum;
}

/* all parameters as one vector; the padding is 0 in both */
static double match_whole(int distance, int64_t wide, const REAL *s, REAL *v) {
  double rs = 0, rr = 0, ss = 0;
  for (int64_t b = 0; b < wide; b += 64 * VL) { /* float sums stay short */
    V x = vset1(0), y = vset1(0), z = vset1(0);
    for (int64_t i = b; i < wide && i < b + 64 * VL; i += VL) {
      V p = vload(v + i), q = vload(s + i);
      if (distance == FKD_MSE) {
        p = q - p;
        vstore(v + i, p + p);
        x = vfma(p, p, x);
      } else {
        x = vfma(p, q, x), y = vfma(p, p, y), z = vfma(q, q, z);
      }
    }
    rs += (double)fold_sum(x), rr += (double)fold_sum(y), ss += (double)fold_sum(z);
  }
  if (distance == FKD_MSE) return rs;
  const double nr = sqrt(rr), ns = sqrt(ss), q = 1 / (nr * ns + MATCH_EPSILON);
  const V f = vset1((REAL)(ns > 0 ? rs * nr * q * q / ns : 0)), g = vset1((REAL)q);
  for (int64_t i = 0; i < wide; i += VL) vstore(v + i, f * vload(s + i) - g * vload(v + i));
  return 1 - rs * q;
}

static double FN(fkd_gradient_match)(const fkd_mlp *net, const REAL *params, const REAL *reals, const REAL *X,
                                     const FN(fkd_targets) * t, const int64_t *starts, int64_t groups, int distance,
                                     REAL *dX, REAL *dY, REAL *scratch) {
  rop_work k;
  double sum = 0;
  int64_t most = 0, flat = 0;
  for (int64_t g = 0; g < groups; ++g) most = starts[g + 1] - starts[g] > most ? starts[g + 1] - starts[g] : most;
  for (int l = 0; l < net->layers; ++l) flat += (net->sizes[l] + 1) * net->sizes[l + 1];
  rop_carve(net, most < FKD_ROWS ? most : FKD_ROWS, scratch, &k);
  memset(k.g, 0, (size_t)k.wide * sizeof(REAL)); /* what pads its rows stays 0 */
  mlp_pack(net, params, k.w);
  rop_store(net, k.w, k.wt);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t n = starts[g + 1] - starts[g];
    const double scale = 1.0 / (double)n;
    for (int64_t r = 0; r < n; r += FKD_ROWS)
      rop_backward(net, X, t, starts[g] + r, n - r < FKD_ROWS ? n - r : FKD_ROWS, scale, r > 0, &k);
    mlp_pack(net, reals + g * flat, k.v);
    sum += distance == FKD_ROWWISE ? match_columns(net, k.g, k.v) : match_whole(distance, k.wide, k.g, k.v);
    rop_store(net, k.v, k.vt);
    for (int64_t r = 0; r < n; r += FKD_ROWS) {
      const int64_t rows = n - r < FKD_ROWS ? n - r : FKD_ROWS;
      if (n > FKD_ROWS)
        rop_backward(net, X, t, starts[g] + r, rows, scale, 0, &k); /* the pass over these rows was overwritten */
      rop_tangent(net, t, starts[g] + r, rows, scale, 0, 0, dX, dY, &k);
    }
  }
  return sum;
}
