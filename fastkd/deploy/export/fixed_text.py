"""Templates of a fixed-point source: what does not depend on the shape of the network."""

SOURCE = """\
/* <<name>>.c: written by fastkd <<version>>; do not edit.
 * C99 or C++: <<bits>>-bit weights, 16-bit activations, 32-bit sums; floats only where features come in and answers go
 * out. No sum overflows, for any input: proven when this was written. No heap, nothing that is written to is static.
 * The same bits on every machine whose right shift of negative numbers is arithmetic, which the test checks.
 *
<<about>>
 * This file is data of whoever trained the model; fastkd's license does not extend to it. */
#include "<<name>>.h"

#include <string.h>

/* 0: for SIMD; 1: for cores without, in 32 bits; 2: for the DSP instructions of Cortex-M. All give the same bits. */
#ifndef @LOOPS
#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_NEON) && defined(__ARM_ARCH_PROFILE) && (__ARM_ARCH_PROFILE == 'M')
#define @LOOPS 2
#elif defined(__SSE2__) || defined(_M_X64) || defined(__ARM_NEON)
#define @LOOPS 0
#else
#define @LOOPS 1
#endif
#endif
#if @LOOPS == 2
#include <arm_acle.h>
static inline int16x2_t $two(const int16_t *p)
{
    int16x2_t v;
    (void)memcpy(&v, p, sizeof v);
    return v;
}
<<four>>#endif

<<tables>>
/* s m / 2^32, rounded down; m has 16 significant bits above its zeros */
static inline int32_t $scaled(int32_t s, int32_t m, unsigned zeros)
{
#if @LOOPS == 1 /* the same in 32 bits */
    const int32_t f = m >> zeros;
    return (((s >> 16) * f) + (int32_t)((((uint32_t)s & 0xffffu) * (uint32_t)f) >> 16)) >> (16u - zeros);
#else
    (void)zeros;
    return (int32_t)(((int64_t)s * m) >> 32);
#endif
}

static inline int16_t $clipped(int32_t y, int32_t low)
{
    y = (y > low) ? y : low;
    return (int16_t)((y < 32767) ? y : 32767);
}

<<helpers>><<guard>>
/* Twice the value, truncated, and half of that: rounding half away from zero without a sum that could be contracted */
static void $read(const float x[], int16_t q[])
{
    for (int i = 0; i < @FEATURES; ++i) {
        float v = (x[i] - $MEAN[i]) * $FACTOR[i];
        int32_t t;
        v = (v > -65534.0f) ? v : -65534.0f;
        v = (v < 65534.0f) ? v : 65534.0f;
        t = (int32_t)v;
        q[i] = (int16_t)((t + ((t < 0) ? -1 : 1)) / 2);
    }
}

<<network>>
int $quantize(const float x[@INPUTS], int16_t q[@INPUTS])
{
    if ($refused(x, @INPUTS) != 0) { return 1; }
<<read>>    return 0;
}

<<functions>>"""

