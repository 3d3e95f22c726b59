/* vmath.inc.h: exp, log, log1p, tanh, erfc and arccos on vectors. With fused = 0 each lane carries the same bits on every ISA; fused = 1
 * is faster and may differ in the last bits. Polynomials are interpolations at Chebyshev nodes on the reduced range; their error is below 1e-8 (f32), 2e-17 (f64). */

#undef MADD
#define vexp FN(vexp)
#define vexp_up FN(vexp_up)
#define vexp_few FN(vexp_few)
#define vexp_all FN(vexp_all)
#define vexp2_few FN(vexp2_few)
#define vexp2_all FN(vexp2_all)
#define vinv FN(vinv)
#define vlog_normal FN(vlog_normal)
#define vlog FN(vlog)
#define vlog1p FN(vlog1p)
#define vphi FN(vphi)
#define vtanh FN(vtanh)
#define verfc FN(verfc)
#define vacos FN(vacos)
#define vpoly FN(vpoly)

/* a * b + c, in one rounding if `fused` and the ISA can */
#define MADD(a, b, c) (fused ? vfma(a, b, c) : (a) * (b) + (c))

/* c[0] + c[1] x + ... + c[n] x^n, Horner */
FKD_INLINE V vpoly(V x, const REAL *c, int n, const int fused) {
  V y = vset1(c[n]);
  FKD_UNROLL
  for (int i = n - 1; i >= 0; --i) y = MADD(y, x, vset1(c[i]));
  return y;
}

/* exp(x) * 2^EXP_UP for x <= 65 (f32), 660 (f64). The factor keeps results that would be denormal normal: sums and quotients of such
 * values need no further care, and EXP_DOWN brings one back with a single rounding. 0 far below; NaN stays NaN. */
#undef EXP_UP
#undef EXP_DOWN
#if FKD_BITS == 32
#define EXP_UP 32
#define EXP_DOWN 0x1p-32f
#else
#define EXP_UP 64
#define EXP_DOWN 0x1p-64
#endif
/* n <= 4 vectors in place, step by step side by side: a chain of 20 dependent operations alone leaves the units idle */
FKD_INLINE void vexp_few(V *x, const int n, const int fused) {
#if FKD_BITS == 32
  static const REAL P[] = {0.5f, 0.166665769896987757f, 0.0416665546172045742f, 0.00836317905272257737f, 0.00139261835877134945f};
  enum { N = 4, MANT = 23 };
  const REAL low = -104.0f, magic = 12582912.0f + 127 + EXP_UP, ln2hi = 0.693145751953125f, ln2lo = 1.42860682030941723212e-6f;
#else
  static const REAL P[] = {0.50000000000000010221, 0.16666666666666667453, 0.041666666666624127873, 0.0083333333333300618325,
                           0.0013888888917213716901, 0.00019841269863053616878, 0.000024801521295954375131,
                           2.7557268459997064772e-6, 2.7620088445409748161e-7, 2.5100385495510319078e-8};
  enum { N = 9, MANT = 52 };
  const REAL low = -746.0, magic = 6755399441055744.0 + 1023 + EXP_UP, ln2hi = 6.93147180369123816490e-1, ln2lo = 1.90821492927058770002e-10;
#endif
  V t[4], r[4], y[4];
#define EACH FKD_UNROLL for (int i = 0; i < n; ++i)
  EACH r[i] = vmax(vset1(low), x[i]);
  EACH t[i] = MADD(r[i], vset1((REAL)1.4426950408889634), vset1(magic)); /* its low bits: x / ln 2 rounded, plus bias */
  EACH y[i] = t[i] - vset1(magic);
  EACH r[i] = MADD(y[i], vset1(-ln2hi), r[i]);
  EACH r[i] = MADD(y[i], vset1(-ln2lo), r[i]);
  EACH y[i] = vset1(P[N]);
  FKD_UNROLL
  for (int k = N - 1; k >= 0; --k) EACH y[i] = MADD(y[i], r[i], vset1(P[k]));
  EACH y[i] = MADD(r[i] * r[i], y[i], r[i]);
  EACH y[i] = vset1(1) + y[i];
  EACH x[i] = y[i] * vasreal(vshl(vasint(t[i]), MANT)); /* the shift drops all of magic but the exponent bits */
#undef EACH
}

