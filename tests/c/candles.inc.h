/* candles.inc.h: laws of features of candles: one by one as a table, from any beginning, on exact buffers, the bits of the scalar table; the
 * reader: a row's answer does not depend on the rows beside it. */

static fkd_candle next_candle(int64_t start_ms, double *price) {
  const double open = *price, close = open * exp(0.01 * bell()), up = 1 + 0.01 * uniform(), down = 1 - 0.01 * uniform();
  const double volume = uniform() < 0.2 ? 0 : exp(10 * bell());
  *price = close;
  return (fkd_candle){start_ms, open, fmax(open, close) * up, fmin(open, close) * down, close, volume};
}

static fkd_recipe recipe(int kind, int64_t window, int64_t others) {
  int64_t *lengths = take(4 * sizeof *lengths, 8);
  double *scales = take(6 * sizeof *scales, 8);
  fkd_recipe r = {.kind = kind, .limit = 10, .log1p = window == 1, .columns = 4, .warmup = 1, .width = 6, .volume_window = 1};
  lengths[0] = 1, lengths[1] = window + 2, lengths[2] = window, lengths[3] = 2;
  for (int i = 0; i < 6; ++i) scales[i] = 0x1p-50 / (double)(i / 3 ? 2 : window);
  r.scales = scales, r.horizons = lengths, r.windows = lengths + 2;
  if (kind == FKD_REGIME3) r.columns = 3, r.warmup = window - 1, r.volume_window = window;
  if (kind == FKD_CONDENSE6) r.columns = 6, r.warmup = window, r.volume_window = window, r.width = 7;
  if (kind == FKD_RICH) {
    r.n_horizons = r.n_windows = 2, r.n_others = others, r.warmup = window + 2, r.volume_window = window + 3, r.width = 11 + 2 * others;
    r.columns = 2 * (1 + others) + 3 + 6 + 4;
  }
  return r;
}

static void candle_case(const fkd_table *t, const fkd_table *plain, int kind, int64_t window, int64_t others, int64_t n) {
  const fkd_recipe r = recipe(kind, window, others);
  const size_t d = (size_t)r.columns, rows = (size_t)(n > r.warmup ? n - r.warmup : 0), words = (size_t)t->candle_state(&r);
  double *offset = take(d * 8, 8), *scale = take(d * 8, 8), price = exp(3 * bell());
  for (size_t i = 0; i < d; ++i) offset[i] = bell(), scale[i] = 0.5 + uniform();
  fkd_feed feed = {r, 60000, 0, FKD_RAISE, offset, scale};
  fkd_candle *candles = take((size_t)n * sizeof *candles, 8), *recent = take((size_t)(r.warmup + 1) * sizeof *recent, 8);
  int64_t *start = take((size_t)n * 8, 8);
  double *columns[5], *closes = take((size_t)(n * others) * 8, 8), *kept = take((size_t)((r.warmup + 1) * others) * 8, 8);
  for (int k = 0; k < 5; ++k) columns[k] = take((size_t)n * 8, 8);
  for (int64_t i = 0; i < n; ++i) {
    candles[i] = next_candle(60000 * (i - 1000), &price);
    start[i] = candles[i].start_ms;
    const double five[] = {candles[i].open, candles[i].high, candles[i].low, candles[i].close, candles[i].volume};
    for (int k = 0; k < 5; ++k) columns[k][i] = five[k];
    for (int64_t k = 0; k < others; ++k) closes[i * others + k] = exp(bell());
  }
  fkd_word *state = take(words * 8, 8), *twin = take(words * 8, 8);
  double *X = take(rows * d * 8, 8), *Y = take(rows * d * 8, 8), *row = take(d * 8, 8);
  memset(state, 0, words * 8);
  t->candle_rows(&feed, start, columns[0], columns[1], columns[2], columns[3], columns[4], closes, n, state, X);
  memset(state, 0, words * 8);
  plain->candle_rows(&feed, start, columns[0], columns[1], columns[2], columns[3], columns[4], closes, n, state, Y);
  CHECK(!memcmp(X, Y, rows * d * 8), "other bits than scalar; recipe %d, window %d, %d candles", kind, (int)window, (int)n);
  memset(state, 0, words * 8);
  for (int64_t i = 0; i < n; ++i) {
    const int code = t->candle_push(&feed, state, candles + i, closes + i * others, row);
    CHECK(code == (i >= r.warmup ? FKD_READY : 0), "code %d at candle %d", code, (int)i);
    CHECK(i < r.warmup || !memcmp(row, X + (size_t)(i - r.warmup) * d, d * 8), "streamed row %d differs; recipe %d", (int)i, kind);
    for (size_t k = 0; code && k < d; ++k) CHECK(isfinite(row[k]), "column %d is %g", (int)k, row[k]);
  }
  if (n) {
    /* what is kept gives the next row from nothing */
    const int64_t have = t->candle_recent(&r, state, recent, kept);
    CHECK(have == (n < r.warmup + 1 ? n : r.warmup + 1) && recent[have - 1].start_ms == start[n - 1], "%d candles kept", (int)have);
    memset(twin, 0, words * 8);
    for (int64_t i = 0; i < have; ++i) t->candle_push(&feed, twin, recent + i, kept + i * others, row);
    CHECK(!rows || !memcmp(row, X + (rows - 1) * d, d * 8), "the row from what is kept differs; recipe %d", kind);
    /* what is refused changes nothing; a gap begins anew, or is stepped over */
    memcpy(twin, state, words * 8);
    double *last = take((size_t)others * 8, 8);
    for (int64_t k = 0; k < others; ++k) last[k] = 1;
    fkd_candle next = next_candle(start[n - 1] + 60000, &price), bad = next;
    bad.low = NAN;
    CHECK(t->candle_push(&feed, state, &bad, last, row) == FKD_IMPOSSIBLE, "NaN");
    bad = next, bad.high = INFINITY;
    CHECK(t->candle_push(&feed, state, &bad, last, row) == FKD_IMPOSSIBLE, "infinity");
    CHECK(t->candle_push(&feed, state, candles + n - 1, last, row) == FKD_NOT_AFTER, "the last candle again");
    bad = next, bad.start_ms += 1;
    CHECK(t->candle_push(&feed, state, &bad, last, row) == FKD_OFF_GRID, "off the grid");
    bad.start_ms = next.start_ms + 60000;
    CHECK(t->candle_push(&feed, state, &bad, last, row) == FKD_MISSING, "one is missing");
    CHECK(!memcmp(twin, state, words * 8), "a refused candle has changed the state");
    feed.on_gap = FKD_BRIDGE;
    CHECK(t->candle_push(&feed, twin, &bad, last, row) == (FKD_GAP | (n >= r.warmup ? FKD_READY : 0)), "stepped over");
    feed.on_gap = FKD_RESET;
    CHECK(t->candle_push(&feed, state, &bad, last, row) == (FKD_GAP | (r.warmup ? 0 : FKD_READY)) && state[0].i == 1, "begun anew");
  }
  give_back();
}

