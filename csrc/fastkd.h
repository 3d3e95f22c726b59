/* fastkd.h: the C core's contract.
 *
 * Kernels hold no state, allocate nothing, start no thread, print nothing and cannot fail; they may be called from any thread at once.
 * Scratch is the caller's, 64-byte aligned, of the size (in reals) that the matching *_scratch function tells. Unless a comment allows
 * it, outputs must not overlap inputs. Nothing is checked here: sizes are >= 1, pointers valid, options in range; fastkd's Python layer
 * checks. Arrays are C-contiguous, n rows of C classes. `real` is float (table.f32) or double (table.f64).
 *
 * "Same bits": on every ISA and machine the result has the same bits. Where that is not said, ISAs differ by rounding (fused
 * multiply-add is used where there is one): relative 1e-5 for float, 1e-13 for double on sums of well-scaled terms.
 *
 * From C or Cython: fkd_table *t = PyCapsule_Import("fastkd._core._native._C_API", 0); fastkd.get_include() is this file's folder.
 */
#ifndef FASTKD_H
#define FASTKD_H
#include <stdint.h>

#define FKD_ABI 7          /* changes whenever a struct below changes; compare with table->abi */
#define FKD_MAX_LAYERS 16  /* weight matrices in a network */
#define FKD_ROWS 256       /* rows that training keeps in cache at once */
#define FKD_PREDICT_ROWS 64
#define FKD_WINDOWS 64     /* the same for windows of many steps, in training and prediction */

enum { FKD_NO_TEACHER = 0, FKD_LOGITS = 1, FKD_PROBABILITIES = 2 };     /* fkd_distill.teacher */
enum { FKD_IDENTITY = 0, FKD_RELU = 1, FKD_TANH = 2, FKD_GELU = 3 };    /* fkd_mlp.activation; gelu is x Phi(x), exact form */
enum { FKD_CLASSES = 0, FKD_SQUARED = 1, FKD_QUANTILE = 2 };            /* fkd_targets.kind */
enum { FKD_DENSE = 0, FKD_LSTM = 1, FKD_CNN = 2 };                      /* fkd_network.kind */
enum { FKD_LAST = 0, FKD_MEAN = 1, FKD_MAX = 2 };                       /* fkd_network.pooling */
enum { FKD_ROWWISE = 0, FKD_GLOBAL = 1, FKD_MSE = 2 };                  /* how gradient_match compares gradients */
enum { FKD_SGD = 0, FKD_ADAM = 1 };                                     /* fkd_optimizer.kind */

/* How a student is distilled. Row loss:
 *   kd_weight T^2 KL(q_t || q_s) + (1 - kd_weight) CE(target, softmax(z_s)),  q = softmax(z / T), nats, teacher first (Hinton et al. 2015)
 * target = (1 - label_smoothing) onehot + label_smoothing / C. A row with label < 0 has no CE term; without labels no row has one.
 * `teacher` says what the teacher array holds: nothing, logits, or probabilities at T already (rows sum to 1). */
typedef struct {
  double temperature, kd_weight, label_smoothing;
  int teacher;
} fkd_distill;

/* A perceptron: `layers` weight matrices, sizes[0] features ... sizes[layers] outputs, `activation` between layers, none after the last.
 * Parameters, flat: per layer W (n_in, n_out) row by row, then the bias (n_out). */
typedef struct {
  int layers, activation;
  int64_t sizes[FKD_MAX_LAYERS + 1];
} fkd_mlp;

/* A network over windows of `steps` rows of widths[0] features: `layers` >= 1 LSTM layers of widths[l] units, or convolutions of widths[l]
 * channels (`kernel` taps, zeros around the window, ReLU; kernel = 1 for an LSTM), then pooling over time, then `head`, with
 * head.sizes[0] = widths[layers]. FKD_DENSE has layers = 0, steps = kernel = 1: the head alone. Parameters, flat, layer by layer:
 *   LSTM: W (n_in + units + 1, 4 units), rows the inputs, the state, the bias; columns the gates i, f, g, o
 *   CNN:  W (kernel, n_in, channels), then the bias (channels)
 * and then those of the head. */
typedef struct {
  int kind, layers, pooling;
  int64_t steps, kernel, widths[FKD_MAX_LAYERS + 1];
  fkd_mlp head;
} fkd_network;

