/* candles.inc.h: features of candles, one candle at a time; a table is a loop over it, so both carry the same bits.
 *
 * Doubles only; no fused multiply-add and no libm, so the bits are the same on every ISA and machine (and in plain C99 without contraction).
 * Sums over windows are exact: squares of log ratios are counted in units of 2^-50, log volumes in units of 2^-20. What is added or taken
 * away later so leaves no trace, and a row depends on the last warmup + 1 candles alone. Volumes are added anew, from the oldest on. */

/* state: candles taken, place and start of the last, its logarithms, sums of log volumes and of their squares, and of squared returns
 * (condense6); then sums of squares [n_windows][3]; then a ring of warmup + 1 records of `width` words: a candle and what was made of it */
enum { S_COUNT, S_SLOT, S_START, S_HIGH, S_LOW, S_CLOSE, S_VOLUME, S_VOLUMES, S_SQUARES, S_MOVES, S_SUMS };
enum { R_VOLUME = 5, R_UNITS = 6 /* [3] */, R_LOG_VOLUME = 9, R_CLOSE = 10 /* [1 + n_others] logs, then the closes of the others */ };

#define DAY_MS INT64_C(86400000)
#define SQUARE_UNITS 0x1p50
#define VOLUME_UNITS 0x1p20
#define MAX_SQUARE 4.0
#define MAX_LOG_VOLUME 64.0
#define LN2 0.69314718055994530942

static int64_t fkd_candle_state(const fkd_recipe *r) { return S_SUMS + 3 * r->n_windows + (r->warmup + 1) * r->width; }

static inline int64_t in_units(double x, double most, double units) { return (int64_t)((x < most ? x : most) * units); }

/* natural logarithms of n numbers in place, n <= 8; x has 8, the ones beyond n any positive number */
static inline void few_logs(double *x, int n) {
  for (int i = 0; i < n; i += VL) vstore(x + i, vlog(vload(x + i), 0));
}

/* the same of five; built in registers: numbers just stored one by one cannot be loaded as a vector until all stores before are done */
static inline void five_logs(double a, double b, double c, double d, double e, double *x) {
#if VL == 8
  vstore(x, vlog((V){a, b, c, d, e, 1, 1, 1}, 0));
#elif VL == 4
  vstore(x, vlog((V){a, b, c, d}, 0));
  vstore(x + 4, vlog((V){e, 1, 1, 1}, 0));
#elif VL == 2
  vstore(x, vlog((V){a, b}, 0));
  vstore(x + 2, vlog((V){c, d}, 0));
  vstore(x + 4, vlog((V){e, 1}, 0));
#else
  x[0] = vlog(a, 0), x[1] = vlog(b, 0), x[2] = vlog(c, 0), x[3] = vlog(d, 0), x[4] = vlog(e, 0);
#endif
}

/* sine and cosine of the time of day as an angle, reduced exactly to 1/8 of a turn; the polynomials are those of fdlibm */
static inline void time_of_day(int64_t start_ms, double *out) {
  static const double S[] = {-1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
                             2.75573137070700676789e-06,  -2.50507602534068634195e-08, 1.58969099521155010221e-10};
  static const double C[] = {4.16666666666666019037e-02,  -1.38888888888741095749e-03, 2.48015872894767294178e-05,
                             -2.75573143513906633035e-07, 2.08757232129817482790e-09,  -1.13596475577881948265e-11};
  int64_t ms = start_ms % DAY_MS;
  ms += ms < 0 ? DAY_MS : 0;
  const int64_t quarter = (ms + DAY_MS / 8) / (DAY_MS / 4);
  const double x = (double)(ms - quarter * (DAY_MS / 4)) * (6.28318530717958647692 / 86400000.0), z = x * x, half = 0.5 * z, w = 1.0 - half;
  double s = S[5], c = C[5];
  for (int i = 4; i >= 0; --i) s = s * z + S[i], c = c * z + C[i];
  s = x + x * z * s;
  c = w + (((1.0 - w) - half) + z * (z * c));
  out[0] = quarter & 1 ? c : s;
  out[1] = quarter & 1 ? s : c;
  if (quarter & 2) out[0] = 0.0 - out[0]; /* not -: noon is 0, not -0 */
  if ((quarter + 1) & 2) out[1] = 0.0 - out[1];
}

