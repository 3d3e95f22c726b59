"""A FixedPredictor as C99: integers only, but for reading float features and giving float probabilities."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from fastkd._version import __version__
from fastkd.deploy.export.files import HEADER, about, step_text
from fastkd.deploy.export.fixed import FixedPredictor
from fastkd.deploy.export.fixed_dense import dense, tables
from fastkd.deploy.export.fixed_net import FEATURE_LIMIT, GATE_BITS, POW2, SIGMOID, TANH, FixedNet
from fastkd.deploy.export.fixed_vectors import fixed_vectors
from fastkd.deploy.export.text import hexadecimal, indented, prefixed, put, table, whole

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

<<helpers>>/* 1 if a feature is NaN, infinite, or beyond 2^60; on bits, which no flag removes */
static int $refused(const float x[], int n)
{
    uint32_t bad = 0u;
    for (int i = 0; i < n; ++i) {
        uint32_t u;
        (void)memcpy(&u, x + i, sizeof u);
        bad |= (uint32_t)((u & 0x7fffffffu) > <<limit>>);
    }
    return (int)bad;
}

static int $nothing(float p[])
{
    const uint32_t nan = 0x7fc00000u;
    for (int c = 0; c < @OUTPUTS; ++c) { (void)memcpy(p + c, &nan, sizeof nan); }
    return 1;
}

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


def _loop(n: int, body: str) -> str:
    return f"for (int i = 0; i < {n}; ++i) {{ {body} }}"


def _head(net: FixedNet, x: str) -> str:
    text = ""
    for k, layer in enumerate(net.layers):
        last = k + 1 == len(net.layers)
        y = "z" if last else f"h{k}"
        n = layer.W.shape[1]
        text += (
            ""
            if last
            else f"    int16_t h{k}[{n}]; /* 1.0 is 2^{15 if layer.activation == 'tanh' else layer.bits} */\n"
        )
        text += dense(x, y, str(k), layer)
        if layer.activation == "tanh":
            text += indented([_loop(n, f"{y}[i] = (int16_t)$tanh({y}[i], {GATE_BITS - 5}u);")])
        if layer.activation == "gelu":
            text += indented(
                [
                    f"for (int i = 0; i < {n}; ++i) {{",
                    f"    const int32_t v = {y}[i];",
                    f"    const int32_t g = $lookup($GELU{k}, (v < 0) ? -v : v, {layer.bits - 5}u);",
                    f"    {y}[i] = (int16_t)(((v < 0) ? 0 : v) - g);",
                    "}",
                ]
            )
        x = y
    return text


def _mean(n: str) -> str:
    """The mean of n int16, rounded, from their sum: floor((sum + n/2) / n)."""
    return f"(int16_t)((int32_t)(((uint32_t)(SUM + (32768 * {n})) + (uint32_t)({n} / 2)) / (uint32_t){n}) - 32768)"


def _cnn(net: FixedNet) -> str:
    student = net.student
    T, K, widths = student.steps, student.kernel_size, student.widths
    left, last = (K - 1) // 2, len(net.body) - 1
    total = "int32_t" if student.pooling == "mean" else "int16_t"
    lines = [f"int16_t r{k}[{(T + K - 1) * n}] = {{0}};" for k, n in enumerate(widths[:-1])]
    lines += [f"{total} pool[{widths[-1]}] = {{0}};", f"int16_t y{last}[{widths[-1]}];"]
    lines += [_loop(T * widths[0], f"r0[{left * widths[0]} + i] = x[i];")]
    text = indented(lines)
    for k, (n_in, n_out) in enumerate(pairwise(widths)):
        text += indented([f"for (int t = 0; t < {T}; ++t) {{", f"    const int16_t *const q = r{k} + ({n_in} * t);"])
        if k < last:
            text += indented([f"int16_t *const y{k} = r{k + 1} + ({n_out} * (t + {left}));"], 2)
        text += dense("q", f"y{k}", f"_body{k}", net.body[k], 2)
        if k == last:
            y = f"y{k}[i]"
            pooled = {"max": f"pool[i] = ({y} > pool[i]) ? {y} : pool[i];", "mean": f"pool[i] += {y};"}
            text += indented([_loop(n_out, pooled.get(student.pooling, f"pool[i] = {y};"))], 2)
        text += "    }\n"
    x = "pool"
    if student.pooling == "mean":
        x = "mean"
        share = _mean(str(T)).replace("SUM", "pool[i]")
        text += indented([f"int16_t mean[{widths[-1]}];", _loop(widths[-1], f"mean[i] = {share};")])
    return f"static void $forward(const int16_t x[], int16_t z[])\n{{\n{text}{_head(net, x)}}}\n"


def _lstm(net: FixedNet) -> str:
    student = net.student
    widths, last, down = student.widths, len(net.body) - 1, 30 - net.x_bits
    text = ""
    for k, (n_in, u) in enumerate(pairwise(widths)):
        bits = net.cells[k]
        text += indented([f"int16_t z{k}[{4 * u}];"]) + dense(f"m->a{k}", f"z{k}", f"_body{k}", net.body[k])
        shift = GATE_BITS - 5
        text += indented(
            [
                f"for (int i = 0; i < {u}; ++i) {{",
                f"    const int32_t in = $sigmoid(z{k}[i]) * $tanh(z{k}[{2 * u} + i], {shift}u);",
                f"    const int32_t kept = $sigmoid(z{k}[{u} + i]) * m->c{k}[i];",
                f"    const int16_t c = $clipped((kept + (in >> {15 - bits}) + 16384) >> 15, -32768);",
                f"    const int32_t out = $sigmoid(z{k}[{3 * u} + i]) * $tanh(c, {bits - 5}u);",
                f"    m->c{k}[i] = c;",
                f"    m->a{k}[{n_in} + i] = (int16_t)((out + {1 << (down - 1)}) >> {down});",
                "}",
            ]
        )
        if k < last:
            text += indented([_loop(u, f"m->a{k + 1}[i] = m->a{k}[{n_in} + i];")])
    u, out = widths[-1], f"m->a{last}[{widths[-2]} + i]"
    start, pool, x = "", indented([f"const int16_t *const h = m->a{last} + {widths[-2]};"]), "h"
    if student.pooling == "max":
        start = indented([_loop(u, "m->pool[i] = INT16_MIN;")])
        text += indented([_loop(u, f"m->pool[i] = ({out} > m->pool[i]) ? {out} : m->pool[i];")])
        pool, x = "", "m->pool"
    if student.pooling == "mean":
        text += indented([_loop(u, f"m->pool[i] += {out};")])
        share = _mean("m->n").replace("SUM", "m->pool[i]")
        pool, x = indented([f"int16_t mean[{u}];", _loop(u, f"mean[i] = {share};")]), "mean"
    parts = {"layers": text, "pool": pool, "head": _head(net, x), "steps": student.steps, "features": widths[0]}
    return put(STEP, start=start, **parts)


def _state(net: FixedNet) -> str:
    lines = []
    for k, (n_in, u) in enumerate(pairwise(net.student.widths)):
        lines += [
            f"int16_t a{k}[{n_in + u}]; /* LSTM layer {k}: input and output */",
            f"int16_t c{k}[{u}]; /* its cell */",
        ]
    if net.student.pooling != "last":
        kind = "int32_t" if net.student.pooling == "mean" else "int16_t"
        lines.append(f"{kind} pool[{net.student.widths[-1]}];")
    lines.append("int32_t n; /* steps since the reset, at most 32767 */")
    return f"typedef struct {{\n{indented(lines)}}} $state;\n"


def _source(net: FixedNet, name: str, facts: dict[str, Any]) -> tuple[str, int]:
    """NAME.c, and the bytes of its constants."""
    student = net.student
    classifier, lstm = student.classes is not None, student.kind == "lstm"
    curves = {layer.activation for layer in net.layers}
    constants = [("float", "MEAN", net.mean), ("float", "FACTOR", net.factor)]
    data = "".join(table(*constant) for constant in constants)
    n_bytes = 8 * student.n_features
    for prefix, layers in (("_body", net.body), ("", net.layers)):
        for k, layer in enumerate(layers):
            data += tables(f"{prefix}{k}", layer)
            n_bytes += layer.W.size * net.weight_bits // 8 + 8 * len(layer.B)
            if layer.curve is not None:
                data += table("int16_t", f"GELU{k}", layer.curve, whole)
                n_bytes += 514
    helpers = ""
    if lstm or curves & {"tanh", "gelu"}:
        helpers += LOOKUP
    if lstm or "tanh" in curves:
        data += table("int16_t", "TANH", TANH, whole)
        helpers += TANH_C
        n_bytes += 514
    if lstm:
        data += table("int16_t", "SIGMOID", SIGMOID, whole)
        helpers += put(SIGMOID_C, shift=GATE_BITS - 5)
        n_bytes += 514
    if classifier:
        data += table("uint16_t", "POW2", POW2, whole)
        helpers += put(SOFTMAX, out=net.out_bits, out10=net.out_bits + 10)
        n_bytes += 66
    if student.kind == "mlp":
        network = f"static void $forward(const int16_t x[], int16_t z[])\n{{\n{_head(net, 'x')}}}\n"
    else:
        network = _lstm(net) if lstm else _cnn(net)
    line = "$read(x, q);"
    if student.kind != "mlp":
        line = "for (int t = 0; t < @STEPS; ++t) { $read(x + (@FEATURES * t), q + (@FEATURES * t)); }"
    four = (
        "static inline int8x4_t $four(const int8_t *p)\n{\n    int8x4_t v;\n    (void)memcpy(&v, p, sizeof v);\n"
        "    return v;\n}\n"
    )
    text = put(
        SOURCE,
        name=name,
        version=__version__,
        bits=net.weight_bits,
        about=about(student, facts),
        four=four if net.weight_bits == 8 else "",
        tables=data,
        helpers=helpers,
        limit=hexadecimal(np.float32(FEATURE_LIMIT).view(np.uint32)),
        network=network,
        read=indented([line]),
        functions=(CLASSIFIER if classifier else REGRESSOR) + (PUSH if lstm else ""),
    )
    return prefixed(text, name), n_bytes


def _header(net: FixedNet, name: str) -> str:
    student = net.student
    window = student.kind != "mlp"
    functions = (
        "/* Features to integers. Returns 0; or 1 if one is NaN, infinite or beyond 2^60. */\n"
        "int $quantize(const float x[@INPUTS], int16_t q[@INPUTS]);\n\n"
    )
    more = f"#define @STEPS {student.steps}\n" if window else ""
    if student.classes is not None:
        functions += (
            "/* Integers only: probabilities, of which 32768 is 1, and the index of the most probable class. */\n"
            "void $predict_q(const int16_t x[@INPUTS], uint16_t p[@OUTPUTS]);\n"
            "int $classify_q(const int16_t x[@INPUTS]);\n\n"
            "/* Both of raw features. Return 1 and NaN, or -1, for what $quantize refuses; $predict else 0. */\n"
            "int $predict(const float x[@INPUTS], float p[@OUTPUTS]);\nint $classify(const float x[@INPUTS]);\n"
        )
    else:
        more += f"#define @UNIT {2.0**-net.out_bits:.9g}f /* of an integer value */\n"
        functions += (
            "/* Integers only: values in multiples of @UNIT; and of raw features, 1 and NaN for what is refused. */\n"
            "void $value_q(const int16_t x[@INPUTS], int16_t y[@OUTPUTS]);\n"
            "int $value(const float x[@INPUTS], float y[@OUTPUTS]);\n"
        )
    if student.kind == "lstm":
        functions += (
            "\n/* Step by step: reset, then push each row once. The probabilities are those of all rows since the\n"
            " * reset. Returns 0; or 1, the state as it was, if a feature is refused or 32767 steps are done. */\n"
            f"{_state(net)}void $reset($state *m);\n"
            "int $push_q($state *m, const int16_t x[@FEATURES], uint16_t p[@OUTPUTS]);\n"
            "int $push($state *m, const float x[@FEATURES], float p[@OUTPUTS]);\n"
        )
    return prefixed(
        put(
            HEADER,
            name=name,
            version=__version__,
            features=student.n_features,
            step=step_text(student),
            inputs="(@STEPS * @FEATURES)" if window else student.n_features,
            outputs=student.n_outputs,
            more=more,
            functions=functions,
        ),
        name,
    )


def fixed_files(fixed: FixedPredictor, name: str, vectors: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The texts of the three files, and what the report says of them."""
    from fastkd.deploy.export.vectors import vector_rows

    net, student = fixed.net, fixed.student
    rows = vector_rows(student, vectors, fixed.calibration)
    now = fixed.quality_.get("tuned", fixed.quality_["untuned"])
    facts = {
        "Weights": f"{net.weight_bits} bits; a feature is in units of its spread / 2^{net.x_bits}",
        "Against the float student, on the calibration rows": {key: float(f"{v:.4g}") for key, v in now.items()},
    }
    source, n_bytes = _source(net, name, facts)
    texts = {f"{name}.c": source, f"{name}.h": _header(net, name), f"{name}_test.c": fixed_vectors(net, rows, name)}
    checks = {"no sum overflows 32 bits": "proven for any input"}
    for when, quality in fixed.quality_.items():
        checks[f"{when}, against the float student"] = ", ".join(f"{key} {value:.4g}" for key, value in quality.items())
    if now.get("agreement", 1.0) < 0.99:
        checks["warning"] = "fewer than 99 % of the calibration rows keep their class; try weights='int16' or tune=10"
    return texts, {
        "target": "c-fixed",
        "sha256": student.sha256,
        "rows": len(rows),
        "error": "bitwise",
        "limit": FEATURE_LIMIT,
        "agreement": fixed.agreement_,
        "sizes": {"rodata_bytes": n_bytes},
        "checks": checks,
    }