#if defined(FKD_AVX512) || defined(FKD_NEON)
#define EXP_FEW 4 /* as many as the registers hold */
#else
#define EXP_FEW 2
#endif
FKD_INLINE void vexp_all(V *x, const int n, const int fused) {
  int i = 0;
  for (; i + EXP_FEW <= n; i += EXP_FEW) vexp_few(x + i, EXP_FEW, fused);
  for (; i < n; ++i) vexp_few(x + i, 1, fused);
}

/* 2^(x factor + EXP_UP) for x factor in [VEXP2_LOW, 0], n <= 4 vectors in place: exp(z / T) with log2(e) / T as the one factor. EXP_DOWN
 * makes 0 of what VEXP2_LOW gives, and a little more. */
#undef VEXP2_LOW
#if FKD_BITS == 32
#define VEXP2_LOW -157
#else
#define VEXP2_LOW -1085
#endif
FKD_INLINE void vexp2_few(V *x, V factor, const int n) {
#if FKD_BITS == 32
  static const REAL P[] = {0.693147182465f, 0.240226507187f, 0.0555035695434f, 0.00961808208376f, 0.00133908749558f, 0.000154531735461f};
  enum { N = 5, MANT = 23 };
  const REAL magic = 12582912.0f + EXP_UP;
#else
  static const REAL P[] = {0.693147180559945286227, 0.240226506959100971628, 0.0555041086648215969968, 0.00961812910760687089784,
                           0.00133335581464169268887, 0.000154035304417650875317, 0.0000152527338298515962212, 0.00000132154425702246489945,
                           1.01780624364127647807e-7, 7.07258948839634482131e-9, 4.45496248463321249881e-10};
  enum { N = 10, MANT = 52 };
  const REAL magic = 6755399441055744.0 + EXP_UP;
#endif
  V t[4], y[4];
#define EACH FKD_UNROLL for (int i = 0; i < n; ++i)
  EACH t[i] = vfma(x[i], factor, vset1(magic)); /* its low bits: the exponent rounded, plus EXP_UP */
  EACH x[i] = vfma(x[i], factor, vset1(magic) - t[i]);
  EACH y[i] = vset1(P[N]);
  FKD_UNROLL
  for (int k = N - 1; k >= 0; --k) EACH y[i] = vfma(y[i], x[i], vset1(P[k]));
  EACH y[i] = vfma(y[i], x[i], vset1(1));
  EACH x[i] = vasreal(vasint(y[i]) + vshl(vasint(t[i]), MANT)); /* the shift drops all of magic but what goes to the exponent */
#undef EACH
}
FKD_INLINE void vexp2_all(V *x, V factor, const int n) {
  int i = 0;
  for (; i + EXP_FEW <= n; i += EXP_FEW) vexp2_few(x + i, factor, EXP_FEW);
  for (; i < n; ++i) vexp2_few(x + i, factor, 1);
}

/* 1 / x within an ulp, for normal x whose inverse is normal */
FKD_INLINE V vinv(V x) {
#if defined(FKD_AVX512) && FKD_BITS == 32
  const V r = _mm512_rcp14_ps(x);
  return vfma(r, vfma(-r, x, vset1(1)), r);
#else
  return vset1(1) / x;
#endif
}

FKD_INLINE V vexp_up(V x, const int fused) {
  vexp_few(&x, 1, fused);
  return x;
}

FKD_INLINE V vexp(V x) { return vexp_up(x, 0) * vset1(EXP_DOWN); }