/* volume of the candle at `slot` against the mean of the last `window` */
static inline double share_of_mean(const fkd_recipe *r, const fkd_word *ring, int64_t slot) {
  const int64_t depth = r->warmup + 1, first = slot + 1 - r->volume_window;
  double total = 0.0;
  for (int64_t i = first < 0 ? first + depth : depth; i < depth; ++i) total += ring[i * r->width + R_VOLUME].d;
  for (int64_t i = first < 0 ? 0 : first; i <= slot; ++i) total += ring[i * r->width + R_VOLUME].d;
  return total > 0.0 ? ring[slot * r->width + R_VOLUME].d / total * (double)r->volume_window : 1.0;
}

static inline void ohlcv4_row(const fkd_recipe *r, double volume_before, const fkd_candle *c, double *row) {
  const double body = c->close - c->open, size = c->high - c->low, top = c->close > c->open ? c->close : c->open;
  double ratio = volume_before > 0.0 ? c->volume / volume_before : c->volume > 0.0 ? 10.0 : 1.0;
  ratio = ratio < r->limit ? ratio : r->limit;
  if (r->log1p) {
    const double u = 1.0 + ratio;
    double x[8] = {u, 1, 1, 1, 1, 1, 1, 1};
    few_logs(x, 1);
    ratio = x[0] + (ratio < 1.0 ? (ratio - (u - 1.0)) / u : 0.0);
  }
  row[0] = body / c->open;
  row[1] = size > 0.0 ? fabs(body) / size : 0.0;
  row[2] = size > 0.0 ? (c->high - top) / size : 0.0;
  row[3] = ratio;
}

static inline void condense6_row(const fkd_recipe *r, fkd_word *s, fkd_word *ring, int64_t slot, const fkd_candle *c, double *row) {
  const int64_t window = r->volume_window, oldest = slot >= window ? slot - window : slot - window + r->warmup + 1;
  double x[8];
  five_logs(c->high, c->low, c->close, 1, 1, x);
  const double change = x[2] - s[S_CLOSE].d;
  fkd_word *record = ring + slot * r->width;
  record[R_UNITS].i = in_units(change * change, MAX_SQUARE, SQUARE_UNITS);
  s[S_MOVES].i += record[R_UNITS].i - ring[oldest * r->width + R_UNITS].i;
  row[0] = change;
  row[1] = x[0] - s[S_HIGH].d;
  row[2] = x[1] - s[S_LOW].d;
  row[3] = sqrt((double)s[S_MOVES].i * r->scales[0]);
  row[4] = share_of_mean(r, ring, slot);
  row[5] = x[0] - x[1];
  s[S_HIGH].d = x[0], s[S_LOW].d = x[1], s[S_CLOSE].d = x[2];
}

/* returns over all horizons of the logs that are word `at` of the records */
static inline double *log_returns(const fkd_recipe *r, const fkd_word *ring, int64_t slot, int64_t at, double *out) {
  const double now = ring[slot * r->width + at].d;
  for (int64_t i = 0; i < r->n_horizons; ++i) {
    const int64_t then = slot - r->horizons[i];
    out[i] = now - ring[(then < 0 ? then + r->warmup + 1 : then) * r->width + at].d;
  }
  return out + r->n_horizons;
}

