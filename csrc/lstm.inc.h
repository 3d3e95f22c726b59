/* lstm.inc.h: long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).
 *
 *   i, f, o = sigmoid(.), g = tanh(.) of [x_t, h_(t-1), 1] W,
 *   c_t = f c_(t-1) + i g,   h_t = o tanh(c_t),   h_0 = c_0 = 0 */

#define lstm_cell FN(lstm_cell)
#define lstm_gates FN(lstm_gates)
#define lstm_forward FN(lstm_forward)
#define lstm_backward FN(lstm_backward)
#define lstm_refresh FN(lstm_refresh)
#define tanh_of FN(tanh_of)

/* tanh(x) = 2 / (1 + exp(-2 x)) - 1, absolute error of an ulp: enough for a state that is added to */
FKD_INLINE V tanh_of(V x) {
  V e = vmin(vset1(FKD_BITS == 32 ? 60 : 600), vset1(-2) * x);
  vexp_few(&e, 1, 1);
  return vset1(2) / (vset1(1) + e * vset1(EXP_DOWN)) - vset1(1);
}

/* y (rows, ldy) = gates before their activation, panel after panel; w as packed */
static void lstm_gates(const REAL *a, ptrdiff_t lda, const REAL *w, int64_t depth, int64_t up, int64_t rows, REAL *y,
                       ptrdiff_t ldy) {
  for (int64_t p = 0; p < 4 * up; p += 4 * VL, w += (depth + 1) * 4 * VL) {
    if (rows == 1) gemv_panel(4, 2, a, w, 4 * VL, depth, y + p, 0);
    else gemm(a, lda, 1, w, 4 * VL, rows, 4 * VL, depth, y + p, ldy, GEMM_BIAS, y);
  }
}

/* One step of `rows` rows: gates y become their activations; before (or NULL: zeros) -> c, tanh(c) -> tc (or NULL), h
 * -> h1 and h2 (or NULL). Whole vectors are written: padded units are 0. */
static void lstm_cell(int64_t rows, int64_t up, REAL *y, ptrdiff_t ldy, const REAL *before, REAL *c, REAL *tc, REAL *h1,
                      ptrdiff_t ld1, REAL *h2, ptrdiff_t ld2) {
  const V most = vset1(FKD_BITS == 32 ? 60 : 600), down = vset1(EXP_DOWN), one = vset1(1);
  for (int64_t r = 0; r < rows; ++r) {
    REAL *g = y + r * ldy;
    for (int64_t u = 0; u < up; u += VL, g += 4 * VL) {
      V e[4];
      FKD_UNROLL
      for (int q = 0; q < 4; ++q) e[q] = vmin(most, vload(g + q * VL) * vset1(q == 2 ? -2 : -1)); /* a NaN stays NaN */
      vexp_all(e, 4, 1);
      FKD_UNROLL
      for (int q = 0; q < 4; ++q) e[q] = one / (one + e[q] * down);
      e[2] = e[2] + e[2] - one;
      V s = e[0] * e[2];
      if (before) s = vfma(e[1], vload(before + r * up + u), s);
      V t = tanh_of(s), h = e[3] * t;
      vstore(c + r * up + u, s);
      if (tc) {
        vstore(tc + r * up + u, t);
        FKD_UNROLL
        for (int q = 0; q < 4; ++q) vstore(g + q * VL, e[q]);
      }
      if (h1) vstore(h1 + r * ld1 + u, h);
      if (h2) vstore(h2 + r * ld2 + u, h);
    }
  }
}

