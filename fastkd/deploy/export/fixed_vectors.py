"""The test of a fixed-point export: every bit of quantized features, probabilities and classes."""

from __future__ import annotations

import numpy as np

from fastkd._version import __version__
from fastkd.deploy.export.fixed_net import FixedNet
from fastkd.deploy.export.snippets import framed
from fastkd.deploy.export.text import Name, prefixed, table, whole

TEST = """\
/* <<name>>_test.c: written by fastkd <<version>>; do not edit. Every bit must agree.
 * cc -std=c99 <<name>>.c <<name>>_test.c && ./a.out returns 0; with -D@QUIET it prints nothing and needs no printf. */
<<includes>>#define ROWS <<rows>>
<<tables>>
<<helpers>>int main(void)
{
    static const uint32_t refused[6] = {0x7fc00000u, 0xffc00001u, 0x7f800001u, 0x7f800000u, 0xff800000u, 0x7f7fffffu};
    volatile int32_t negative = -3;
    float x[@INPUTS];
    float p[@OUTPUTS];
    check((negative >> 1) == -2);
    for (int k = 0; k < ROWS; ++k) {
        int16_t q[@INPUTS];
        <<kind>> u[@OUTPUTS];
        check($quantize(rows[k], q) == 0);
        check(memcmp(q, quantized[k], sizeof q) == 0);
        $<<predict>>_q(quantized[k], u);
        check($<<predict>>(rows[k], p) == 0);
        for (int c = 0; c < @OUTPUTS; ++c) {
            check(u[c] == expected[k][c]);
            check(memcmp(p + c, &floats[k][c], sizeof(float)) == 0);
        }
<<classify>>    }
    for (int i = 0; i < @INPUTS; ++i) { /* NaN, infinity and the absurd in every place */
        for (int v = 0; v < 6; ++v) {
            (void)memcpy(x, rows[0], sizeof x);
            (void)memcpy(x + i, &refused[v], sizeof(float));
            p[0] = 0.0f;
            check($<<predict>>(x, p) == 1);
            check(all_nan(p));
<<classify_refused>>        }
    }
<<more>>#ifndef @QUIET
    (void)printf("%d rows, %d wrong\\n", ROWS, wrong);
#endif
    return (wrong != 0) ? 1 : 0;
}
"""
PUSH = """\
    for (int k = 0; k < ROWS; ++k) { /* step by step: the bits of the window */
        $state s;
        $state before;
        uint16_t u[@OUTPUTS];
        $reset(&s);
        for (int t = 0; t < @STEPS; ++t) {
            check($push_q(&s, quantized[k] + (t * @FEATURES), u) == 0);
        }
        check(memcmp(u, expected[k], sizeof u) == 0);
        before = s;
        (void)memcpy(x, rows[k], sizeof x);
        (void)memcpy(x, &refused[k % 6], sizeof(float));
        check($push(&s, x, p) == 1);
        check(all_nan(p));
        check(memcmp(&s, &before, sizeof s) == 0);
        check($push(&before, rows[k], p) == 0);
        s.n = 32767;
        check($push_q(&s, quantized[k], u) == 1);
    }
"""


def fixed_vectors(net: FixedNet, X: np.ndarray, name: Name) -> str:
    """The test for rows X."""
    Q = net.quantize(X)
    classifier = net.student.classes is not None
    expected = net.proba(Q) if classifier else net.logits(Q)
    floats = expected.astype(np.float32) * np.float32(2.0**-15 if classifier else 2.0**-net.out_bits)
    kind = "uint16_t" if classifier else "int16_t"
    tables = table("float", "rows", X.reshape(len(X), -1), prefix="")
    tables += table("int16_t", "quantized", Q.reshape(len(X), -1), whole, prefix="")
    tables += table(kind, "expected", expected, whole, prefix="") + table("float", "floats", floats, prefix="")
    classify = classify_refused = ""
    if classifier:
        tables += table("int", "classes", net.logits(Q).argmax(axis=1), whole, prefix="")
        classify = "        check($classify_q(q) == classes[k]);\n        check($classify(rows[k]) == classes[k]);\n"
        classify_refused = "            check($classify(x) == -1);\n"
    text = framed(
        TEST,
        name=name.file,
        version=__version__,
        rows=len(X),
        tables=tables,
        kind=kind,
        predict="predict" if classifier else "value",
        classify=classify,
        classify_refused=classify_refused,
        more=PUSH if net.student.kind == "lstm" else "",
    )
    return prefixed(text, name)
