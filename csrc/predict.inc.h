/* predict.inc.h: rows through a packed network; one row by itself takes a path of its own. */

#define predict_one FN(predict_one)
#define predict_rows FN(predict_rows)
#define predict_ld FN(predict_ld)
#define not_finite FN(not_finite)

static int64_t predict_ld(const fkd_mlp *net) {
  int64_t most = 0;
  for (int l = 1; l <= net->layers; ++l) most = net->sizes[l] > most ? net->sizes[l] : most;
  return leading(most);
}

static int64_t FN(fkd_packed_size)(const fkd_mlp *net) { return mlp_wide(net); }

static int64_t FN(fkd_predict_scratch)(const fkd_mlp *net, int64_t rows) {
  return 2 * predict_ld(net) * (rows < FKD_PREDICT_ROWS ? rows : FKD_PREDICT_ROWS);
}

FKD_INLINE int not_finite(const REAL *x, int64_t n) {
  VI bad = visetl(0);
  for (int64_t i = 0; i < n; i += VL) {
    V v = load_part(x + i, n - i, 0);
    bad = bad | VCMP(v - v, !=, vset1(0));
  }
  return vany(bad);
}

/* in_order: with the bits of a row among others, which takes a third longer */
FKD_INLINE int predict_one(const fkd_mlp *net, const REAL *w, const REAL *x, int softmax, REAL *out, REAL *scratch,
                           const int in_order) {
  const int L = net->layers, relu = net->activation == FKD_RELU;
  const int64_t in = net->sizes[0], C = net->sizes[L], ld = predict_ld(net);
  if (not_finite(x, in)) {
    for (int64_t c = 0; c < C; ++c) out[c] = (REAL)NAN;
    return 1;
  }
  for (int l = 0; l < L; ++l) {
    const int64_t n = net->sizes[l + 1], ldw = leading(n);
    REAL *y = scratch + (l & 1) * ld;
    if (in_order) gemv_in_order(x, w, ldw, n, net->sizes[l], y, l + 1 < L && relu);
    else gemv(x, w, ldw, n, net->sizes[l], y, l + 1 < L && relu);
    if (l + 1 < L) mlp_activate(net->activation, y, ld, NULL, 1, n);
    w += (net->sizes[l] + 1) * ldw;
    x = y;
  }
  if (softmax && C <= FKD_COLUMNS) softmax_short(x, (int)C, 1, 0, out);
  else if (softmax) softmax_long(x, C, 1, 0, out);
  else memcpy(out, x, (size_t)C * sizeof(REAL));
  return 0;
}

/* returns the number of rows with a feature that is not finite: their outputs are NaN */
static int64_t FN(fkd_predict)(const fkd_mlp *net, const REAL *packed, const REAL *X, int64_t n, int softmax, REAL *out,
                               REAL *scratch) {
  if (n == 1) return predict_one(net, packed, X, softmax, out, scratch, 0);
  const int L = net->layers;
  const int64_t in = net->sizes[0], C = net->sizes[L], ld = predict_ld(net);
  const int64_t half = ld * (n < FKD_PREDICT_ROWS ? n : FKD_PREDICT_ROWS);
  int64_t bad = 0;
  for (int64_t r = 0; r < n; r += FKD_PREDICT_ROWS) {
    const int64_t rows = n - r < FKD_PREDICT_ROWS ? n - r : FKD_PREDICT_ROWS;
    const REAL *x = X + r * in, *w = packed;
    ptrdiff_t ldx = in;
    for (int l = 0; l < L; ++l) {
      const int64_t m = net->sizes[l + 1], ldw = leading(m);
      REAL *y = scratch + (l & 1) * half;
      gemm(x, ldx, 1, w, ldw, rows, m, net->sizes[l], y, ld,
           GEMM_BIAS | (l + 1 < L && net->activation == FKD_RELU ? GEMM_RELU : 0), y);
      if (l + 1 < L) mlp_activate(net->activation, y, ld, NULL, rows, m);
      w += (net->sizes[l] + 1) * ldw;
      x = y, ldx = ld;
    }
    unsigned char spoiled[FKD_PREDICT_ROWS] = {0}; /* found before the outputs are written: out may be X */
    if (not_finite(X + r * in, rows * in))
      for (int64_t i = 0; i < rows; ++i) spoiled[i] = (unsigned char)not_finite(X + (r + i) * in, in);
    REAL *to = out + r * C;
    if (softmax) softmax_plain(x, ldx, rows, C, 1, to, C);
    else
      for (int64_t i = 0; i < rows; ++i) memcpy(to + i * C, x + i * ldx, (size_t)C * sizeof(REAL));
    for (int64_t i = 0; i < rows; ++i) {
      if (!spoiled[i]) continue;
      ++bad;
      for (int64_t c = 0; c < C; ++c) to[i * C + c] = (REAL)NAN;
    }
  }
  return bad;
}

/* any number of rows with the same bits whatever their number */
#define predict_steady FN(predict_steady)
static int64_t predict_steady(const fkd_mlp *net, const REAL *packed, const REAL *X, int64_t n, int softmax, REAL *out,
                              REAL *scratch) {
  return n == 1 ? predict_one(net, packed, X, softmax, out, scratch, 1)
                : FN(fkd_predict)(net, packed, X, n, softmax, out, scratch);
}