/* sgd: v = momentum v + g, w -= rate v. adam: Kingma and Ba 2015, epsilon added to the bias-corrected root. */
typedef struct {
  int kind;
  double learning_rate, momentum, beta1, beta2, epsilon;
} fkd_optimizer;

/* Classifiers at the hidden layers 1 .. layers - 1 of a perceptron (layers >= 3); the deepest is the network's own last layer. Row loss:
 *   sum_l weights[l - 1] loss_l + feature_weight sum_shallow 0.5 |adapter_l(a_l) - a_deepest|^2
 * loss_l is CE for teachers and fkd_distill's loss for pupils, whose teacher is the deepest exit's logits (Zhang et al. 2019) or, if
 * shallow_teaches, the mean of the shallow exits' probabilities at T. Teachers and a_deepest count as constants. Parameters, flat: the
 * perceptron's, then per shallow exit W (n_l, C), bias (C) and, if feature_weight > 0, the adapter's W (n_l, n_deepest), bias. */
typedef struct {
  int shallow_teaches;
  double feature_weight;
  double weights[FKD_MAX_LAYERS];
} fkd_exits;

/* k(x, y) of d features. depth 0: exp(-gamma |x - y|^2). depth L >= 1 (<= FKD_MAX_LAYERS): the neural tangent kernel of a network with L hidden
 * layers of ReLUs (Jacot et al. 2018; Cho and Saul 2009), w, b = variances of weights and biases: s = theta = w <x, y> / d + b, q likewise
 * of <x, x> and of <y, y>; then, L times, with c = s / sqrt(q_x q_y), k0 = (pi - arccos c) / 2 pi:
 *   s = w sqrt(q_x q_y) (sqrt(1 - c^2) / 2 pi + k0 c) + b,  theta = s + w k0 theta,  q = w q / 2 + b. */
typedef struct {
  int depth;
  double gamma, weight_variance, bias_variance;
} fkd_kernel;