static inline void rich_row(const fkd_recipe *r, fkd_word *s, fkd_word *ring, int64_t slot, int64_t volume_gone, const fkd_candle *c,
                            const double *others, double *row) {
  const int64_t depth = r->warmup + 1;
  fkd_word *record = ring + slot * r->width;
  const double u = 1.0 + c->volume;
  double x[8];
  five_logs(c->open, c->high, c->low, c->close, u, x);
  const double change = x[3] - s[S_CLOSE].d, span = x[1] - x[2], body = x[3] - x[0], square = span * span;
  s[S_CLOSE].d = record[R_CLOSE].d = x[3];
  row = log_returns(r, ring, slot, R_CLOSE, row);

  const double size = c->high - c->low;
  const double top = c->close > c->open ? c->close : c->open, bottom = c->close > c->open ? c->open : c->close;
  row[0] = size > 0.0 ? (c->close - c->open) / size : 0.0;
  row[1] = size > 0.0 ? (c->high - top) / size : 0.0;
  row[2] = size > 0.0 ? (bottom - c->low) / size : 0.0;
  row += 3;

  record[R_UNITS].i = in_units(change * change, MAX_SQUARE, SQUARE_UNITS);
  record[R_UNITS + 1].i = in_units(square, MAX_SQUARE, SQUARE_UNITS);
  record[R_UNITS + 2].i = in_units(0.5 * square - (2.0 * LN2 - 1.0) * (body * body), MAX_SQUARE, SQUARE_UNITS);
  for (int64_t i = 0; i < r->n_windows; ++i, row += 3) {
    const int64_t window = r->windows[i], oldest = slot - window < 0 ? slot - window + depth : slot - window;
    fkd_word *sums = s + S_SUMS + 3 * i;
    for (int k = 0; k < 3; ++k) {
      sums[k].i += record[R_UNITS + k].i - ring[oldest * r->width + R_UNITS + k].i;
      row[k] = sqrt((double)sums[k].i * r->scales[3 * i + k]);
    }
  }

  const double log_volume = x[4] + (c->volume < 1.0 ? (c->volume - (u - 1.0)) / u : 0.0), window = (double)r->volume_window;
  const int64_t units = in_units(log_volume, MAX_LOG_VOLUME, VOLUME_UNITS);
  s[S_VOLUMES].i += units - volume_gone;
  s[S_SQUARES].i += units * units - volume_gone * volume_gone;
  const double mean = (double)s[S_VOLUMES].i / window, variance = (double)s[S_SQUARES].i / window - mean * mean;
  row[0] = log_volume - s[S_VOLUME].d;
  row[1] = variance > 1.0 ? ((double)units - mean) / sqrt(variance) : 0.0;
  time_of_day(c->start_ms, row + 2);
  row += 4;
  s[S_VOLUME].d = log_volume;
  record[R_LOG_VOLUME].i = units;

  for (int64_t k = 0; k < r->n_others; k += 8) {
    const int n = (int)(r->n_others - k < 8 ? r->n_others - k : 8);
    double y[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    memcpy(y, others + k, (size_t)n * sizeof *y);
    few_logs(y, n);
    for (int i = 0; i < n; ++i) {
      record[R_CLOSE + 1 + k + i].d = y[i];
      record[R_CLOSE + 1 + r->n_others + k + i].d = others[k + i];
      row = log_returns(r, ring, slot, R_CLOSE + 1 + k + i, row);
    }
  }
}

/* the next candle, known to be good; 1 if its row is complete */
static int candle_row(const fkd_recipe *r, fkd_word *s, const fkd_candle *c, const double *others, double *row) {
  fkd_word *ring = s + S_SUMS + 3 * r->n_windows;
  const int64_t depth = r->warmup + 1, before = s[S_SLOT].i, slot = before + 1 == depth ? 0 : before + 1;
  const double volume_before = ring[before * r->width + R_VOLUME].d;
  const int64_t gone = slot + depth - r->volume_window;
  const int64_t volume_gone = r->kind == FKD_RICH ? ring[(gone >= depth ? gone - depth : gone) * r->width + R_LOG_VOLUME].i : 0;
  memcpy(ring + slot * r->width, c, sizeof *c);
  s[S_SLOT].i = slot;
  s[S_START].i = c->start_ms;
  if (r->kind == FKD_OHLCV4) ohlcv4_row(r, volume_before, c, row);
  if (r->kind == FKD_CONDENSE6) condense6_row(r, s, ring, slot, c, row);
  if (r->kind == FKD_RICH) rich_row(r, s, ring, slot, volume_gone, c, others, row);
  if (r->kind == FKD_REGIME3) {
    row[0] = (c->close - c->open) / c->open;
    row[1] = (c->high - c->low) / c->open;
    row[2] = share_of_mean(r, ring, slot);
  }
  return ++s[S_COUNT].i > r->warmup;
}

