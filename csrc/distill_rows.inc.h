/* distill_rows.inc.h: rows of logits through distill.inc.h: VL rows at once if the classes are few, else one by one. */

#define kd_rows FN(kd_rows)
#define kd_block FN(kd_block)
#define kd_args FN(kd_args)
#define kd_get FN(kd_get)
#define kd_put FN(kd_put)
#define kd_load FN(kd_load)
#define kd_endless FN(kd_endless)
#define kd_columns FN(kd_columns)
#define kd_two FN(kd_two)
#define kd_three FN(kd_three)
#define kd_many FN(kd_many)
#define kd_longs FN(kd_longs)
#define kd_long FN(kd_long)
#define kd_fill FN(kd_fill)

/* rows first .. n - 1; labels, weights and grad may be NULL */
typedef struct {
  const REAL *zs, *zt, *weights;
  const int32_t *labels;
  ptrdiff_t stride, tstride, gstride;
  int64_t first, n, C;
  REAL *grad, *scratch;
} kd_args;

/* rows that are not packed, as those of training: not worth a copy in each kernel */
static FKD_NOINLINE void kd_get(const REAL *p, ptrdiff_t stride, int C, V *z) { load_columns(p, stride, C, z); }
static FKD_NOINLINE void kd_put(REAL *p, ptrdiff_t stride, int C, const V *z) { store_columns(p, stride, C, z); }

/* logits, labels and weights of VL rows, from row r on, one row a lane */
FKD_INLINE void kd_load(const kd_args *a, int64_t r, const int C, const int teacher, const int hard, V *memory, kd_row *w) {
  w->nv = C, w->C = C, w->z = memory, w->t = memory + C, w->es = memory + 2 * C, w->et = memory + 3 * C, w->e1 = memory + 4 * C;
  if (a->stride == C) load_columns(a->zs + r * C, C, C, w->z);
  else kd_get(a->zs + r * a->stride, a->stride, C, w->z);
  if (teacher) load_columns(a->zt + r * C, C, C, w->t);
  w->weight = a->weights ? vload(a->weights + r) : vset1(1);
  if (hard) {
    IREAL own[VL];
    for (int l = 0; l < VL; ++l) own[l] = a->labels[r + l];
    memcpy(&w->label, own, sizeof own);
  }
}

/* Finite logits never give inf, however far apart (and T^2 may round to 0): only a student that excludes a class (-inf) may. */
FKD_INLINE void kd_endless(const kd_args *a, int64_t first, int rows, const kd_row *w, V *loss) {
  if (!many(meq(vmax(w->kl, w->ce), vset1((REAL)INFINITY)))) return;
  REAL total[VL], worst[VL];
  vstore(total, *loss), vstore(worst, vmax(w->kl, w->ce));
  for (int l = 0; l < rows; ++l) {
    const REAL *z = a->zs + (first + l) * a->stride;
    int missing = 0;
    for (int64_t c = 0; c < a->C; ++c) missing |= z[c] == -(REAL)INFINITY;
    if (missing && worst[l] == (REAL)INFINITY && (!a->weights || a->weights[first + l] > 0)) total[l] = (REAL)INFINITY;
  }
  *loss = vload(total);
}

/* B * VL rows, teacher, hard and perhaps C are constants */
FKD_INLINE V kd_columns(const int B, const kd_args *a, int64_t r, const int C, const int teacher, const int hard, const kd_params *k, double *acc) {
  V memory[2][5 * FKD_COLUMNS], loss[2];
  kd_row w[2];
  REAL one[VL];
#define KD_LANES(call)                                     \
  {                                                        \
    {                                                      \
      enum { b = 0 };                                      \
      const int64_t at = r;                                \
      call;                                                \
    }                                                      \
    if (B == 2) {                                          \
      enum { b = 1 };                                      \
      const int64_t at = r + VL;                           \
      call;                                                \
    }                                                      \
  }
  KD_LANES(kd_load(a, at, C, teacher, hard, memory[b], &w[b]))
  const V bad = kd_core(B, 0, teacher, hard, k, &w[0], &w[1], loss);
  KD_LANES(kd_endless(a, at, VL, &w[b], &loss[b]))
  if (a->grad && a->gstride == C) KD_LANES(store_columns(a->grad + at * C, C, C, w[b].z))
  else if (a->grad) KD_LANES(kd_put(a->grad + at * a->gstride, a->gstride, C, w[b].z))
  for (int b = 0; b < B; ++b) {
    vstore(one, loss[b]);
    for (int l = 0; l < VL; ++l) acc[(r + b * VL) % 16 + l] += one[l];
  }
  return bad;
}

