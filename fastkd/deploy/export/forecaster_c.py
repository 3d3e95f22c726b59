"""A whole Forecaster as C99: closed candle in, the recipe with the library's float64 bits, network, forecast out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastkd._version import __version__
from fastkd.deploy.export.bounds import largest_feature
from fastkd.deploy.export.files import HEADER, source
from fastkd.deploy.export.maths import softmax32
from fastkd.deploy.export.networks import n_logits, twin
from fastkd.deploy.export.recipe import INCLUDES, recipe_code
from fastkd.deploy.export.snippets import framed
from fastkd.deploy.export.student import ExportError, read_student
from fastkd.deploy.export.text import Name, hexadecimal, prefixed, put, table
from fastkd.losses import softmax

TOLERANCE = 2e-6
ON_GAP = {"raise": 0, "reset": 1, "bridge": 2}

FUNCTIONS = """\
/* The recipe keeps its bits under every flag of gcc, and of clang without -ffast-math. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("no-fast-math", "fp-contract=off")
#endif
<<recipe>>
int $features($state *m, const $candle *c, double row[@FEATURES])
{
    const double given[5] = {c->open, c->high, c->low, c->close, c->volume};
    int code;
    for (int i = 0; i < 5; ++i) { /* on bits, which no flag removes */
        uint64_t u;
        (void)memcpy(&u, given + i, sizeof u);
        if ((u & UINT64_C(0x7ff0000000000000)) == UINT64_C(0x7ff0000000000000)) { return @FKD_IMPOSSIBLE; }
    }
    code = $candle_check(&$FEED, m->words, c);
    if (code < 0) { return code; }
    if ((code != 0) && ($FEED.on_gap == @FKD_RESET)) { $reset(m); }
    return ($candle_row(&$FEED.recipe, m->words, c, 0, row) != 0) ? 0 : 1;
}

