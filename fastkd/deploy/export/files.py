"""The three files of a float export: source, header and test."""

from __future__ import annotations

from typing import Any

from fastkd._version import __version__
from fastkd.deploy.export.bounds import largest_feature
from fastkd.deploy.export.maths import helpers
from fastkd.deploy.export.networks import CODE, n_logits, state_type, tables
from fastkd.deploy.export.snippets import guard
from fastkd.deploy.export.student import Student
from fastkd.deploy.export.text import Name, comment, prefixed, put, wrapped

SOURCE = """\
/* <<name>>.c: written by fastkd <<version>>; do not edit.
 * C99 or C++, freestanding but for memcpy and memset. No heap, nothing that is written to is static, no libm: safe in
 * threads and interrupts. A feature that is NaN, infinite or beyond <<limit>> gives NaN, whatever the compiler's flags.
 *
<<about>>
 * This file is data of whoever trained the model; fastkd's license does not extend to it. */
#include "<<name>>.h"

#include <string.h>
<<more>>
/* 0: for SIMD, and the same bits on every machine if compiled with -std=c99; 1: for cores without SIMD; 2: for size */
#ifndef @LOOPS
#if <<form0>>
#define @LOOPS 0
#elif defined(__OPTIMIZE_SIZE__)
#define @LOOPS 2
#else
#define @LOOPS 1
#endif
#endif
#if defined(__clang__) && (defined(__STRICT_ANSI__)<<strict>>)
#pragma STDC FP_CONTRACT OFF
#endif

<<tables>>
<<helpers>>
<<guard>>
<<softmax>><<network>>
<<functions>>"""

SIMD = """defined(__SSE__) || defined(_M_X64) || defined(__ARM_NEON) || defined(__ALTIVEC__) || \\
    defined(__wasm_simd128__) || defined(__riscv_vector)"""

SOFTMAX = """\
static void $softmax(const float z[], float p[])
{
    float most = z[0];
    float sum = 0.0f;
    for (int c = 1; c < @OUTPUTS; ++c) { most = (z[c] > most) ? z[c] : most; }
    for (int c = 0; c < @OUTPUTS; ++c) {
        float d = z[c] - most;
        uint32_t u;
        (void)memcpy(&u, &d, sizeof u);
        u = (u < 0xc2ae0000u) ? u : 0xc2ae0000u; /* at least -87 */
        (void)memcpy(&d, &u, sizeof d);
        p[c] = $exp(d);
    }
    for (int c = 0; c < @OUTPUTS; ++c) { sum += p[c]; } /* apart: in one loop gcc waits for each sum */
    sum = 1.0f / sum;
    for (int c = 0; c < @OUTPUTS; ++c) { p[c] *= sum; }
}

"""
BEST = """\
static int $best(const float z[])
{
    int best = 0;
    for (int c = 1; c < @OUTPUTS; ++c) { best = (z[c] > z[best]) ? c : best; }
    return best;
}

"""
CONFIDENT = """\
/* 1 and the probabilities, if the largest of them reaches `sure` */
static int $confident(const float z[], float p[], float sure)
{
    $softmax(z, p);
    return (int)(p[$best(p)] >= sure);
}

"""
PREDICT = """\
int $predict(const float x[@INPUTS], float p[@OUTPUTS])
{
    float z[<<logits>>];
    if ($refused(x, @INPUTS) != 0) { return $nothing(p); }
    <<forward>>
    $softmax(z, p);
    return 0;
}

int $classify(const float x[@INPUTS])
{
    float z[<<logits>>];
    if ($refused(x, @INPUTS) != 0) { return -1; }
    <<forward_only>>
    return $best(z);
}
"""
VALUE = """\
int $value(const float x[@INPUTS], float y[@OUTPUTS])
{
    float z[<<logits>>];
    if ($refused(x, @INPUTS) != 0) { return $nothing(y); }
    $forward(x, z);
    for (int c = 0; c < @OUTPUTS; ++c) { y[c] = z[c]; }
    return 0;
}
"""
EARLY = """
int $predict_early(const float x[@INPUTS], float confidence, float p[@OUTPUTS])
{
    float z[<<logits>>];
    int left;
    if (($refused(x, @INPUTS) != 0) || ($refused(&confidence, 1) != 0)) {
        (void)$nothing(p);
        return -1;
    }
    left = $forward(x, z, 1, confidence, p);
    if (left == <<deepest>>) { $softmax(z, p); }
    return left;
}
"""
PUSH = """
int $push($state *m, const float x[@FEATURES], float p[@OUTPUTS])
{
    float z[<<logits>>];
    if ($refused(x, @FEATURES) != 0) { return $nothing(p); }
    $step(m, x);
    $head(m, z);
    $softmax(z, p);
    return 0;
}
"""
HEADER = """\
/* <<name>>.h: written by fastkd <<version>> with <<name>>.c; do not edit. */
#ifndef @H
#define @H
#include <stdint.h>

#define @FEATURES <<features>> /* of a row<<step>> */
#define @INPUTS <<inputs>>
#define @OUTPUTS <<outputs>>
<<more>>
#ifdef __cplusplus
extern "C" {
#endif

<<functions>>
#ifdef __cplusplus
}
#endif
#endif
"""