/* row r of many classes, in scratch of 5 * round_up(C, 16) reals */
FKD_INLINE V kd_long(const kd_args *a, int64_t r, const int teacher, const int hard, const kd_params *k, double *acc) {
  const REAL ninf = -(REAL)INFINITY, fill = teacher == FKD_LOGITS ? ninf : 0;
  const int64_t C = a->C, nv = (C + 15) / 16 * NV;
  V *const z = (V *)a->scratch, loss;
  kd_row w = {.z = z, .t = z + nv, .es = z + 2 * nv, .et = z + 3 * nv, .e1 = z + 4 * nv, .nv = (int)nv, .C = C};
  const REAL *zs = a->zs + r * a->stride, *zt = teacher ? a->zt + r * a->tstride : zs;
  for (int64_t i = 0; i < nv; ++i) {
    z[i] = i * VL < C ? load_part(zs + i * VL, C - i * VL, ninf) : vset1(ninf);
    if (teacher) w.t[i] = i * VL < C ? load_part(zt + i * VL, C - i * VL, fill) : vset1(fill);
  }
  w.weight = vset1(a->weights ? a->weights[r] : 1), w.label = visetl(hard ? a->labels[r] : -1);
  const V bad = kd_core(1, 1, teacher, hard, k, &w, &w, &loss);
  kd_endless(a, r, 1, &w, &loss);
  if (a->grad)
    for (int64_t i = 0; i * VL < C; ++i) store_part(a->grad + r * a->gstride + i * VL, C - i * VL, z[i]);
  REAL one[VL];
  vstore(one, loss);
  acc[r % 16] += one[0];
  return bad;
}

/* a.n rows, for few classes a multiple of VL; returns from which row on B * VL rows were too few */
FKD_INLINE int64_t kd_block(const int B, const kd_args *a, const int C, const int teacher, const int hard, const kd_params *k, double *acc, V *bad) {
  int64_t r = a->first;
  if (C > FKD_COLUMNS)
    for (; r < a->n; ++r) *bad = *bad + kd_long(a, r, teacher, hard, k, acc);
  else
    for (; r + B * VL <= a->n; r += B * VL) *bad = *bad + kd_columns(B, a, r, C, teacher, hard, k, acc);
  return r;
}

/* one copy for each of these, in which the options are constants; of few classes the commonest, the others stay with kd_many */
#undef KD_KIND
#define KD_KIND(B, CC, T, H) return kd_block(B, a, CC, T, H, k, acc, bad)
static int64_t kd_two(const kd_args *a, int teacher, int hard, const kd_params *k, double *acc, V *bad) {
  if (!teacher) KD_KIND(2, 2, 0, 1);
  if (teacher == FKD_LOGITS && hard) KD_KIND(2, 2, FKD_LOGITS, 1);
  return 0;
}
static int64_t kd_three(const kd_args *a, int teacher, int hard, const kd_params *k, double *acc, V *bad) {
  if (!teacher) KD_KIND(2, 3, 0, 1);
  if (teacher == FKD_LOGITS && hard) KD_KIND(2, 3, FKD_LOGITS, 1);
  if (teacher == FKD_LOGITS) KD_KIND(2, 3, FKD_LOGITS, 0);
  return 0;
}
#define KD_KINDS(CC)                                                   \
  if (!teacher) KD_KIND(1, CC, 0, 1);                                  \
  if (teacher == FKD_LOGITS && hard) KD_KIND(1, CC, FKD_LOGITS, 1);    \
  if (teacher == FKD_LOGITS) KD_KIND(1, CC, FKD_LOGITS, 0);            \
  if (hard) KD_KIND(1, CC, FKD_PROBABILITIES, 1);                      \
  KD_KIND(1, CC, FKD_PROBABILITIES, 0)
static int64_t kd_many(const kd_args *a, int teacher, int hard, const kd_params *k, double *acc, V *bad) { KD_KINDS((int)a->C); }
static int64_t kd_longs(const kd_args *a, int teacher, int hard, const kd_params *k, double *acc, V *bad) { KD_KINDS(FKD_COLUMNS + 1); }
#undef KD_KINDS