/* log(x 2^-down) of a normal number 0 < x < inf */
FKD_INLINE V vlog_normal(V x, V down, const int fused) {
#if FKD_BITS == 32
  static const REAL R[] = {0.66666666554451646331f, 0.4000012187697200149f, 0.28550816599711548663f, 0.2333058193824189386f};
  enum { N = 3, MANT = 23 };
  const REAL ln2hi = 0.693145751953125f, ln2lo = 1.42860682030941723212e-6f, magic = 12582912.0f, sqrth = 0.70710678118654752f;
#else
  static const REAL R[] = {0.66666666666666666465, 0.40000000000000877606, 0.28571428570803230015, 0.22222222391800469329,
                           0.181817956308847532, 0.15386240205813477879, 0.13268759668560612681, 0.1308676700994817376};
  enum { N = 7, MANT = 52 };
  const REAL ln2hi = 6.93147180369123816490e-1, ln2lo = 1.90821492927058770002e-10, magic = 6755399441055744.0,
             sqrth = 0.70710678118654752440;
#endif
  /* exponent and mantissa relative to sqrt(1/2), so that m is in [sqrt(1/2), sqrt(2)) */
  VI bits = vasint(x) - vasint(vset1(sqrth));
  VI e = bits >> MANT;
  V m = vasreal((bits & visetl(((IREAL)1 << MANT) - 1)) + vasint(vset1(sqrth)));
  V n = vasreal(e + vasint(vset1(magic))) - vset1(magic) - down;
  V f = m - vset1(1);
  V s = fused ? f * vinv(vset1(2) + f) : f / (vset1(2) + f);
  V z = s * s;
  V h = vset1((REAL)0.5) * f * f;
  V p = MADD(z, vpoly(z, R, N, fused), h);
  return MADD(n, vset1(ln2hi), f - (h - MADD(s, p, n * vset1(ln2lo))));
}

/* log(x); log(0) = -inf, log(inf) = inf, NaN for x < 0 and NaN */
FKD_INLINE V vlog(V x, const int fused) {
  const REAL inf = (REAL)INFINITY, tiny = FKD_BITS == 32 ? (REAL)FLT_MIN : (REAL)DBL_MIN;
  const REAL up = FKD_BITS == 32 ? 25 : 54;
  VI small = VCMP(x, <, vset1(tiny));
  V r = vlog_normal(vsel(small, x * vset1(FKD_BITS == 32 ? 0x1p25f : (REAL)0x1p54), x), vsel(small, vset1(up), vset1(0)), fused);
  r = vsel(VCMP(x, ==, vset1(inf)), x, r);
  r = vsel(VCMP(x, >=, vset1(0)), r, vset1((REAL)NAN));
  return vsel(VCMP(x, ==, vset1(0)), vset1(-inf), r);
}

/* log(1 + x), accurate for small x: log(u) plus the rounding error of u = 1 + x */
FKD_INLINE V vlog1p(V x, const int fused) {
  V u = vset1(1) + x;
  V c = (x - (u - vset1(1))) / u;
  return vlog(u, fused) + vsel(VCMP(vabs(x), <, vset1(1)), c, vset1(0));
}

/* exp(-x) - 1 + x >= 0, accurate relative to itself, for |x| <= 1 */
FKD_INLINE V vphi(V x, const int fused) {
#if FKD_BITS == 32
  static const REAL P[] = {0.49999999781421684314f, -0.16666666646842134324f, 0.041666736595237458448f, -0.0083333396759170609124f,
                           0.001388539691180710222f, -0.0001983810196868388931f, 0.000025358512244639757501f,
                           -2.8062802582276946181e-6f};
  enum { N = 7 };
#else
  static const REAL P[] = {0.5, -0.16666666666666666927, 0.041666666666666666811, -0.0083333333333332361869,
                           0.0013888888888888834977, -0.00019841269841374739312, 0.000024801587301645516025,
                           -2.7557319174051554055e-6, 2.7557319196273279318e-7, -2.5052120584522950399e-8,
                           2.0876763758519632485e-9, -1.6057448519013338506e-10, 1.1469860083749003917e-11,
                           -7.7532899090613013106e-13, 4.8383974908301086205e-14};
  enum { N = 14 };
#endif
  return x * x * vpoly(x, P, N, fused);
}

