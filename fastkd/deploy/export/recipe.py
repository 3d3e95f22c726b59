"""The recipe of features as C: the core's own text (candles.inc.h, feed.inc.h), with its logarithm and square root.

The library computes features with the same lines, so the float64 bits agree where nothing is contracted or reordered.
"""

from __future__ import annotations

import math
import os
import re
from typing import Any

import numpy as np

from fastkd.deploy.export.student import ExportError
from fastkd.deploy.export.text import table

MATHS = """\
/* The square root, rounded correctly, without libm. */
static double $sqrt(double x)
{
#if defined(__SSE2__) && !defined(@SOFT_SQRT)
    const __m128d v = _mm_set_sd(x);
    return _mm_cvtsd_f64(_mm_sqrt_sd(v, v));
#elif defined(__aarch64__) && !defined(@SOFT_SQRT)
    return vget_lane_f64(vsqrt_f64(vdup_n_f64(x)), 0);
#else
    uint64_t u;
    uint64_t m;
    uint64_t q = 0u;
    uint64_t s = 0u;
    int64_t e;
    (void)memcpy(&u, &x, sizeof u);
    if ((u << 1) == 0u) { return 0.0; }
    e = (int64_t)(u >> 52) - 1023;
    m = ((u & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x0010000000000000)) << (((e & 1) != 0) ? 2 : 1);
    for (uint64_t r = UINT64_C(1) << 53; r != 0u; r >>= 1) {
        const uint64_t t = s + r;
        if (t <= m) {
            s = t + r;
            m -= t;
            q += r;
        }
        m += m;
    }
    q += (m != 0u) ? (q & 1u) : 0u;
    u = (q >> 1) + ((uint64_t)((e >> 1) + 1022) << 52);
    (void)memcpy(&x, &u, sizeof x);
    return x;
#endif
}

/* The natural logarithm of a positive finite number, operation by operation that of the library. */
static double $log(double x)
{
    static const double R[8] = {0.66666666666666666465, 0.40000000000000877606, 0.28571428570803230015,
                                0.22222222391800469329, 0.181817956308847532,   0.15386240205813477879,
                                0.13268759668560612681, 0.1308676700994817376};
    const double root = 0.70710678118654752440;
    const double y = (x < 2.2250738585072014e-308) ? x * 18014398509481984.0 : x;
    int64_t half;
    int64_t bits;
    double m;
    double n;
    double p = R[7];
    (void)memcpy(&half, &root, sizeof half);
    (void)memcpy(&bits, &y, sizeof bits);
    bits -= half;
    n = (double)(bits >> 52);
    bits = (bits & INT64_C(0x000fffffffffffff)) + half;
    (void)memcpy(&m, &bits, sizeof m);
    n = (x < 2.2250738585072014e-308) ? n - 54.0 : n;
    {
        const double f = m - 1.0;
        const double s = f / (2.0 + f);
        const double z = s * s;
        const double h = 0.5 * f * f;
        for (int i = 6; i >= 0; --i) { p = (p * z) + R[i]; }
        p = (z * p) + h;
        return (n * 6.93147180369123816490e-1) + (f - (h - ((s * p) + (n * 1.90821492927058770002e-10))));
    }
}

"""
INCLUDES = """\
#include <float.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
"""
TYPES = ("fkd_recipe", "fkd_feed")
LOOP = "for (int i = 0; i < n; i += VL) vstore(x + i, vlog(vload(x + i), 0));"


def _text(file: str) -> str:
    import fastkd

    with open(os.path.join(fastkd.get_include(), file), encoding="utf-8") as source:
        return source.read()