SOFTMAX = """\
static void $softmax(const int16_t z[], uint16_t p[])
{
    uint32_t e[@OUTPUTS];
    uint32_t sum = 0u;
    int32_t most = z[0];
    for (int c = 1; c < @OUTPUTS; ++c) { most = (z[c] > most) ? z[c] : most; }
    for (int c = 0; c < @OUTPUTS; ++c) {
        const uint32_t t = ((uint32_t)(most - z[c]) * 47274u) >> 5; /* log2(e) in 1/32768 */
        const uint32_t n = t >> <<out10>>u;
        const uint32_t f = (t >> <<out>>u) & 1023u;
        const uint32_t k = f >> 5;
        const uint32_t r = f & 31u;
        e[c] = ((($POW2[k] * (32u - r)) + ($POW2[k + 1u] * r)) >> 5) >> ((n > 16u) ? 16u : n);
        sum += e[c];
    }
    for (int c = 0; c < @OUTPUTS; ++c) { p[c] = (uint16_t)(((e[c] * 32768u) + (sum >> 1)) / sum); }
}

static int $best(const int16_t z[])
{
    int best = 0;
    for (int c = 1; c < @OUTPUTS; ++c) { best = (z[c] > z[best]) ? c : best; }
    return best;
}

static void $floats(const uint16_t q[], float p[])
{
    for (int c = 0; c < @OUTPUTS; ++c) { p[c] = (float)q[c] * 3.0517578125e-05f; }
}

"""
CLASSIFIER = """\
void $predict_q(const int16_t x[@INPUTS], uint16_t p[@OUTPUTS])
{
    int16_t z[@OUTPUTS];
    $forward(x, z);
    $softmax(z, p);
}

int $classify_q(const int16_t x[@INPUTS])
{
    int16_t z[@OUTPUTS];
    $forward(x, z);
    return $best(z);
}

int $predict(const float x[@INPUTS], float p[@OUTPUTS])
{
    int16_t q[@INPUTS];
    uint16_t u[@OUTPUTS];
    if ($quantize(x, q) != 0) { return $nothing(p); }
    $predict_q(q, u);
    $floats(u, p);
    return 0;
}

int $classify(const float x[@INPUTS])
{
    int16_t q[@INPUTS];
    return ($quantize(x, q) != 0) ? -1 : $classify_q(q);
}
"""
REGRESSOR = """\
void $value_q(const int16_t x[@INPUTS], int16_t y[@OUTPUTS])
{
    $forward(x, y);
}

int $value(const float x[@INPUTS], float y[@OUTPUTS])
{
    int16_t q[@INPUTS];
    int16_t z[@OUTPUTS];
    if ($quantize(x, q) != 0) { return $nothing(y); }
    $forward(q, z);
    for (int c = 0; c < @OUTPUTS; ++c) { y[c] = (float)z[c] * @UNIT; }
    return 0;
}
"""
PUSH = """
int $push_q($state *m, const int16_t x[@FEATURES], uint16_t p[@OUTPUTS])
{
    int16_t z[@OUTPUTS];
    if (m->n >= 32767) { return 1; }
    $step(m, x);
    $head(m, z);
    $softmax(z, p);
    return 0;
}

int $push($state *m, const float x[@FEATURES], float p[@OUTPUTS])
{
    int16_t q[@FEATURES];
    uint16_t u[@OUTPUTS];
    if ($refused(x, @FEATURES) != 0) { return $nothing(p); }
    $read(x, q);
    if ($push_q(m, q, u) != 0) { return $nothing(p); }
    $floats(u, p);
    return 0;
}
"""
LOOKUP = """\
/* table at a 2^-(shift + 5), a >= 0, with linear interpolation; its last entry beyond */
static inline int32_t $lookup(const int16_t t[257], int32_t a, unsigned shift)
{
    const int32_t k = a >> shift;
    const int32_t r = a & ((1 << shift) - 1);
    if (k > 255) { return t[256]; }
    return t[k] + ((((t[k + 1] - t[k]) * r) + (1 << (shift - 1u))) >> shift);
}

"""
TANH_C = """\
static inline int32_t $tanh(int32_t v, unsigned shift)
{
    const int32_t y = $lookup($TANH, (v < 0) ? -v : v, shift);
    return (v < 0) ? -y : y;
}

"""
SIGMOID_C = """\
static inline int32_t $sigmoid(int32_t v)
{
    const int32_t y = $lookup($SIGMOID, (v < 0) ? -v : v, <<shift>>u);
    return (v < 0) ? (32768 - y) : y;
}

"""
STEP = """\
void $reset($state *m)
{
    (void)memset(m, 0, sizeof *m);
<<start>>}

static void $step($state *m, const int16_t x[])
{
    for (int i = 0; i < <<features>>; ++i) { m->a0[i] = x[i]; }
<<layers>>    m->n += 1;
}

static void $head(const $state *m, int16_t z[])
{
<<pool>><<head>>}

static void $forward(const int16_t x[], int16_t z[])
{
    $state m;
    $reset(&m);
    for (int t = 0; t < <<steps>>; ++t) { $step(&m, x + (<<features>> * t)); }
    $head(&m, z);
}
"""