#define FKD_DECLARE(real, suffix)                                                                                                       \
  /* What a network learns from, row-aligned with X: labels (n) and / or teacher (n, C) for FKD_CLASSES; values (n, outputs) for        \
   * 0.5 |f - y|^2 or the pinball loss at `quantile`; weights (n) or NULL. */                                                          \
  typedef struct {                                                                                                                      \
    int kind;                                                                                                                           \
    fkd_distill how;                                                                                                                    \
    double quantile;                                                                                                                    \
    const int32_t *labels;                                                                                                              \
    const real *teacher, *values, *weights;                                                                                             \
  } fkd_targets##suffix;                                                                                                                \
  typedef struct {                                                                                                                      \
    /* out[r, c] = softmax(x[r] * inv_t), or its log if log_. out may be x. Returns the first row that holds NaN or +inf or nothing but \
     * -inf, else -1. Same bits. */                                                                                                     \
    int64_t (*softmax)(const real *x, int64_t n, int64_t C, double inv_t, int log_, real *out);                                         \
    /* *loss = sum_r weights[r] * row loss; grad[r, c] = scale * weights[r] * d row loss / d student[r, c] (NULL: not wanted; may be    \
     * student). Returns the first bad row as softmax does, else -1. scratch: 5 * (C rounded up to 16) reals if C > 16. */   \
    int64_t (*distill_loss)(const real *student, const real *teacher, const int32_t *labels, const real *weights, int64_t n, int64_t C, \
                            const fkd_distill *how, double scale, double *loss, real *grad, real *scratch);                             \
    int64_t (*mlp_scratch)(const fkd_mlp *net, int64_t rows);                                                                           \
    /* Mean loss over n rows plus 0.5 l2 |W|^2 (weights, not biases); grad (flat) its gradient. scratch: mlp_scratch(net, n). */        \
    double (*mlp_gradient)(const fkd_mlp *net, const real *params, const real *X, const fkd_targets##suffix *t, int64_t n, double l2,   \
                           real *grad, real *scratch);                                                                                  \
    /* One pass over the n rows that `order` lists, in minibatches of `batch`; updates params, moments m and v (v unused by sgd) and    \
     * *step in place. Returns the mean loss, each batch before its update, without l2. scratch: mlp_scratch(net, batch). */            \
    double (*mlp_epoch)(const fkd_mlp *net, const real *X, const fkd_targets##suffix *t, const int64_t *order, int64_t n,               \
                        int64_t batch, double l2, const fkd_optimizer *o, real *params, real *m, real *v, int64_t *step, real *scratch); \
    /* Prediction from weights packed once (packed_size reals, 64-byte aligned): outputs or softmax probabilities (n, outputs).         \
     * A row with a feature that is not finite gives NaN throughout; returns how many. scratch: predict_scratch(net, n). */             \
    int64_t (*packed_size)(const fkd_mlp *net);                                                                                         \
    void (*pack)(const fkd_mlp *net, const real *params, real *packed);                                                                 \
    int64_t (*predict_scratch)(const fkd_mlp *net, int64_t rows);                                                                       \
    int64_t (*predict)(const fkd_mlp *net, const real *packed, const real *X, int64_t n, int softmax, real *out, real *scratch);        \
    /* The same for networks over windows, X (n, steps, features). packed: features enter as (x - shift) * factor; NULL for 0 and 1. */  \
    int64_t (*network_scratch)(const fkd_network *net, int64_t rows);                                                                   \
    double (*network_gradient)(const fkd_network *net, const real *params, const real *X, const fkd_targets##suffix *t, int64_t n,      \
                               double l2, real *grad, real *scratch);                                                                   \
    double (*network_epoch)(const fkd_network *net, const real *X, const fkd_targets##suffix *t, const int64_t *order, int64_t n,       \
                            int64_t batch, double l2, const fkd_optimizer *o, real *params, real *m, real *v, int64_t *step,            \
                            real *scratch);                                                                                             \
    int64_t (*network_packed)(const fkd_network *net);                                                                                  \
    void (*network_pack)(const fkd_network *net, const real *params, const real *shift, const real *factor, real *packed);              \
    int64_t (*network_predict_scratch)(const fkd_network *net, int64_t rows);                                                           \
    int64_t (*network_predict)(const fkd_network *net, const real *packed, const real *X, int64_t n, int softmax, real *out,            \
                               real *scratch);                                                                                          \
    /* LSTM only: one step from `state` (network_state reals, zeros at the start), which it updates; out as for a window that ends here.\
     * Returns 1 and leaves the state alone if a feature is not finite. scratch: network_predict_scratch(net, 1). */                    \
    int64_t (*network_state)(const fkd_network *net);                                                                                   \
    int (*network_push)(const fkd_network *net, const real *packed, real *state, const real *x, int softmax, real *out, real *scratch); \
    /* 1 if all d entries are finite. */                                                                                                \
    int (*finite)(const real *x, int64_t d);                                                                                            \
    /* Robust aggregation; rows[i] points to the d columns of row i, all finite, n <= 65535. Columns c0 .. c1 - 1 of out are set.       \
     * The 2 n_pairs entries of `pairs` are comparators: after (a, b) row a holds the smaller. They must leave every rank that is asked \
     * for in its row: out = mean of ranks lo .. hi - 1, or, for keep > 0, of the keep values nearest to the median (lower first; needs \
     * all ranks). scratch: 64 n reals. Same bits, also for any split of the columns. */                                                \
    void (*order)(const real *const *rows, int64_t n, int64_t c0, int64_t c1, const uint16_t *pairs, int64_t n_pairs, int64_t lo,       \
                  int64_t hi, int64_t keep, real *out, real *scratch);                                                                  \
    /* out[i, j] += |rows[i] - rows[j]|^2 for i < j, out (n, n), for the groups first, first + step ... of 4 rows i each: workers share \
     * groups. Overflow gives inf. Same bits, for any step. */                                                                          \
    void (*sq_distances)(const real *const *rows, int64_t n, int64_t d, int64_t first, int64_t step, double *out);                      \
    /* The same for float in float, each sum within 1e-5 of itself, or less than d 2^-140 off; inf from 1e38 on. Double: sq_distances. */\
    void (*rough_distances)(const real *const *rows, int64_t n, int64_t d, int64_t first, int64_t step, double *out);                   \
    /* out[c] = sum_i weights[i] * rows[i][c], in double, in that order. out may be one of the rows. Same bits. */                      \
    void (*combine)(const real *const *rows, int64_t n, const double *weights, int64_t c0, int64_t c1, real *out);                      \
    /* A perceptron with exits: gradient and epoch as for mlp_*, with labels, weights and `how` of t, which has no teacher of its own. */\
    int64_t (*exits_scratch)(const fkd_mlp *net, const fkd_exits *e, int64_t rows);                                                     \
    double (*exits_gradient)(const fkd_mlp *net, const fkd_exits *e, const real *params, const real *X, const fkd_targets##suffix *t,   \
                             int64_t n, double l2, real *grad, real *scratch);                                                          \
    double (*exits_epoch)(const fkd_mlp *net, const fkd_exits *e, const real *X, const fkd_targets##suffix *t, const int64_t *order,    \
                          int64_t n, int64_t batch, double l2, const fkd_optimizer *o, real *params, real *m, real *v, int64_t *step,   \
                          real *scratch);                                                                                               \
    /* Pearlmutter's R operator (1994). Returns the mean loss L over n rows; wanted or NULL: grad = dL / d params, hv = its derivative     \
     * along v, dX (n, sizes[0]) and dY (n, outputs) = the derivatives of <v, grad> with respect to X and to soft labels or values.     \
     * t: FKD_CLASSES with labels, or soft labels in `teacher`, any numbers y, row loss -sum_c y_c log p_c; or FKD_SQUARED; `how` is not \
     * read. scratch: rop_scratch(net, n). */                                                                                           \
    int64_t (*rop_scratch)(const fkd_mlp *net, int64_t rows);                                                                           \
    double (*rop)(const fkd_mlp *net, const real *params, const real *v, const real *X, const fkd_targets##suffix *t, int64_t n,        \
                  real *grad, real *hv, real *dX, real *dY, real *scratch);                                                             \
    /* Gradient matching (Zhao, Mopuri and Bilen 2021). Rows starts[g] .. starts[g + 1] - 1 are group g; s = the gradient of their mean  \
     * loss, r = reals[g], flat. Returns the sum over groups of their distance, and its derivatives dX, dY (NULL: not wanted). Distance:  \
     * FKD_ROWWISE: sum over all output units o of all layers of 1 - <r_o, s_o> / (|r_o| |s_o| + 1e-6), biases left out; FKD_GLOBAL: the  \
     * same of the whole vectors; FKD_MSE: |r - s|^2. scratch: rop_scratch(net, rows of the largest group). */                          \
    double (*gradient_match)(const fkd_mlp *net, const real *params, const real *reals, const real *X, const fkd_targets##suffix *t,    \
                             const int64_t *starts, int64_t groups, int distance, real *dX, real *dY, real *scratch);                   \
    /* Feature matching (Zhao and Bilen 2023). Rows starts[g] .. starts[g + 1] - 1 of X and real_starts[g] .. of reals are group g. Returns\
     * the sum over groups of |mean features of X's rows - of the real rows|^2, and its derivative dX. Features: activations of the last\
     * hidden layer, of all of them (all), or the outputs where none is hidden. scratch: features_scratch(net). */                      \
    int64_t (*features_scratch)(const fkd_mlp *net);                                                                                    \
    double (*feature_match)(const fkd_mlp *net, const real *params, const real *reals, const int64_t *real_starts, const real *X,       \
                            const int64_t *starts, int64_t groups, int all, real *dX, real *scratch);                                   \
    /* Kernel ridge regression with m support rows S (m, d) and dual weights a (m, C) on n target rows. Returns the loss                \
     * 0.5 mean (k(X, S) a - T)^2, the mean over rows and outputs, and its derivatives da (m, C) and dS (m, d), a held fixed. Where x and s\
     * have the same direction, where the tangent kernel has none, its derivative is that at an angle of 1e-6 at least.                 \
     * scratch: ridge_scratch(f, m, d, C). */                                                                                           \
    int64_t (*ridge_scratch)(const fkd_kernel *f, int64_t m, int64_t d, int64_t C);                                                     \
    double (*ridge)(const fkd_kernel *f, const real *S, int64_t m, int64_t d, const real *a, int64_t C, const real *X, const real *T,   \
                    int64_t n, real *da, real *dS, real *scratch);                                                                      \
  } fkd_kernels##suffix;

FKD_DECLARE(float, _f32)
FKD_DECLARE(double, _f64)

typedef struct {
  int abi;
  const char *isa; /* "avx512", "avx2", "neon", "baseline", "scalar" */
  fkd_kernels_f32 f32;
  fkd_kernels_f64 f64;
  /* out[r] = sum over p > eps of p ln(p / max(q, eps)), nats; inf where q = 0 < p and eps = 0. Same bits. */
  void (*kl)(const double *p, const double *q, int64_t n, int64_t C, double eps, double *out);
} fkd_table;

/* The table of that name, the best one for name = NULL, or NULL if the build or the CPU lacks it. */
const fkd_table *fkd_get_table(const char *name);

#endif
