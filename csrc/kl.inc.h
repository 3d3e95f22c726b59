/* kl.inc.h: KL(p || q) of rows of probabilities, in nats, float64 only (float32 rows are widened by the caller,
 * exactly). */
#if FKD_BITS == 64
#define kl_term FN(kl_term)

/* p log(p / q) with q clamped at eps; 0 where p <= eps; near p = q through log1p, so that the small difference keeps
 * its digits */
FKD_INLINE V kl_term(V p, V q, V eps) {
  V c = vmax(q, eps);
  V d = (p - c) / c;
  V near = vlog1p(d, 0);
  V far = vlog(p, 0) - vlog(c, 0); /* the quotient may overflow or lose a denormal q */
  V t = p * vsel(VCMP(vabs(d), <, vset1(0.5)), near, far);
  t = vsel(VCMP(c, ==, vset1(0)), vset1(INFINITY), t);
  return vsel(VCMP(p, >, eps), t, vsel(VCMP(p, <=, eps), vset1(0), p)); /* NaN stays NaN */
}

static void fkd_kl(const double *p, const double *q, int64_t n, int64_t C, double eps, double *out) {
  for (int64_t r = 0; r < n; ++r) {
    const double *a = p + r * C, *b = q + r * C;
    V s[NV];
    for (int u = 0; u < NV; ++u) s[u] = vset1(0);
    for (int64_t c = 0; c < C; c += 16)
      for (int u = 0; u < NV; ++u) {
        int64_t have = C - c - u * VL;
        if (have > 0)
          s[u] = s[u] + kl_term(load_part(a + c + u * VL, have, 0), load_part(b + c + u * VL, have, 1), vset1(eps));
      }
    out[r] = tree_sum(s);
  }
}
#endif
