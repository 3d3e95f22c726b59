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
enum { FKD_FULL = 0, FKD_BFLOAT16 = 1 };                                /* fkd_network.weights */
enum { FKD_ROWWISE = 0, FKD_GLOBAL = 1, FKD_MSE = 2 };                  /* how gradient_match compares gradients */
enum { FKD_OHLCV4 = 0, FKD_REGIME3 = 1, FKD_CONDENSE6 = 2, FKD_RICH = 3 }; /* fkd_recipe.kind */
enum { FKD_RAISE = 0, FKD_RESET = 1, FKD_BRIDGE = 2 };                  /* fkd_feed.on_gap */
enum { FKD_NOT_AFTER = -1, FKD_IMPOSSIBLE = -2, FKD_OFF_GRID = -3, FKD_MISSING = -4, FKD_READY = 1, FKD_GAP = 2 }; /* of candle_push */
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
 * and then those of the head. `weights` FKD_BFLOAT16 (LSTM, float): packed, and so predicted with, W of the LSTM layers is rounded to
 * bfloat16, to nearest with ties to even; biases, head and sums are not. Training does not look at it. */
typedef struct {
  int kind, layers, pooling, weights;
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

/* Features of candles: closed candles of one market in time order, fastkd.features.FeatureSet has the formulas. Everything here is double
 * and carries the same bits. `horizons`, `windows`, `volume_window` <= warmup, volume_window <= warmup + 1; `width` words a candle in the
 * state: 6, or 7 for condense6, or 11 + 2 n_others for rich. ohlcv4: the ratio of volumes is limited to `limit`, and then ln(1 + .) of it. */
typedef struct {
  int64_t start_ms;
  double open, high, low, close, volume;
} fkd_candle;

typedef struct {
  int kind, log1p;
  double limit;
  int64_t columns, warmup, width, volume_window, n_horizons, n_windows, n_others;
  const int64_t *horizons, *windows;
  const double *scales; /* 1 / (2^50 divisor window): one of condense6, (n_windows, 3) of rich */
} fkd_recipe;

typedef union {
  int64_t i;
  double d;
} fkd_word;

/* A stream of candles that are step_ms long and start at phase_ms + k step_ms (step_ms = 0: at any time), and the scaler of its features,
 * (x - offset) / scale (NULL: none). */
typedef struct {
  fkd_recipe recipe;
  int64_t step_ms, phase_ms;
  int on_gap;
  const double *offset, *scale;
} fkd_feed;

/* A network on such features, after a scaler of its own (NULL: none): weights packed for float if `single`, else for double. */
typedef struct {
  const fkd_mlp *net;
  const void *packed;
  int single, softmax;
  const double *offset, *scale;
} fkd_reader;

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
  /* Number of words of a state: all 0 at the start; word 0 counts the candles, word 2 is the start of the last. */
  int64_t (*candle_state)(const fkd_recipe *r);
  /* The candles that rows to come depend on, oldest first, and the others' closes beside them; returns how many, at most warmup + 1. */
  int64_t (*candle_recent)(const fkd_recipe *r, const fkd_word *state, fkd_candle *candles, double *others);
  /* What is wrong with the next candle, as candle_push says it, or FKD_GAP if others are missing before it, or 0. */
  int (*candle_check)(const fkd_feed *f, const fkd_word *state, const fkd_candle *c);
  /* The next candle, and the last closes of the recipe's others (n_others). Returns FKD_READY if row (columns) is complete, else 0, while
   * windows fill; plus FKD_GAP if candles were missing: FKD_RESET has then begun anew, FKD_BRIDGE has stepped over. A candle that is
   * refused (< 0: not after the last, impossible, off the grid, missing ones before it under FKD_RAISE) changes nothing. */
  int (*candle_push)(const fkd_feed *f, fkd_word *state, const fkd_candle *c, const double *others, double *row);
  /* The same for n candles that are known to be good, as columns (others: n rows), gaps stepped over: rows of all but the first
   * recipe.warmup. */
  void (*candle_rows)(const fkd_feed *f, const int64_t *start_ms, const double *open, const double *high, const double *low,
                      const double *close, const double *volume, const double *others, int64_t n, fkd_word *state, double *X);
  /* Outputs or probabilities of n rows of features (n, columns): out (n, outputs) of the network's type; NaN for a row that is not finite
   * in that type. A row's result does not depend on the rows beside it. scratch: candle_scratch(m, n) words. */
  int64_t (*candle_scratch)(const fkd_reader *m, int64_t n);
  void (*candle_read)(const fkd_reader *m, const double *X, int64_t n, void *out, void *scratch);
} fkd_table;

/* The table of that name, the best one for name = NULL, or NULL if the build or the CPU lacks it. */
const fkd_table *fkd_get_table(const char *name);

/* 1 where this processor takes minima of 32-bit integers sooner than those of floats. */
int fkd_integers_first(void);

#endif