def _piece(text: str, pattern: str, what: str) -> str:
    found = re.search(pattern, text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise ExportError(f"the core's sources have no {what}; please report this")
    return found[0]


def recipe_code(core: Any, step_ms: int, phase_ms: int, on_gap: int) -> tuple[str, int]:
    """Constants and functions down to `$candle_row` and `$candle_check`, and the words of a state."""
    kind, columns, warmup, volume_window, horizons, windows, n_others, limit, log1p = core.__reduce__()[1]
    header, candles, feed = _text("fastkd.h"), _text("candles.inc.h"), _text("feed.inc.h")
    kinds = {"ohlcv4": 0, "regime3": 1, "condense6": 2, "rich": 3}
    width = {"condense6": 7, "rich": 11 + 2 * n_others}.get(kind, 6)
    text = "".join(
        _piece(header, rf"^enum \{{ {first} =.*?\}};", first) + "\n"
        for first in ("FKD_OHLCV4", "FKD_RAISE", "FKD_NOT_AFTER")
    )
    text += "".join(_piece(header, rf"^typedef struct \{{[^}}]*\}} {name};", name) + "\n" for name in TYPES)
    for what, values in (("horizons", horizons), ("windows", windows)):
        numbers = ", ".join(str(int(n)) for n in values) or "1"
        text += f"static const int64_t ${what}[{max(len(values), 1)}] = {{{numbers}}};\n"
    if kind == "rich":
        scales = [1.0 / (2.0**50 * divisor * w) for w in windows for divisor in (1.0, 4.0 * math.log(2.0), 1.0)]
    else:
        scales = [1.0 / (2.0**50 * volume_window)]
    text += table("double", "scales", np.array(scales), lambda v: f"{float(v):.17g}")
    limit_text = "DBL_MAX" if limit >= 1.7976931348623157e308 else f"{limit:.17g}"
    numbers = f"{columns}, {warmup}, {width}, {volume_window}, {len(horizons)}, {len(windows)}, {n_others}"
    options = f"{kinds[kind]}, {int(log1p)}, {limit_text}"
    text += (
        f"static const fkd_feed $FEED = {{{{{options}, {numbers}, $horizons, $windows, $scales}},\n"
        f"                               INT64_C({step_ms}), INT64_C({phase_ms}), {on_gap}, 0, 0}};\n\n"
    )
    body = candles[candles.index("*/") + 2 :].replace(LOOP, "for (int i = 0; i < n; ++i) { x[i] = vlog(x[i], 0); }")
    body = re.sub(r"^#if VL == .*?^#else\n(.*?)^#endif\n", r"\1", body, flags=re.DOTALL | re.MULTILINE)  # one lane
    body = re.sub(r"\bvlog\((\w+(?:\[i\])?), 0\)", r"$log(\1)", body)
    body = body.replace(_piece(body, r"^static int64_t fkd_candle_state\(.*?\}\n", "size of a state"), "")
    latest = _piece(feed, r"^#define LATEST_MS.*?\n", "latest start")
    check = _piece(feed, r"^static int fkd_candle_check\(.*?^\}\n", "check of a candle")
    check = re.sub(r"^  fetch_ahead\(.*?\n", "", check, flags=re.MULTILINE)
    for vector in ("vlog", "vload", "vstore", "VL", "fetch_ahead"):
        if re.search(rf"\b{vector}\b", body + check):
            raise ExportError(f"the core's sources use {vector} where an export has none; please report this")
    text += MATHS + body + "\n" + latest + check
    text = re.sub(r"(?<!\$)\b(sqrt|fabs)\(", r"$\1(", text)
    if "$fabs(" in text:
        text = "static inline double $fabs(double x)\n{\n    return (x < 0.0) ? -x : x;\n}\n\n" + text
    text = re.sub(r"\bfkd_", "$", text)
    functions = set(re.findall(r"^static (?:inline )?\w+ \*?([a-z]\w*)\(", text, re.MULTILINE))
    for function in functions:
        text = re.sub(rf"(?<![\w$.>]){function}\(", f"${function}(", text)
    macros = set(re.findall(r"^#define (\w+)", text, re.MULTILINE))
    macros |= set(re.findall(r"\b(?:S|R|FKD)_[A-Z0-9_]+\b", text))
    for macro in sorted(macros, key=len, reverse=True):
        text = re.sub(rf"(?<![\w@]){macro}\b", f"@{macro}", text)
    fixed = _piece(candles, r"^enum \{ S_COUNT.*?S_SUMS", "layout of a state").count(",")
    return text, fixed + 3 * len(windows) + (warmup + 1) * width
