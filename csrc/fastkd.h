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

#define FKD_ABI 9          /* changes whenever a struct below changes; compare with table->abi */
#define FKD_MAX_LAYERS 16  /* weight matrices in a network */
#define FKD_ROWS 256       /* rows that training keeps in cache at once */
#define FKD_PREDICT_ROWS 64
#define FKD_NEAR 528       /* doubles of scratch a row for near_distances */
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
/* How the columns of n rows are sorted. Runs of 1 .. 32 rows begin at runs[0] = 0, runs[1] ... and are sorted; then come comparators, of
 * which (a, b) = pairs[2 k], pairs[2 k + 1] leaves the smaller in row a. Afterwards the rows are sorted, at least those of the ranks asked
 * for; with `halves` their first (n + 1) / 2 and the rest are, each on its own, which does for ranks lo .. n - lo - 1 if they are no more
 * than two or 2 lo <= n / 2. `integers`: floats are compared as integers, where the ISA can; same bits, sooner where
 * fkd_integers_first() says so. */
typedef struct {
  const uint16_t *runs, *pairs;
  int64_t n_runs, n_pairs;
  int halves, integers;
} fkd_sorter;

/* What a network learns from, row-aligned with X: labels (n) and / or teacher (n, C) for FKD_CLASSES; values (n, outputs)
 * for 0.5 |f - y|^2 or the pinball loss at `quantile`; weights (n) or NULL. */
#define FKD_TARGETS(real, name)                  \
  typedef struct {                               \
    int kind;                                    \
    fkd_distill how;                             \
    double quantile;                             \
    const int32_t *labels;                       \
    const real *teacher, *values, *weights;      \
  } name;
FKD_TARGETS(float, fkd_targets_f32)
FKD_TARGETS(double, fkd_targets_f64)

#define FKD_KERNEL(result, name, arguments) result(*name) arguments;
#define fkd_real float
#define fkd_targets fkd_targets_f32
typedef struct {
#include "fastkd_kernels.h"
} fkd_kernels_f32;
#undef fkd_real
#undef fkd_targets
#define fkd_real double
#define fkd_targets fkd_targets_f64
typedef struct {
#include "fastkd_kernels.h"
} fkd_kernels_f64;
#undef fkd_real
#undef fkd_targets
#undef FKD_KERNEL

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

/* 1 where this processor takes minima of 32-bit integers sooner than those of floats. */
int fkd_integers_first(void);

#endif
