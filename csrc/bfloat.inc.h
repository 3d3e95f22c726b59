/* bfloat.inc.h: LSTM layers whose weights are bfloat16, half of a float: a step reads all weights, and reading them is
 * what takes long.
 *
 * Packed as for REAL, in panels of VL units with their four gates, but each 32-bit word holds the weights of two rows:
 * those of row 2 k below, of row 2 k + 1 above. A shift or a mask makes floats of them. Sums are float; the bias,
 * behind the rows of a panel, is too. */

#define bfloat_pairs FN(bfloat_pairs)
#define bfloat_body FN(bfloat_body)
#define bfloat_pack FN(bfloat_pack)
#define bfloat_gates FN(bfloat_gates)

#if FKD_BITS == 32
#define bfloat_bits FN(bfloat_bits)
#define bfloat_tile FN(bfloat_tile)

FKD_INLINE int64_t bfloat_pairs(const fkd_network *net, int l) { return (net->widths[l] + net->widths[l + 1] + 1) / 2; }

/* reals of layer l's packed matrix */
FKD_INLINE int64_t bfloat_body(const fkd_network *net, int l) {
  return round_up(net->widths[l + 1]) * 4 * (bfloat_pairs(net, l) + 1);
}

/* the upper half of x rounded to nearest, ties to even; a NaN stays one */
FKD_INLINE uint32_t bfloat_bits(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return x != x ? (u >> 16) | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

/* the body's flat parameters to w; returns where the head's begin */
static const float *bfloat_pack(const fkd_network *net, const float *flat, float *w) {
  for (int l = 0; l < net->layers; ++l) {
    const int64_t n = net->widths[l + 1], depth = net->widths[l] + n, pairs = bfloat_pairs(net, l);
    memset(w, 0, (size_t)bfloat_body(net, l) * sizeof(float));
    for (int64_t r = 0; r <= depth; ++r)
      for (int q = 0; q < 4; ++q)
        for (int64_t u = 0; u < n; ++u) {
          float *to = w + (u / VL * (pairs + 1) + (r < depth ? r / 2 : pairs)) * 4 * VL + q * VL + u % VL;
          uint32_t word;
          if (r < depth) {
            memcpy(&word, to, sizeof word);
            word |= bfloat_bits(*flat++) << (r & 1 ? 16 : 0);
            memcpy(to, &word, sizeof word);
          } else {
            *to = *flat++;
          }
        }
    w += bfloat_body(net, l);
  }
  return flat;
}

/* R rows of a against one panel; sums of even and odd rows of it apart, so that R = 1 does not wait for its own sums */
FKD_INLINE void bfloat_tile(const int R, const float *a, ptrdiff_t lda, const float *w, int64_t depth, float *y,
                            ptrdiff_t ldy) {
  const VI upper = vshl(visetl(-1), 16);
  const float *bias = w + (depth + 1) / 2 * 4 * VL;
  V acc[4][4][2];
#define BFLOAT_EACH                      \
  FKD_UNROLL                             \
  for (int r = 0; r < R; ++r) FKD_UNROLL \
  for (int q = 0; q < 4; ++q)
  BFLOAT_EACH acc[r][q][0] = vload(bias + q * VL), acc[r][q][1] = vset1(0);
  int64_t k = 0;
  for (; k + 2 <= depth; k += 2, w += 4 * VL) {
    V low[4], high[4];
    FKD_UNROLL
    for (int q = 0; q < 4; ++q) {
      VI word = vasint(vload(w + q * VL));
      FKD_KEEP(word);
      low[q] = vasreal(vshl(word, 16)), high[q] = vasreal(word & upper);
    }
    BFLOAT_EACH {
      acc[r][q][0] = vfma(vset1(a[r * lda + k]), low[q], acc[r][q][0]);
      acc[r][q][R == 1] = vfma(vset1(a[r * lda + k + 1]), high[q], acc[r][q][R == 1]);
    }
  }
  if (k < depth)
    BFLOAT_EACH acc[r][q][0] = vfma(vset1(a[r * lda + k]), vasreal(vshl(vasint(vload(w + q * VL)), 16)), acc[r][q][0]);
  BFLOAT_EACH vstore(y + r * ldy + q * VL, R == 1 ? acc[r][q][0] + acc[r][q][1] : acc[r][q][0]);
#undef BFLOAT_EACH
}

/* as lstm_gates */
static void bfloat_gates(const float *a, ptrdiff_t lda, const float *w, int64_t depth, int64_t up, int64_t rows,
                         float *y, ptrdiff_t ldy) {
  for (int64_t p = 0; p < 4 * up; p += 4 * VL, w += ((depth + 1) / 2 + 1) * 4 * VL) {
    int64_t r = 0;
#if defined(FKD_AVX512) || defined(FKD_NEON) /* 32 registers */
    for (; r + 4 <= rows; r += 4) bfloat_tile(4, a + r * lda, lda, w, depth, y + r * ldy + p, ldy);
#endif
    for (; r < rows; ++r) bfloat_tile(1, a + r * lda, lda, w, depth, y + r * ldy + p, ldy);
  }
}
#endif
