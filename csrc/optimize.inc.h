/* optimize.inc.h: one step of an optimizer over padded parameters. */

#define sgd_step FN(sgd_step)
#define adam_step FN(adam_step)

/* Moments of idle units decay towards denormals, each of which costs a hundred cycles: near the end of the range they
 * become 0. */
#define settle FN(settle)
FKD_INLINE V settle(V x) { return vsel(VCMP(vabs(x), <, vset1((REAL)(FKD_BITS == 32 ? 1e-35 : 1e-300))), vset1(0), x); }

static void sgd_step(REAL *w, const REAL *g, REAL *v, int64_t n, double rate, double momentum) {
  const V mu = vset1((REAL)momentum), lr = vset1((REAL)-rate);
  for (int64_t i = 0; i < n; i += VL) {
    V u = settle(vfma(mu, vload(v + i), vload(g + i)));
    vstore(v + i, u);
    vstore(w + i, vfma(lr, u, vload(w + i)));
  }
}

/* Kingma and Ba 2015; epsilon added after the bias correction */
static void adam_step(REAL *w, const REAL *g, REAL *m, REAL *v, int64_t n, const fkd_optimizer *o, int64_t step) {
  const double c1 = 1 - pow(o->beta1, (double)step), c2 = 1 - pow(o->beta2, (double)step);
  const V b1 = vset1((REAL)o->beta1), b2 = vset1((REAL)o->beta2), a1 = vset1((REAL)(1 - o->beta1)),
          a2 = vset1((REAL)(1 - o->beta2));
  const V rate = vset1((REAL)(-o->learning_rate / c1)), root = vset1((REAL)(1 / sqrt(c2))),
          eps = vset1((REAL)o->epsilon);
  for (int64_t i = 0; i < n; i += VL) {
    V x = vload(g + i);
    V p = settle(vfma(b1, vload(m + i), a1 * x)), q = settle(vfma(b2, vload(v + i), a2 * x * x));
    vstore(m + i, p);
    vstore(v + i, q);
    vstore(w + i, vload(w + i) + rate * p / (vsqrt(q) * root + eps));
  }
}
