/* fastkd_kernels.h: the list of kernels, each once: FKD_KERNEL(result, name, (arguments)). fastkd.h makes it the
 * tables of function pointers, unit.h fills them with fkd_NAME_f32 and fkd_NAME_f64, and tools/make_pxd.py makes it
 * fastkd_core.pxd. No include guard: who includes it defines FKD_KERNEL, and fkd_real and fkd_targets as the real
 * type and the targets of that type. fastkd.h says what holds for all of them. */

/* out[r, c] = softmax(x[r] * inv_t), or its log if log_. out may be x. Returns the first row that holds NaN or +inf
 * or nothing but -inf, else -1. Same bits. */
FKD_KERNEL(int64_t, softmax, (const fkd_real *x, int64_t n, int64_t C, double inv_t, int log_, fkd_real *out))

/* *loss = sum_r weights[r] * row loss; grad[r, c] = scale * weights[r] * d row loss / d student[r, c] (NULL: not
 * wanted; may be student). Returns the first bad row as softmax does, else -1. scratch: 5 * (C rounded up to 16)
 * reals if C > 16. */
FKD_KERNEL(int64_t, distill_loss, (const fkd_real *student, const fkd_real *teacher, const int32_t *labels,
                                   const fkd_real *weights, int64_t n, int64_t C, const fkd_distill *how, double scale,
                                   double *loss, fkd_real *grad, fkd_real *scratch))
FKD_KERNEL(int64_t, mlp_scratch, (const fkd_mlp *net, int64_t rows))

/* Mean loss over n rows plus 0.5 l2 |W|^2 (weights, not biases); grad (flat) its gradient. scratch: mlp_scratch(net,
 * n). */
FKD_KERNEL(double, mlp_gradient, (const fkd_mlp *net, const fkd_real *params, const fkd_real *X, const fkd_targets *t,
                                  int64_t n, double l2, fkd_real *grad, fkd_real *scratch))

/* One pass over the n rows that `order` lists, in minibatches of `batch`; updates params, moments m and v (v unused
 * by sgd) and *step in place. Returns the mean loss, each batch before its update, without l2. scratch:
 * mlp_scratch(net, batch). */
FKD_KERNEL(double, mlp_epoch, (const fkd_mlp *net, const fkd_real *X, const fkd_targets *t, const int64_t *order,
                               int64_t n, int64_t batch, double l2, const fkd_optimizer *o, fkd_real *params,
                               fkd_real *m, fkd_real *v, int64_t *step, fkd_real *scratch))

/* Prediction from weights packed once (packed_size reals, 64-byte aligned): outputs or softmax probabilities (n,
 * outputs). A row with a feature that is not finite gives NaN throughout; returns how many. scratch:
 * predict_scratch(net, n). */
FKD_KERNEL(int64_t, packed_size, (const fkd_mlp *net))
FKD_KERNEL(void, pack, (const fkd_mlp *net, const fkd_real *params, fkd_real *packed))
FKD_KERNEL(int64_t, predict_scratch, (const fkd_mlp *net, int64_t rows))
FKD_KERNEL(int64_t, predict, (const fkd_mlp *net, const fkd_real *packed, const fkd_real *X, int64_t n, int softmax,
                              fkd_real *out, fkd_real *scratch))

/* The same for networks over windows, X (n, steps, features). packed: features enter as (x - shift) * factor; NULL
 * for 0 and 1. */
FKD_KERNEL(int64_t, network_scratch, (const fkd_network *net, int64_t rows))
FKD_KERNEL(double, network_gradient, (const fkd_network *net, const fkd_real *params, const fkd_real *X,
                                      const fkd_targets *t, int64_t n, double l2, fkd_real *grad, fkd_real *scratch))
FKD_KERNEL(double, network_epoch, (const fkd_network *net, const fkd_real *X, const fkd_targets *t,
                                   const int64_t *order, int64_t n, int64_t batch, double l2, const fkd_optimizer *o,
                                   fkd_real *params, fkd_real *m, fkd_real *v, int64_t *step, fkd_real *scratch))
