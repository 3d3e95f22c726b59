"""exp, tanh, sigmoid and GELU without libm: the C text, and beside each its twin in float32 NumPy, the same bits.

All are free of branches so that compilers vectorize them, and safe under -ffast-math: clamping is an integer minimum on
the bits of the number, rounding a conversion to an integer.
"""

from __future__ import annotations

import numpy as np

F = np.float32
EXP_LOW = 87.0  # exp(-87) is the least normal result

EXP = """\
/* exp(x) for -87 <= x <= 87, relative error 2e-7 */
static inline float $exp(float x)
{
    const float t = x * 1.44269504f;
    const int32_t n = (int32_t)(t + 128.5f) - 128;
    const float r = t - (float)n;
    const uint32_t e = (uint32_t)(n + 127) << 23;
    float y = 1.53533619e-4f;
    float s;
    y = (y * r) + 1.33988744e-3f;
    y = (y * r) + 9.61843736e-3f;
    y = (y * r) + 5.55033247e-2f;
    y = (y * r) + 2.40226479e-1f;
    y = (y * r) + 6.93147206e-1f;
    y = (y * r) + 1.0f;
    (void)memcpy(&s, &e, sizeof s);
    return y * s;
}
"""
CLIP = """\
/* x to [-most, most], by an integer minimum on its bits, which compilers vectorize and no flag removes */
static inline float $clip(float x, float most)
{
    uint32_t u;
    uint32_t m;
    uint32_t a;
    (void)memcpy(&u, &x, sizeof u);
    (void)memcpy(&m, &most, sizeof m);
    a = u & 0x7fffffffu;
    u = (u & 0x80000000u) | ((a < m) ? a : m);
    (void)memcpy(&x, &u, sizeof x);
    return x;
}
"""
TANH = """\
static inline float $tanh(float x)
{
    return 1.0f - (2.0f / (1.0f + $exp($clip(2.0f * x, 20.0f))));
}
"""
GATES = """\
static inline float $sigmoid(float x)
{
    return 1.0f / (1.0f + $exp($clip(-x, 40.0f)));
}
/* sigmoid(x) tanh(y), with one division */
static inline float $gated(float x, float y)
{
    const float e = $exp($clip(-x, 40.0f));
    const float f = $exp($clip(2.0f * y, 20.0f));
    return (f - 1.0f) / ((1.0f + e) * (1.0f + f));
}
"""
GELU = """\
/* x Phi(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, absolute error 1e-7 */
static inline float $gelu(float x)
{
    const float c = $clip(x, 9.0f);
    const float a = (c > 0.0f) ? c : -c;
    const float z = a * 0.707106781f;
    const float t = 2.0f / (2.0f + z);
    const float u = t - 0.5f;
    float q = 0.0441311227f;
    q = (q * u) - 0.018950985f;
    q = (q * u) - 0.0772014585f;
    q = (q * u) + 0.055238148f;
    q = (q * u) + 0.0979777820f;
    q = (q * u) - 0.103809699f;
    q = (q * u) - 0.172034949f;
    q = (q * u) + 0.145774538f;
    q = (q * u) + 0.558943179f;
    q = (q * u) + 0.687160618f;
    q = (q * u) + 0.510791356f;
    return ((x > 0.0f) ? x : 0.0f) - (0.5f * a * ($exp(-(z * z)) * t * q));
}
"""
ERFC: tuple[float, ...] = (
    0.0441311227,
    -0.018950985,
    -0.0772014585,
    0.055238148,
    0.0979777820,
    -0.103809699,
    -0.172034949,
)
ERFC += (0.145774538, 0.558943179, 0.687160618, 0.510791356)

# what an activation is in C, of an expression that is a name
ACTIVATION = {
    "relu": "({0} > 0.0f) ? {0} : 0.0f",
    "tanh": "$tanh({0})",
    "gelu": "$gelu({0})",
    "identity": "{0}",
}


def helpers(activation: str, hidden: bool, gates: bool, softmax: bool) -> str:
    """The functions that a network needs."""
    curved = activation in ("tanh", "gelu") and hidden
    text = EXP if curved or gates or softmax else ""
    text += CLIP if curved or gates else ""
    text += GATES if gates else ""
    if curved:
        text += TANH if activation == "tanh" else GELU
    return text


def exp32(x: np.ndarray) -> np.ndarray:
    t = x * F(1.44269504)
    n = (t + F(128.5)).astype(np.int32) - 128
    r = t - n.astype(F)
    y = np.full_like(r, F(1.53533619e-4))
    for c in (1.33988744e-3, 9.61843736e-3, 5.55033247e-2, 2.40226479e-1, 6.93147206e-1, 1.0):
        y = y * r + F(c)
    return y * ((n + 127).astype(np.uint32) << np.uint32(23)).view(F)


def clip32(x: np.ndarray, most: float) -> np.ndarray:
    return np.clip(x, F(-most), F(most))


def tanh32(x: np.ndarray) -> np.ndarray:
    return F(1) - F(2) / (F(1) + exp32(clip32(F(2) * x, 20.0)))


def sigmoid32(x: np.ndarray) -> np.ndarray:
    return F(1) / (F(1) + exp32(clip32(-x, 40.0)))


def gated32(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    e, f = exp32(clip32(-x, 40.0)), exp32(clip32(F(2) * y, 20.0))
    return (f - F(1)) / ((F(1) + e) * (F(1) + f))


def gelu32(x: np.ndarray) -> np.ndarray:
    a = np.abs(clip32(x, 9.0))
    z = a * F(0.707106781)
    t = F(2) / (F(2) + z)
    u = t - F(0.5)
    q = np.full_like(u, F(ERFC[0]))
    for c in ERFC[1:]:
        q = q * u + F(c)
    return relu32(x) - (F(0.5) * a) * ((exp32(-(z * z)) * t) * q)


def relu32(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, F(0))


def identity32(x: np.ndarray) -> np.ndarray:
    return x


ACTIVATE = {"relu": relu32, "tanh": tanh32, "gelu": gelu32, "identity": identity32}


def softmax32(z: np.ndarray) -> np.ndarray:
    p = exp32(np.maximum(z - z.max(axis=1, keepdims=True), F(-EXP_LOW)))
    total = p[:, 0].copy()
    for c in range(1, p.shape[1]):
        total += p[:, c]
    return p * (F(1) / total)[:, None]
