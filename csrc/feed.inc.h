/* feed.inc.h: streams of candles: what may come next, rows of features, and what a network says of them. */

#define LATEST_MS (INT64_C(1) << 53)

/* what the next candle will read: of many symbols one after the other it lies in L3 */
static inline void fetch_ahead(const fkd_recipe *r, const fkd_word *s) {
  const fkd_word *ring = s + S_SUMS + 3 * r->n_windows;
  const int64_t depth = r->warmup + 1, slot = s[S_SLOT].i + 1;
  FKD_PREFETCH(ring + (slot == depth ? 0 : slot) * r->width);
  for (int64_t i = 0; i < r->n_horizons; ++i) {
    const int64_t then = slot - r->horizons[i];
    const fkd_word *record = ring + (then < 0 ? then + depth : then) * r->width;
    FKD_PREFETCH(record + R_UNITS);
    FKD_PREFETCH(record + R_CLOSE); /* often on the next line */
  }
}

static int fkd_candle_check(const fkd_feed *f, const fkd_word *s, const fkd_candle *c) {
  fetch_ahead(&f->recipe, s);
  if (!(-LATEST_MS <= c->start_ms && c->start_ms <= LATEST_MS && 0.0 < c->low && c->low <= c->open && c->open <= c->high &&
        c->high <= DBL_MAX && c->low <= c->close && c->close <= c->high && 0.0 <= c->volume && c->volume <= DBL_MAX))
    return FKD_IMPOSSIBLE;
  if (!s[S_COUNT].i) return f->step_ms && (c->start_ms - f->phase_ms) % f->step_ms ? FKD_OFF_GRID : 0;
  const int64_t step = c->start_ms - s[S_START].i;
  if (step <= 0) return FKD_NOT_AFTER;
  if (!f->step_ms || step == f->step_ms) return 0;
  if (step % f->step_ms) return FKD_OFF_GRID;
  return f->on_gap == FKD_RAISE ? FKD_MISSING : FKD_GAP;
}

static int64_t fkd_candle_recent(const fkd_recipe *r, const fkd_word *s, fkd_candle *candles, double *others) {
  const fkd_word *ring = s + S_SUMS + 3 * r->n_windows;
  const int64_t depth = r->warmup + 1, n = s[S_COUNT].i < depth ? s[S_COUNT].i : depth;
  for (int64_t i = 0; i < n; ++i) {
    const fkd_word *record = ring + (s[S_SLOT].i + depth - n + 1 + i) % depth * r->width;
    memcpy(candles + i, record, sizeof *candles);
    memcpy(others + i * r->n_others, record + r->width - r->n_others, (size_t)r->n_others * sizeof *others);
  }
  return n;
}

static inline void scale_row(const double *x, const double *offset, const double *scale, int64_t n, double *y) {
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - offset[i]) / scale[i];
}

static int fkd_candle_push(const fkd_feed *f, fkd_word *s, const fkd_candle *c, const double *others, double *row) {
  const fkd_recipe *r = &f->recipe;
  const int gap = fkd_candle_check(f, s, c);
  if (gap < 0) return gap;
  if (gap && f->on_gap == FKD_RESET) memset(s, 0, (size_t)fkd_candle_state(r) * sizeof *s);
  const int ready = candle_row(r, s, c, others, row);
  if (ready && f->offset) scale_row(row, f->offset, f->scale, r->columns, row);
  return ready | gap;
}

static void fkd_candle_rows(const fkd_feed *f, const int64_t *start_ms, const double *open, const double *high, const double *low,
                            const double *close, const double *volume, const double *others, int64_t n, fkd_word *s, double *X) {
  const fkd_recipe *r = &f->recipe;
  for (int64_t i = 0; n > r->warmup && i < n; ++i) {
    const fkd_candle c = {start_ms[i], open[i], high[i], low[i], close[i], volume[i]};
    double *row = X + (i < r->warmup ? 0 : i - r->warmup) * r->columns;
    if (candle_row(r, s, &c, others + i * r->n_others, row) && f->offset) scale_row(row, f->offset, f->scale, r->columns, row);
  }
}

/* words of `rows` rows of features */
static inline int64_t reader_rows(const fkd_reader *m, int64_t rows) { return (rows * m->net->sizes[0] + 7) / 8 * 8; }

static int64_t fkd_candle_scratch(const fkd_reader *m, int64_t n) {
  const int64_t rows = n < FKD_PREDICT_ROWS ? n : FKD_PREDICT_ROWS;
  return 2 * reader_rows(m, rows) + fkd_predict_scratch_f64(m->net, rows) + fkd_predict_scratch_f32(m->net, rows);
}

static void fkd_candle_read(const fkd_reader *m, const double *X, int64_t n, void *out, void *scratch) {
  const int64_t in = m->net->sizes[0], outputs = m->net->sizes[m->net->layers];
  for (int64_t r = 0; r < n; r += FKD_PREDICT_ROWS) {
    const int64_t rows = n - r < FKD_PREDICT_ROWS ? n - r : FKD_PREDICT_ROWS;
    double *wide = scratch, *work = wide + 2 * reader_rows(m, rows);
    float *narrow = (float *)(void *)(wide + reader_rows(m, rows));
    const double *x = X + r * in;
    if (m->offset)
      for (int64_t i = 0; i < rows; ++i) scale_row(x + i * in, m->offset, m->scale, in, wide + i * in);
    else memcpy(wide, x, (size_t)(rows * in) * sizeof *wide);
    for (int64_t i = 0; m->single && i < rows * in; ++i) narrow[i] = (float)wide[i];
    if (m->single) predict_steady_f32(m->net, m->packed, narrow, rows, m->softmax, (float *)out + r * outputs, (float *)(void *)work);
    else predict_steady_f64(m->net, m->packed, wide, rows, m->softmax, (double *)out + r * outputs, work);
  }
}