FKD_KERNEL(int64_t, network_packed, (const fkd_network *net))
FKD_KERNEL(void, network_pack, (const fkd_network *net, const fkd_real *params, const fkd_real *shift,
                                const fkd_real *factor, fkd_real *packed))
FKD_KERNEL(int64_t, network_predict_scratch, (const fkd_network *net, int64_t rows))
FKD_KERNEL(int64_t, network_predict, (const fkd_network *net, const fkd_real *packed, const fkd_real *X, int64_t n,
                                      int softmax, fkd_real *out, fkd_real *scratch))

/* LSTM only: one step from `state` (network_state reals, zeros at the start), which it updates; out as for a window
 * that ends here. Returns 1 and leaves the state alone if a feature or the new state is not finite. scratch:
 * network_predict_scratch(net, 1). */
FKD_KERNEL(int64_t, network_state, (const fkd_network *net))
FKD_KERNEL(int, network_push, (const fkd_network *net, const fkd_real *packed, fkd_real *state, const fkd_real *x,
                               int softmax, fkd_real *out, fkd_real *scratch))

/* 1 if all d entries are finite. */
FKD_KERNEL(int, finite, (const fkd_real *x, int64_t d))

/* Robust aggregation; rows[i] points to the d columns of row i, all finite, n <= 65535. Columns c0 .. c1 - 1 of out
 * are set to the mean of ranks lo .. hi - 1, or, for keep > 0, of the keep values nearest to the median (lower
 * first; needs all ranks). scratch: 64 n reals. Same bits, also for any split of the columns. Returns 1 if all that
 * was read must have been finite: then rows need not be known to be; else (NaN, inf, or sums that overflow) out is
 * valid only if they are. */
FKD_KERNEL(int, order, (const fkd_real *const *rows, int64_t n, int64_t c0, int64_t c1, const fkd_sorter *how,
                        int64_t lo, int64_t hi, int64_t keep, fkd_real *out, fkd_real *scratch))

/* out[i, j] += |rows[i] - rows[j]|^2 for i < j, out (n, n), for every group g of 4 rows i that is worker `first`'s of
 * `step`: in turn, and back again, since later groups have fewer pairs. Overflow gives inf. Same bits, for any step. */
FKD_KERNEL(void, sq_distances, (const fkd_real *const *rows, int64_t n, int64_t d, int64_t first, int64_t step,
                                double *out))

/* The same in the precision of the rows: float within 1e-5 of itself, double within 1e-9, or less than d 2^-140 off;
 * inf from 1e38 on for float. */
FKD_KERNEL(void, rough_distances, (const fkd_real *const *rows, int64_t n, int64_t d, int64_t first, int64_t step,
                                   double *out))

/* The same within 1e-9 of itself for both types: in double, but fused. scratch: FKD_NEAR n doubles. */
FKD_KERNEL(void, near_distances, (const fkd_real *const *rows, int64_t n, int64_t d, int64_t first, int64_t step,
                                  double *out, double *scratch))

/* out[c] = sum_i weights[i] * rows[i][c], in double, in that order; the mean if weights is NULL. out may be one of the
 * rows. Same bits. Returns 1 if all of out is finite. */
FKD_KERNEL(int, combine, (const fkd_real *const *rows, int64_t n, const double *weights, int64_t c0, int64_t c1,
                           fkd_real *out))

/* sum_c ((at[c] - m[c]) scale)^2 over columns c0 .. c1 - 1, m what combine would write, but finite. Same bits. */
FKD_KERNEL(double, gap, (const fkd_real *const *rows, int64_t n, const double *weights, int64_t c0, int64_t c1,
                         const fkd_real *at, double scale))

/* A perceptron with exits: gradient and epoch as for mlp_*, with labels, weights and `how` of t, which has no
 * teacher of its own. */
FKD_KERNEL(int64_t, exits_scratch, (const fkd_mlp *net, const fkd_exits *e, int64_t rows))
FKD_KERNEL(double, exits_gradient, (const fkd_mlp *net, const fkd_exits *e, const fkd_real *params, const fkd_real *X,
                                    const fkd_targets *t, int64_t n, double l2, fkd_real *grad, fkd_real *scratch))