FKD_INLINE V vtanh(V x) {
#if FKD_BITS == 32
  static const REAL P[] = {-0.33333333172140361611f, 0.13333303556915740395f, -0.053959259577204347676f, 0.02176891865102707487f,
                           -0.0083439455158362578537f, 0.0022927448161754570765f};
  enum { N = 5 };
#else
  static const REAL P[] = {-0.33333333333333333319, 0.13333333333333320761, -0.053968253968235901344, 0.021869488535133222007,
                           -0.0088632354998019925673, 0.0035921275075992522056, -0.001455828399830324392,
                           0.00058998181583882213229, -0.00023888944636750770128, 0.000096041091570252524451,
                           -0.000037081069215426053172, 0.000012209921790147650115, -2.4388316314658990141e-6};
  enum { N = 12 };
#endif
  V a = vabs(x), z = x * x;
  V e = vexp(vset1(-2) * a);
  V big = (vset1(1) - e) / (vset1(1) + e);
  big = vsel(VCMP(x, <, vset1(0)), -big, big);
  return vsel(VCMP(a, <, vset1((REAL)0.625)), x + x * z * vpoly(z, P, N, 1), big);
}

/* erfc(x), absolute error of an ulp: exp(-z^2) t Q(t - 1/2) with z = |x|, t = 2 / (2 + z), reflected for x < 0 */
FKD_INLINE V verfc(V x) {
#if FKD_BITS == 32
  static const REAL Q[] = {0.51079135585840296772f, 0.68716061834210936709f, 0.55894317939564144531f, 0.14577453858839494345f,
                           -0.17203494880039570457f, -0.10380969903763906409f, 0.097977781993834355578f, 0.055238147986401822664f,
                           -0.077201458530716266424f, -0.018950984989676875915f, 0.044131122719690372241f};
  enum { N = 10 };
  const REAL far = 12;
#else
  static const REAL Q[] = {
      0.51079135262101149763,  0.68716068441381077713,   0.55894418511209533069,  0.1457689260274211317,   -0.17208529511252243552,
      -0.10366696106981070682, 0.098899585579171177578,  0.053586947051980838067, -0.08487339333325238106, -0.0087990522443936081671,
      0.073968575591275024198, -0.03496927508673223061,  -0.044425380575436953464, 0.066042872785822935087, -0.0093300733617731332635,
      -0.059805934501700461453, 0.066584872321691383137, 0.00045191888247582598157, -0.08104879608676634251, 0.083452871939253314323,
      0.024504218306530878065, -0.11657301998219973134,  0.049753077997381067891, 0.061868412081798644682, -0.048532429696568079808};
  enum { N = 24 };
  const REAL far = 28;
#endif
  V z = vmin(vset1(far), vabs(x));
  V t = vset1(2) / (vset1(2) + z);
  V y = vexp(-z * z) * t * vpoly(t - vset1((REAL)0.5), Q, N, 1);
  return vsel(VCMP(x, <, vset1(0)), vset1(2) - y, y);
}

/* arccos(x) for |x| <= 1: arcsin is y + y^3 P(y^2) up to 1/2; beyond, arccos(x) = 2 arcsin(sqrt((1 - x) / 2)) */
FKD_INLINE V vacos(V x) {
#if FKD_BITS == 32
  static const REAL P[] = {0.1666666634f, 0.07500094543f, 0.04459940153f, 0.03110066274f, 0.01714923836f, 0.0336908472f};
  enum { N = 5 };
#else
  static const REAL P[] = {0.16666666666666666592, 0.07500000000000117751,  0.044642857142551892902, 0.030381944475532339993,
                           0.022372157443507222419, 0.017352816540325494994, 0.013963780012203569641, 0.011566459612121668568,
                           0.0096218429701002810177, 0.0093195607947674462957, 0.0030448799094556773959, 0.019554513336123378949,
                           -0.019241671746743040654, 0.02961201126495512036};
  enum { N = 13 };
#endif
  const REAL pi = (REAL)3.14159265358979323846;
  V a = vabs(x);
  VI near = VCMP(a, <=, vset1((REAL)0.5));
  V z = vsel(near, a * a, vset1((REAL)0.5) - vset1((REAL)0.5) * a);
  V y = vsel(near, a, vsqrt(z));
  y = vfma(y * z, vpoly(z, P, N, 1), y);
  V r = vsel(near, vset1(pi / 2) - y, y + y);
  return vsel(VCMP(x, <, vset1(0)), vset1(pi) - r, r);
}
