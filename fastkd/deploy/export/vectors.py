"""NAME_test.c: vectors with what they must give, and features to be refused; the program returns 0 or 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastkd._version import __version__
from fastkd.deploy.export.snippets import framed
from fastkd.deploy.export.student import Student
from fastkd.deploy.export.text import Name, hexadecimal, prefixed, put, table

SURE = 0.6  # what the test of early exits asks for

TEST = """\
/* <<name>>_test.c: written by fastkd <<version>>; do not edit. <<what>>
 * cc -std=c99 <<name>>.c <<name>>_test.c && ./a.out returns 0; with -D@QUIET it prints nothing and needs no printf. */
<<includes>>#define ROWS <<rows>>
<<tables>>
<<helpers>>static float of_bits(uint32_t u)
{
    float value;
    (void)memcpy(&value, &u, sizeof value);
    return value;
}

<<compare>>
int main(void)
{
    static const uint32_t refused[6] = {0x7fc00000u, 0xffc00001u, 0x7f800001u, 0x7f800000u, 0xff800000u, 0x7f7fffffu};
    float x[@INPUTS];
    float p[@OUTPUTS];
    double worst = 0.0;
    for (int k = 0; k < ROWS; ++k) {
        check($<<predict>>(rows[k], p) == 0);
        worst = compare(p, k, worst);
<<classify>>    }
    for (int i = 0; i < @INPUTS; ++i) { /* NaN, infinity and the absurd in every place */
        for (int v = 0; v < 6; ++v) {
            (void)memcpy(x, rows[0], sizeof x);
            x[i] = of_bits(refused[v]);
            p[0] = 0.0f;
            check($<<predict>>(x, p) == 1);
            check(all_nan(p));
<<classify_refused>>        }
    }
<<more>>#ifndef @QUIET
    (void)printf("%d rows, largest error %.3g, %d wrong\\n", ROWS, worst, wrong);
#endif
    return ((wrong != 0) || (worst > <<tolerance>>)) ? 1 : 0;
}
"""
NEAR = """\
/* the largest error so far; <<unit>> */
static double compare(const float p[], int k, double worst)
{
    for (int c = 0; c < @OUTPUTS; ++c) {
        const double e = ((double)p[c] - expected[k][c]) / unit[c];
        const double a = (e < 0.0) ? -e : e;
        check(is_nan(p[c]) == 0);
        worst = (a > worst) ? a : worst;
    }
    return worst;
}
"""
BITS = """\
/* every bit */
static double compare(const float p[], int k, double worst)
{
    for (int c = 0; c < @OUTPUTS; ++c) {
        uint32_t u;
        (void)memcpy(&u, p + c, sizeof u);
        check(u == bits[k][c]);
    }
    return worst;
}
"""
EARLY = """\
    for (int k = 0; k < ROWS; ++k) {
        const int left = $predict_early(rows[k], <<sure>>f, p);
        check((left >= 0) && ((exits[k] < 0) || (left == exits[k])));
    }
    check($predict_early(rows[0], of_bits(0x7fc00000u), p) == -1);
    check(all_nan(p));
"""
PUSH = """\
    for (int k = 0; k < ROWS; ++k) { /* step by step: the bits of the window */
        float q[@OUTPUTS];
        $state s;
        $state before;
        $reset(&s);
        for (int t = 0; t < @STEPS; ++t) {
            check($push(&s, rows[k] + (t * @FEATURES), p) == 0);
        }
        (void)$predict(rows[k], q);
        check(memcmp(p, q, sizeof p) == 0);
        before = s;
        (void)memcpy(x, rows[k], sizeof x);
        x[0] = of_bits(refused[k % 6]);
        check($push(&s, x, p) == 1);
        check(all_nan(p));
        check(memcmp(&s, &before, sizeof s) == 0);
    }
"""


def sure_rows(student: Student, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The exit that each row leaves at if it must be `SURE`, and whether rounding cannot change that."""
    from fastkd.losses import softmax

    exits, clear = np.full(len(X), len(student.heads)), np.ones(len(X), bool)
    for k in range(len(student.heads) - 1, -1, -1):
        top = softmax(student.outputs(X, k)).max(axis=1)
        exits[top >= SURE] = k
        clear &= np.abs(top - SURE) > 1e-4
    return exits, clear


def vectors_file(
    student: Student,
    X: np.ndarray,
    expected: np.ndarray,
    name: Name,
    bits: np.ndarray | None,
    unit: np.ndarray,
    tolerance: float,
) -> str:
    """The test for rows X, whose outputs are `expected` in float64, and must be `bits` if these are given."""
    classifier = student.classes is not None
    tables = table("float", "rows", X.reshape(len(X), -1), prefix="")
    more = classify = classify_refused = ""
    if bits is None:
        tables += table("double", "expected", expected, lambda v: f"{float(v):.17g}", prefix="")
        tables += table("double", "unit", unit, lambda v: f"{float(v):.17g}", prefix="")
        compare = put(NEAR, unit="of probabilities" if classifier else "in spreads of the outputs")
    else:
        tables += table("uint32_t", "bits", bits.view(np.uint32), hexadecimal, prefix="")
        compare = BITS
    if classifier:
        ordered = np.sort(expected, axis=1)
        clear = ordered[:, -1] - ordered[:, -2] > 1e-5 if expected.shape[1] > 1 else np.ones(len(X), bool)
        classes = np.where(clear, expected.argmax(axis=1), -1)  # -1: too close to say
        tables += table("int", "classes", classes, str, prefix="")
        classify = "        check((classes[k] < 0) || ($classify(rows[k]) == classes[k]));\n"
        classify_refused = "            check($classify(x) == -1);\n"
    if student.heads:
        exits, clear = sure_rows(student, X)
        tables += table("int", "exits", np.where(clear, exits, -1), str, prefix="")
        more += put(EARLY, sure=SURE)
    more += PUSH if student.kind == "lstm" else ""
    return prefixed(
        framed(
            TEST,
            name=name.file,
            version=__version__,
            what="Expected values are float64." if bits is None else "Every bit must agree.",
            rows=len(X),
            tables=tables,
            compare=compare,
            predict="predict" if classifier else "value",
            classify=classify,
            classify_refused=classify_refused,
            more=more,
            tolerance=tolerance,
        ),
        name,
    )


def vector_rows(student: Student, vectors: Any, drawn: np.ndarray | None = None) -> np.ndarray:
    """The rows of a test: as given, or so many of `drawn`, or drawn from the scaler."""
    if isinstance(vectors, (int, np.integer)) and not isinstance(vectors, bool):
        if vectors < 1:
            raise ValueError(f"vectors must be at least 1; got {vectors}")
        if drawn is None:
            return student.draw(int(vectors))
        return drawn[np.linspace(0, len(drawn) - 1, min(int(vectors), len(drawn))).astype(int)]
    rows = student.rows(vectors, "vectors")
    if not np.isfinite(rows).all():
        raise ValueError("vectors must be finite; NaN and infinity are tested in every place besides")
    return rows