FKD_KERNEL(double, exits_epoch, (const fkd_mlp *net, const fkd_exits *e, const fkd_real *X, const fkd_targets *t,
                                 const int64_t *order, int64_t n, int64_t batch, double l2, const fkd_optimizer *o,
                                 fkd_real *params, fkd_real *m, fkd_real *v, int64_t *step, fkd_real *scratch))

/* Pearlmutter's R operator (1994). Returns the mean loss L over n rows; wanted or NULL: grad = dL / d params, hv =
 * its derivative along v, dX (n, sizes[0]) and dY (n, outputs) = the derivatives of <v, grad> with respect to X and
 * to soft labels or values. t: FKD_CLASSES with labels, or soft labels in `teacher`, any numbers y, row loss -sum_c
 * y_c log p_c; or FKD_SQUARED; `how` is not read. scratch: rop_scratch(net, n). */
FKD_KERNEL(int64_t, rop_scratch, (const fkd_mlp *net, int64_t rows))
FKD_KERNEL(double, rop, (const fkd_mlp *net, const fkd_real *params, const fkd_real *v, const fkd_real *X,
                         const fkd_targets *t, int64_t n, fkd_real *grad, fkd_real *hv, fkd_real *dX, fkd_real *dY,
                         fkd_real *scratch))

/* Gradient matching (Zhao, Mopuri and Bilen 2021). Rows starts[g] .. starts[g + 1] - 1 are group g; s = the gradient
 * of their mean loss, r = reals[g], flat. Returns the sum over groups of their distance, and its derivatives dX, dY
 * (NULL: not wanted). Distance: FKD_ROWWISE: sum over all output units o of all layers of 1 - <r_o, s_o> / (|r_o|
 * |s_o| + 1e-6), biases left out; FKD_GLOBAL: the same of the whole vectors; FKD_MSE: |r - s|^2. scratch:
 * rop_scratch(net, rows of the largest group). */
FKD_KERNEL(double, gradient_match, (const fkd_mlp *net, const fkd_real *params, const fkd_real *reals,
                                    const fkd_real *X, const fkd_targets *t, const int64_t *starts, int64_t groups,
                                    int distance, fkd_real *dX, fkd_real *dY, fkd_real *scratch))

/* Feature matching (Zhao and Bilen 2023). Rows starts[g] .. starts[g + 1] - 1 of X and real_starts[g] .. of reals
 * are group g. Returns the sum over groups of |mean features of X's rows - of the real rows|^2, and its derivative
 * dX. Features: activations of the last hidden layer, of all of them (all), or the outputs where none is hidden.
 * scratch: features_scratch(net). */
FKD_KERNEL(int64_t, features_scratch, (const fkd_mlp *net))
FKD_KERNEL(double, feature_match, (const fkd_mlp *net, const fkd_real *params, const fkd_real *reals,
                                   const int64_t *real_starts, const fkd_real *X, const int64_t *starts, int64_t groups,
                                   int all, fkd_real *dX, fkd_real *scratch))

/* Kernel ridge regression with m support rows S (m, d) and dual weights a (m, C) on n target rows. Returns the loss
 * 0.5 mean (k(X, S) a - T)^2, the mean over rows and outputs, and its derivatives da (m, C) and dS (m, d), a held
 * fixed. Where x and s have the same direction, where the tangent kernel has none, its derivative is that at an
 * angle of 1e-6 at least. scratch: ridge_scratch(f, m, d, C). */
FKD_KERNEL(int64_t, ridge_scratch, (const fkd_kernel *f, int64_t m, int64_t d, int64_t C))
FKD_KERNEL(double, ridge, (const fkd_kernel *f, const fkd_real *S, int64_t m, int64_t d, const fkd_real *a, int64_t C,
                           const fkd_real *X, const fkd_real *T, int64_t n, fkd_real *da, fkd_real *dS,
                           fkd_real *scratch))