static void kd_fill(const fkd_distill *how, int hard, int64_t n, int64_t C, double scale, kd_params *k) {
  const double most = FKD_BITS == 32 ? FLT_MAX : DBL_MAX, least = FKD_BITS == 32 ? FLT_MIN : DBL_MIN; /* 0 * inf is no logit */
  const double soft = how->teacher ? how->kd_weight : 0, T = soft > 0 ? how->temperature : 1, eps = how->label_smoothing;
  const double rest = hard ? 1 - how->kd_weight : 0, e = 1.4426950408889634;
#define KD_RANGE(x) vset1((REAL)((x) > most ? most : (x) < least ? least : (x)))
  k->inv_t = KD_RANGE(1 / T), k->log2_t = KD_RANGE(e / T);
  const double low = VEXP2_LOW * T / e;
  k->low_t = vset1((REAL)(low < -most ? -most : low)), k->low = vset1((REAL)(VEXP2_LOW / e));
#undef KD_RANGE
  k->most = vset1((REAL)(FKD_BITS == 32 ? FLT_MAX : DBL_MAX / (double)n * (1 - 0x1p-50)));
  k->kl_weight = vset1((REAL)(soft * T * T < most ? soft * T * T : most)), k->ce_weight = vset1((REAL)rest);
  k->soft = vset1((REAL)(scale * soft * T)), k->hard = vset1((REAL)(scale * rest));
  k->on = vset1((REAL)(1 - eps + eps / (double)C)), k->off = vset1((REAL)(eps / (double)C));
  k->smooth = eps > 0;
  k->power = T == 1 || T == 2 || T == 3 || T == 4 ? (int)T : 0; /* the smallest power is a normal number: */
  k->least = vset1(k->power < 2 ? 0 : (REAL)(exp2((FKD_BITS == 32 ? -158 : -1086) / T) * (1 / EXP_DOWN)));
}

/* *loss = the sum of weighted losses of n rows; grad as fkd_distill_loss. Returns whether a row has no softmax. */
static int kd_rows(const REAL *zs, ptrdiff_t stride, const REAL *zt, ptrdiff_t tstride, const int32_t *labels, const REAL *weights, int64_t n,
                   int64_t C, const fkd_distill *how, double scale, double *loss, REAL *grad, ptrdiff_t gstride, REAL *scratch) {
  const int teacher = how->kd_weight > 0 ? how->teacher : 0, hard = labels && (how->kd_weight < 1 || !how->teacher);
  double acc[16] = {0}; /* 16 sums: the order of summation does not depend on VL */
  kd_params k;
  kd_args a = {zs, zt, weights, labels, stride, tstride, gstride, 0, n, C, grad, scratch};
  V bad = vset1(0);
  *loss = 0;
  if (!teacher && !hard) { /* nothing to learn */
    for (int64_t r = 0; grad && r < n; ++r) memset(grad + r * gstride, 0, (size_t)C * sizeof(REAL));
    return 0;
  }
  kd_fill(how, hard, n, C, scale, &k);
  const int rest = C > FKD_COLUMNS ? 0 : (int)(n % VL), c = (int)C;
  a.n = n - rest;
  if (C == 2) a.first = kd_two(&a, teacher, hard, &k, acc, &bad);
  if (C == 3) a.first = kd_three(&a, teacher, hard, &k, acc, &bad);
  if (C > FKD_COLUMNS) kd_longs(&a, teacher, hard, &k, acc, &bad);
  else kd_many(&a, teacher, hard, &k, acc, &bad);
  if (rest) { /* the last rows, filled up with rows of weight 0 */
    REAL z[FKD_COLUMNS * VL] = {0}, t[FKD_COLUMNS * VL], w[VL] = {0};
    int32_t own[VL] = {0};
    for (int i = 0; i < c * VL; ++i) t[i] = 1; /* as probabilities, too, they have a sum */
    const int64_t at = a.n;
    for (int i = 0; i < rest; ++i) {
      memcpy(z + i * c, zs + (at + i) * stride, (size_t)c * sizeof(REAL));
      if (teacher) memcpy(t + i * c, zt + (at + i) * tstride, (size_t)c * sizeof(REAL));
      w[i] = weights ? weights[at + i] : 1;
      own[i] = labels ? labels[at + i] : -1;
    }
    const kd_args last = {z, t, w, own, c, c, c, 0, VL, C, grad ? z : grad, scratch};
    kd_many(&last, teacher, hard, &k, acc + at % 16, &bad);
    if (grad)
      for (int i = 0; i < rest; ++i) memcpy(grad + (at + i) * gstride, z + i * c, (size_t)c * sizeof(REAL));
  }
  for (int s = 8; s; s >>= 1)
    for (int i = 0; i < s; ++i) acc[i] += acc[i + s];
  *loss = acc[0];
  return vany(VCMP(bad, !=, bad));
}

static int64_t FN(fkd_distill_loss)(const REAL *student, const REAL *teacher, const int32_t *labels, const REAL *weights, int64_t n, int64_t C,
                                    const fkd_distill *how, double scale, double *loss, REAL *grad, REAL *scratch) {
  if (!kd_rows(student, C, teacher, C, labels, weights, n, C, how, scale, loss, grad, C, scratch)) return -1;
  const int64_t bad = bad_row(student, C, 0, n, C);
  const int64_t other = teacher && how->teacher == FKD_LOGITS ? bad_row(teacher, C, 0, n, C) : -1;
  return bad < 0 ? other : other < 0 ? bad : bad < other ? bad : other;
}
