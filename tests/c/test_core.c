/* test_core.c: the laws of the C core, for every instruction set that this machine offers, with and without guard pages. */
#define _GNU_SOURCE
#include <float.h>
#include "check.h"
#include "memory.h"
#include "oracle.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define N(name) CAT(name, SUFFIX)
#define K CAT(fkd_kernels, SUFFIX)
#define TARGETS CAT(fkd_targets, SUFFIX)

#define BITS 32
#define SUFFIX _f32
#define EPS 1.1920929e-7
#define real float
#include "losses.inc.h"
#include "networks.inc.h"
#include "windows.inc.h"
#include "aggregate.inc.h"
#include "condense.inc.h"
#undef BITS
#undef SUFFIX
#undef EPS
#undef real
#include "candles.inc.h"
#define BITS 64
#define SUFFIX _f64
#define EPS DBL_EPSILON
#define real double
#include "losses.inc.h"
#include "networks.inc.h"
#include "windows.inc.h"
#include "aggregate.inc.h"
#include "condense.inc.h"

static void kl_case(const fkd_table *t, const fkd_table *plain, int64_t n, int64_t C, double eps) {
  const size_t size = (size_t)(n * C) * sizeof(double);
  double *p = take(size, 8), *q = take(size, 8), *out = take((size_t)n * 8, 8), *other = take((size_t)n * 8, 8);
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < C; ++c) p[r * C + c] = 2 * bell(), q[r * C + c] = 2 * bell();
    oracle_log_softmax(p + r * C, (int)C, 1, p + r * C);
    oracle_log_softmax(q + r * C, (int)C, 1, q + r * C);
    for (int64_t c = 0; c < C; ++c) p[r * C + c] = exp(p[r * C + c]), q[r * C + c] = exp(q[r * C + c]);
  }
  t->kl(p, q, n, C, eps, out);
  for (int64_t r = 0; r < n; ++r) {
    const double want = oracle_kl(p + r * C, q + r * C, (int)C, eps);
    CHECK(fabs(out[r] - want) <= 1e-13 * (1 + want) && out[r] >= -1e-15 * (double)C, "KL %.17g, not %.17g", out[r], want);
  }
  plain->kl(p, q, n, C, eps, other);
  CHECK(!memcmp(out, other, (size_t)n * 8), "other bits than scalar; n %d C %d", (int)n, (int)C);
  t->kl(p, p, n, C, eps, out);
  for (int64_t r = 0; r < n; ++r) CHECK(out[r] == 0, "KL(p, p) = %g", out[r]);
  q[0] = 0;
  t->kl(p, q, n, C, 0, out);
  CHECK(out[0] == INFINITY, "an excluded class costs %g", out[0]);
  t->kl(q, p, n, C, 0, out);
  CHECK(isfinite(out[0]), "0 ln 0 = 0, but KL = %g", out[0]);
  give_back();
}

int main(void) {
  static const char *const names[] = {"avx512", "avx2", "neon", "baseline", "scalar"};
  static const int64_t sizes[] = {1, 2, 3, 15, 16, 17};
  const fkd_table *plain = fkd_get_table("scalar"), *best = fkd_get_table(NULL);
  int tested = 0;
  CHECK(plain && best && !fkd_get_table("") && !fkd_get_table("avx"), "tables by name");
  for (int i = 0; i < 5; ++i) {
    const fkd_table *t = fkd_get_table(names[i]);
    if (!t) {
      printf("%-8s not offered here\n", names[i]);
      continue;
    }
    context = names[i];
    CHECK(t->abi == FKD_ABI && !strcmp(t->isa, names[i]) && (tested++ || t == best), "table %s", t->isa);
    const long before = n_checks;
    for (guarded = 0; guarded < 2; ++guarded) {
      random_state = 88172645463325252u + (uint64_t)guarded; /* the same data for every instruction set */
      losses_f32(&t->f32, &plain->f32);
      losses_f64(&t->f64, &plain->f64);
      networks_f32(&t->f32);
      networks_f64(&t->f64);
      windows_f32(&t->f32);
      windows_f64(&t->f64);
      aggregation_f32(&t->f32, &plain->f32);
      aggregation_f64(&t->f64, &plain->f64);
      condensation_f32(&t->f32);
      condensation_f64(&t->f64);
      candles(t, plain);
      for (int a = 0; a < 6; ++a)
        for (int b = 0; b < 6; ++b) kl_case(t, plain, sizes[a], sizes[b], b % 2 ? 1e-10 : 0);
    }
    printf("%-8s %ld checks passed\n", names[i], n_checks - before);
  }
  return 0;
}