static void reader_case(const fkd_table *t, int single, int64_t n, int64_t in, int activation, int scaled) {
  const fkd_mlp net = {3, activation, {in, 19, 7, 3}};
  const size_t size = single ? 4 : 8, d = (size_t)((in + 1) * 19 + 20 * 7 + 8 * 3);
  char *params = take(d * size, 8), *all = take((size_t)n * 3 * size, size), *one = take(3 * size, size);
  double *X = take((size_t)(n * in) * 8, 8), *offset = take((size_t)in * 8, 8), *scale = take((size_t)in * 8, 8);
  for (size_t i = 0; i < d; ++i)
    if (single) ((float *)(void *)params)[i] = (float)(0.3 * bell());
    else ((double *)(void *)params)[i] = 0.3 * bell();
  for (int64_t i = 0; i < n * in; ++i) X[i] = bell();
  for (int64_t i = 0; i < in; ++i) offset[i] = bell(), scale[i] = 0.5 + uniform();
  X[(n - 1) * in] = n % 2 ? 1e300 : NAN; /* too large for float */
  void *packed = take((size_t)(single ? t->f32.packed_size(&net) : t->f64.packed_size(&net)) * size, 64);
  if (single) t->f32.pack(&net, (float *)(void *)params, packed);
  else t->f64.pack(&net, (double *)(void *)params, packed);
  const fkd_reader m = {&net, packed, single, 1, scaled ? offset : NULL, scaled ? scale : NULL};
  void *work = take((size_t)t->candle_scratch(&m, n) * 8, 64), *little = take((size_t)t->candle_scratch(&m, 1) * 8, 64);
  t->candle_read(&m, X, n, all, work);
  for (int64_t i = 0; i < n; ++i) {
    t->candle_read(&m, X + i * in, 1, one, little);
    CHECK(!memcmp(one, all + (size_t)i * 3 * size, 3 * size), "row %d of %d alone differs", (int)i, (int)n);
    const double p = single ? (double)((float *)(void *)one)[0] : ((double *)(void *)one)[0];
    CHECK(isnan(p) == (i == n - 1 && (n % 2 == 0 || single)), "p = %g at row %d of %d", p, (int)i, (int)n);
  }
  give_back();
}

static void candles(const fkd_table *t, const fkd_table *plain) {
  static const int64_t windows[] = {1, 2, 5, 20};
  for (int kind = FKD_OHLCV4; kind <= FKD_RICH; ++kind)
    for (int w = 0; w < 4; ++w)
      for (int64_t n = 0; n < 120; n += 1 + n / 2) candle_case(t, plain, kind, windows[w], kind == FKD_RICH ? 3 * w : 0, n);
  for (int64_t n = 1; n < 140; n += 1 + n / 2)
    for (int k = 0; k < 8; ++k) reader_case(t, k % 2, n, 3 + k * 3, k / 2, k % 3 != 0);
}