/* all layers over `rows` windows (picked by order, if given) into the work's activations */
static void lstm_forward(const fkd_network *net, const REAL *X, const int64_t *order, int64_t rows, net_work *k) {
  const int64_t T = net->steps, F = net->widths[0], ld0 = net_ld(net, 0);
  const REAL *w = k->w;
  for (int64_t r = 0; r < rows; ++r) {
    const REAL *x = X + (order ? order[r] : r) * T * F;
    for (int64_t t = 0; t < T; ++t)
      for (int64_t c = 0; c < F; c += VL)
        vstore(k->a[0] + (t * rows + r) * ld0 + c, load_part(x + t * F + c, F - c, 0));
  }
  for (int l = 0; l < net->layers; ++l) {
    const int64_t in = net->widths[l], n = net->widths[l + 1], up = round_up(n), ld = net_ld(net, l),
                  ldg = leading(4 * up);
    const int64_t ldh = net_ld(net, l + 1);
    for (int64_t t = 0; t < T; ++t) {
      REAL *a = k->a[l] + t * rows * ld, *y = k->gates[l] + t * rows * ldg, *c = k->c[l] + t * rows * up;
      for (int64_t r = 0; r < rows; ++r) {
        if (t == 0) memset(a + r * ld + in, 0, (size_t)n * sizeof(REAL));
        a[r * ld + in + n] = 1;
      }
      lstm_gates(a, ld, w, in + n, up, rows, y, ldg);
      lstm_cell(rows, up, y, ldg, t ? c - rows * up : NULL, c, k->tc[l] + t * rows * up,
                t + 1 < T ? a + rows * ld + in : NULL, ld, k->a[l + 1] + t * rows * ldh, ldh);
    }
    w += net_body(net, l);
  }
}

/* from the gradient of the last layer's outputs in d[layers] to that of all parameters */
static void lstm_backward(const fkd_network *net, int64_t rows, int add, net_work *k) {
  const int64_t T = net->steps;
  REAL *g = k->g + k->wide;
  for (int l = net->layers - 1; l >= 0; --l) {
    const int64_t in = net->widths[l], n = net->widths[l + 1], up = round_up(n), ld = net_ld(net, l),
                  ldg = leading(4 * up);
    memset(k->dc, 0, (size_t)(rows * up) * sizeof(REAL));
    for (int64_t t = T - 1; t >= 0; --t) {
      REAL *y = k->gates[l] + t * rows * ldg, *dh = k->d[l + 1] + t * rows * up;
      const REAL *tc = k->tc[l] + t * rows * up, *before = k->c[l] + (t - 1) * rows * up;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t u = 0; u < up; u += VL) {
          const int64_t at = r * up + u;
          REAL *q = y + r * ldg + 4 * u;
          const V i = vload(q), f = vload(q + VL), c = vload(q + 2 * VL), o = vload(q + 3 * VL), s = vload(tc + at),
                  h = vload(dh + at);
          const V one = vset1(1), dc = vload(k->dc + at) + h * o * (one - s * s);
          vstore(q, dc * c * i * (one - i));
          vstore(q + VL, t ? dc * vload(before + at) * f * (one - f) : vset1(0));
          vstore(q + 2 * VL, dc * i * (one - c * c));
          vstore(q + 3 * VL, h * s * o * (one - o));
          vstore(k->dc + at, dc * f);
        }
      if (t) gemm(y, ldg, 1, k->wt[l], up, rows, n, 4 * up, dh - rows * up, up, GEMM_ADD, dh);
    }
    const int64_t size = (in + n + 1) * 4 * VL;
    g -= net_body(net, l);
    for (int64_t p = 0; p < up / VL; ++p)
      gemm(k->a[l], 1, ld, k->gates[l] + p * 4 * VL, ldg, in + n + 1, 4 * VL, T * rows, g + p * size, 4 * VL,
           add ? GEMM_ADD : 0, g);
    if (l) gemm(k->gates[l], ldg, 1, k->wx[l], round_up(in), T * rows, in, 4 * up, k->d[l], round_up(in), 0, k->d[l]);
  }
}

static void lstm_refresh(const fkd_network *net, net_work *k) {
  const REAL *w = k->w;
  for (int l = 0; l < net->layers; ++l) {
    const int64_t in = net->widths[l], n = net->widths[l + 1], up = round_up(n), ldx = round_up(in);
    for (int64_t p = 0; p < up / VL; ++p, w += (in + n + 1) * 4 * VL) {
      if (l) mlp_transpose(w, 4 * VL, in, 4 * VL, k->wx[l] + p * 4 * VL * ldx, ldx);
      mlp_transpose(w + in * 4 * VL, 4 * VL, n, 4 * VL, k->wt[l] + p * 4 * VL * up, up);
    }
  }
}