static void $scale(const double row[], float x[])
{
    for (int i = 0; i < @FEATURES; ++i) { x[i] = (float)((row[i] - $OFFSET[i]) / $SPREAD[i]); }
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

void $reset($state *m)
{
    (void)memset(m, 0, sizeof *m);
}

int $push($state *m, const $candle *c, float p[@OUTPUTS])
{
    double row[@FEATURES];
    float x[@FEATURES];
    float z[<<logits>>];
    const int code = $features(m, c, row);
    (void)$nothing(p);
    if (code != 0) { return code; }
    $scale(row, x);
    if ($refused(x, @FEATURES) != 0) { return -5; }
    $forward(x, z);
    <<answer>>
    return 0;
}
"""
DECLARED = """\
/* A closed candle: its start in UTC milliseconds, prices and volume. */
typedef struct {
    int64_t start_ms;
    double open, high, low, close, volume;
} $candle;

typedef union {
    int64_t i;
    double d;
} $word;

/* All that is remembered of the candles so far; one market each, one caller at a time. */
typedef struct {
    $word words[<<words>>];
} $state;

/* Before the first candle, and to begin anew. */
void $reset($state *m);

/* The next closed candle of <<interval>>. Returns
 *   0   p holds <<what>>
 *   1   windows are filling, for the first <<warmup>> candles
 *  -1   it is not later than the last           -2   it is impossible, or holds NaN or infinity
 *  -3   it starts off the grid of the interval  -4   candles are missing before it
 *  -5   a feature is too large for the network (the candle has been taken)
 * p is NaN unless 0. -1 to -4 leave the state as it was. Missing candles: <<gap>>. */
int $push($state *m, const $candle *c, float p[@OUTPUTS]);

/* The same up to the features, before scaling: the bits of fastkd's. Either this or $push takes a candle. */
int $features($state *m, const $candle *c, double row[@FEATURES]);
"""
GAPS = {"raise": "refused with -4", "reset": "all begins anew with the candle after them", "bridge": "stepped over"}
TEST = """\
/* <<name>>_test.c: written by fastkd <<version>>; do not edit. Features must agree in every bit, <<what>>.
 * cc -std=c99 <<name>>.c <<name>>_test.c && ./a.out returns 0; with -D@QUIET it prints nothing and needs no printf. */
<<includes>>#define CANDLES <<candles>>
#define WARMUP <<warmup>>
<<tables>>
<<helpers>>int main(void)
{
    static const uint64_t refused[4] = {UINT64_C(0x7ff8000000000000), UINT64_C(0x7ff0000000000000),
                                        UINT64_C(0xfff0000000000000), UINT64_C(0xbff0000000000000)};
    static $state m;
    static $state f;
    static $state before;
    float p[@OUTPUTS];
    double worst = 0.0;
    $reset(&m);
    $reset(&f);
    for (int k = 0; k < CANDLES; ++k) {
        double row[@FEATURES];
        $candle c;
        $candle bad;
        c.start_ms = starts[k];
        c.open = prices[k][0];
        c.high = prices[k][1];
        c.low = prices[k][2];
        c.close = prices[k][3];
        c.volume = prices[k][4];
        before = m;
        for (int i = 0; i < 5; ++i) { /* what is no candle changes nothing */
            double *const at[5] = {&bad.open, &bad.high, &bad.low, &bad.close, &bad.volume};
            bad = c;
            (void)memcpy(at[i], &refused[(k + i) % 4], sizeof(double));
            check($push(&m, &bad, p) == -2);
            check(all_nan(p));
        }
        bad = c;
        bad.start_ms = starts[0] - 1;
        check((k == 0) || ($push(&m, &bad, p) == -1));
        bad.start_ms = starts[k] + 1;
        check($push(&m, &bad, p) == -3);
        check(memcmp(&m, &before, sizeof m) == 0);
        check($features(&f, &c, row) == ((k < WARMUP) ? 1 : 0));
        check($push(&m, &c, p) == ((k < WARMUP) ? 1 : 0));
        if (k < WARMUP) {
            check(all_nan(p));
            continue;
        }
        check(memcmp(row, bits[k - WARMUP], sizeof row) == 0);
        for (int o = 0; o < @OUTPUTS; ++o) {
<<compare>>        }
    }
#ifndef @QUIET
    (void)printf("%d candles, largest error %.3g, %d wrong\\n", CANDLES, worst, wrong);
#endif
    return ((wrong != 0) || (worst > <<tolerance>>)) ? 1 : 0;
}
"""
NEAR = """\
            const double e = ((double)p[o] - expected[k - WARMUP][o]) / unit[o];
            const double a = (e < 0.0) ? -e : e;
            worst = (a > worst) ? a : worst;
"""
BITS = """\
            uint32_t u;
            (void)memcpy(&u, p + o, sizeof u);
            check(u == expected[k - WARMUP][o]);
"""


def _candles(forecaster: Any, vectors: Any, step_ms: int) -> Any:
    """Candles for the test: as given, of the forecaster's interval and without gaps, or drawn for so many forecasts."""
    from fastkd.market import Candles, synthetic_market

    if isinstance(vectors, Candles):
        if str(vectors.interval) != str(forecaster.interval):
            raise ValueError(f"vectors must be candles of {forecaster.interval}; got {vectors.interval}")
        late = np.flatnonzero(np.diff(vectors.start_ms) != step_ms)
        if len(late):
            raise ValueError(f"vectors must have no gaps; candles are missing after number {late[0]}: take a part")
        return vectors
    if isinstance(vectors, bool) or not isinstance(vectors, (int, np.integer)) or vectors < 1:
        raise ValueError(
            f"vectors of a forecaster must be Candles or a number of forecasts, at least 1; got {vectors!r}"
        )
    return synthetic_market(int(vectors) + forecaster.features.n_warmup, random_state=0, interval=forecaster.interval)


def forecaster_files(
    forecaster: Any, name: Name, vectors: Any, strict: bool, on_gap: str
) -> tuple[dict[str, str], dict[str, Any]]:
    """The texts of the three files, and what the report says of them."""
    from fastkd.market.grid import Grid

    if not hasattr(forecaster, "student_"):
        raise ExportError("this Forecaster is not fitted; call fit first")
    features, grid = forecaster.features, Grid(forecaster.interval)
    student = read_student(forecaster.student_)
    if student.kind != "mlp" or student.heads:
        raise ExportError(
            f"a forecaster is exported with an MLP; this one has a {student.origin}, which can be exported alone"
        )
    if features.symbols:
        raise ExportError("features of other symbols are not exported; fit a forecaster without them")
    if grid.step_ms is None:
        raise ExportError("months are no candles of one length")
    names = tuple(features.names)
    student = replace(student, feature_names=names)
    network = replace(student, mean=np.zeros(len(names)), scale=np.ones(len(names)))
    rounded = network.rounded()
    candles = _candles(forecaster, vectors, grid.step_ms)
    X, _ = features.transform(candles)
    if not len(X):
        raise ValueError(f"{len(candles)} candles give no forecast: more than {features.n_warmup} are needed")
    scaled = ((X - student.mean) / student.scale).astype(np.float32)
    classifier = student.classes is not None
    exact, near = student.outputs(X), twin(rounded, scaled)
    expected, bits = (softmax(exact), softmax32(near)) if classifier else (exact, near)
    unit = np.ones(student.n_outputs) if classifier else np.maximum(np.abs(expected).max(axis=0), np.finfo(float).tiny)
    tolerance = TOLERANCE * max(1.0, np.abs(exact).max() / 16) if classifier else 2 * TOLERANCE
    error = float(np.abs((bits - expected) / unit).max())
    if not error <= tolerance:
        raise ExportError(f"float32 differs from the float64 reference by {error:.2g}, more than {tolerance:.2g}")
    code, words = recipe_code(features.recipe.core, grid.step_ms, grid.start_ms(0), ON_GAP[on_gap])
    what = "probabilities" if classifier else "values"
    facts = {"Recipe": repr(features), "Interval": str(forecaster.interval), f"Largest error of {what}": f"{error:.2g}"}
    scales = table("double", "OFFSET", student.mean, lambda v: f"{float(v):.17g}")
    scales += table("double", "SPREAD", student.scale, lambda v: f"{float(v):.17g}")
    answer = "$softmax(z, p);" if classifier else "for (int o = 0; o < @OUTPUTS; ++o) { p[o] = z[o]; }"
    functions = put(FUNCTIONS, recipe=scales + "\n" + code, answer=answer, logits=n_logits(network))
    text = source(student, rounded, name, strict, facts, prefixed(functions, name), INCLUDES)
    declared = put(
        DECLARED, words=words, interval=forecaster.interval, what=what, warmup=features.n_warmup, gap=GAPS[on_gap]
    )
    head = put(HEADER, name=name.file, version=__version__, features=len(names), step="", inputs="@FEATURES")
    head = put(head, outputs=student.n_outputs, more="", functions=declared)
    test = framed(
        TEST,
        name=name.file,
        version=__version__,
        what="answers too" if strict else f"answers within {tolerance:.2g} of float64",
        candles=len(candles),
        warmup=features.n_warmup,
        tables=_tables(candles, X, expected, unit, bits if strict else None),
        compare=BITS if strict else NEAR,
        tolerance=tolerance,
    )
    return {
        f"{name.file}.c": text,
        f"{name.file}.h": prefixed(head, name),
        f"{name.file}_test.c": prefixed(test, name),
    }, {
        "target": "c-forecaster",
        "sha256": student.sha256,
        "rows": len(X),
        "error": "bitwise" if strict else error,
        "limit": largest_feature(rounded),
        "sizes": {"rodata_bytes": 4 * student.n_parameters, "state_bytes": 8 * words},
        "checks": {
            "features": f"{len(X)} rows of float64, every bit in the test",
            "NumPy twin against float64": f"{error:.2g} at most",
        },
    }


def _tables(candles: Any, X: np.ndarray, expected: np.ndarray, unit: np.ndarray, bits: np.ndarray | None) -> str:
    def exact(value: Any) -> str:
        return f"{float(value):.17g}"

    prices = np.column_stack([candles.open, candles.high, candles.low, candles.close, candles.volume])
    text = table("int64_t", "starts", candles.start_ms, lambda v: f"INT64_C({int(v)})", prefix="")
    text += table("double", "prices", prices, exact, prefix="")
    text += table("uint64_t", "bits", X.view(np.uint64), lambda v: f"UINT64_C(0x{int(v):016x})", prefix="")
    if bits is not None:
        return text + table("uint32_t", "expected", bits.view(np.uint32), hexadecimal, prefix="")
    return (
        text + table("double", "expected", expected, exact, prefix="") + table("double", "unit", unit, exact, prefix="")
    )


def is_forecaster(model: Any) -> bool:
    """Whether it is a Forecaster, without importing what stands to the right of this package."""
    return hasattr(model, "features") and hasattr(model, "labels") and hasattr(model, "student")