def about(student: Student, facts: dict[str, Any]) -> str:
    """Lines of a comment: network, model, features and classes in order, what was measured."""
    body: dict[str, Any] = {"kind": student.kind, "steps": student.steps, "widths": student.widths}
    body |= {"kernel_size": student.kernel_size, "pooling": student.pooling}
    network: dict[str, Any] = {"hidden": [W.shape[0] for W, _ in student.layers[1:]], "activation": student.activation}
    network |= {"outputs": student.n_outputs, "exits": len(student.heads)} | ({} if student.kind == "mlp" else body)
    lines = [f"Model: {comment(student.origin)} {comment(network)}", f"SHA-256 of the model: {student.sha256}"]
    names = student.feature_names or tuple(f"feature {i}" for i in range(student.n_features))
    lines.append("Raw features, in order, with the mean and spread that the model was trained on (0 and 1: none):")
    for i, feature in enumerate(names):
        lines.append(f"  {i}: {comment(feature)}, {student.mean[i]:.9g}, {student.scale[i]:.9g}")
    if student.classes is not None:
        lines.append(f"Outputs, in order: {comment(list(student.classes))}")
    lines += [f"{key}: {comment(value)}" for key, value in facts.items()]
    return "\n".join(wrapped(line.split(" "), " *   ").replace(" *   ", " * ", 1) for line in lines)


def step_text(student: Student) -> str:
    return "" if student.kind == "mlp" else "; a window holds @STEPS of them, the oldest first"


def source(
    student: Student,
    rounded: Student,
    name: Name,
    strict: bool,
    facts: dict[str, Any],
    functions: str = "",
    more: str = "",
) -> str:
    """NAME.c; `functions` in place of those of rows, `more` is included before everything."""
    limit = largest_feature(rounded)
    classifier, gates = student.classes is not None, student.kind == "lstm"
    forward = "$forward(x, z);"
    if student.heads:
        forward = "(void)$forward(x, z, 0, 0.0f, {p});"
    best = BEST if not functions else ""
    if not functions:
        functions = VALUE if not classifier else PREDICT
        functions += EARLY if student.heads else ""
        functions += PUSH if gates else ""
    functions = put(
        functions,
        logits=n_logits(student),
        forward=forward.format(p="p"),
        forward_only=forward.format(p="z"),
        deepest=len(student.heads),
    )
    softmax = SOFTMAX + best + (CONFIDENT if student.heads else "") if classifier else ""
    return prefixed(
        put(
            SOURCE,
            name=name.file,
            version=__version__,
            more=more,
            about=about(student, facts),
            form0="1 /* one order of sums, the same bits everywhere */" if strict else SIMD,
            strict=" || 1" if strict else "",
            limit=f"{limit:.3g}",
            guard=guard(limit),
            tables=tables(rounded),
            helpers=helpers(student.activation, len(student.layers) > 1, gates, classifier),
            softmax=softmax,
            network=CODE[student.kind](rounded),
            functions=functions,
        ),
        name,
    )


def header(student: Student, name: Name) -> str:
    """NAME.h"""
    window = student.kind != "mlp"
    shape = "one window of raw features, step after step" if window else "one row of raw features"
    refusal = "Returns 0; or 1, and NaN, if a feature is NaN, infinite or absurd."
    more = f"#define @STEPS {student.steps}\n" if window else ""
    if student.classes is None:
        functions = f"/* Values of {shape}. {refusal} */\nint $value(const float x[@INPUTS], float y[@OUTPUTS]);\n"
    else:
        functions = (
            f"/* Probabilities of {shape}. {refusal} */\n"
            "int $predict(const float x[@INPUTS], float p[@OUTPUTS]);\n\n"
            "/* Index of the most probable class; -1 where $predict returns 1. */\n"
            "int $classify(const float x[@INPUTS]);\n"
        )
    if student.heads:
        functions += (
            "\n/* Probabilities of the first exit whose largest one reaches `confidence`. Returns the exit, 0 is the\n"
            f" * shallowest and {len(student.heads)} the whole network; or -1, and NaN. */\n"
            "int $predict_early(const float x[@INPUTS], float confidence, float p[@OUTPUTS]);\n"
        )
    if student.kind == "lstm":
        functions += (
            "\n/* Step by step: reset, then push each row once. The probabilities are those of all rows since the\n"
            " * reset. Returns 0; or 1, NaN, and the state as it was. A state belongs to one caller at a time. */\n"
            f"{state_type(student)}void $reset($state *m);\n"
            "int $push($state *m, const float x[@FEATURES], float p[@OUTPUTS]);\n"
        )
    return prefixed(
        put(
            HEADER,
            name=name.file,
            version=__version__,
            features=student.n_features,
            step=step_text(student),
            inputs=student.n_inputs if student.kind == "mlp" else "(@STEPS * @FEATURES)",
            outputs=student.n_outputs,
            more=more,
            functions=functions,
        ),
        name,
    )
