"""A FixedPredictor as C99: integers only, but for reading float features and giving float probabilities."""

from __future__ import annotations

from typing import Any

from fastkd._version import __version__
from fastkd.deploy.export.files import HEADER, about, step_text
from fastkd.deploy.export.fixed import FixedPredictor
from fastkd.deploy.export.fixed_dense import tables
from fastkd.deploy.export.fixed_net import FEATURE_LIMIT, GATE_BITS, POW2, SIGMOID, TANH, FixedNet
from fastkd.deploy.export.fixed_networks import network, state_type
from fastkd.deploy.export.fixed_text import (
    CLASSIFIER,
    LOOKUP,
    PUSH,
    REGRESSOR,
    SIGMOID_C,
    SOFTMAX,
    SOURCE,
    TANH_C,
)
from fastkd.deploy.export.fixed_vectors import fixed_vectors
from fastkd.deploy.export.snippets import guard
from fastkd.deploy.export.text import Name, indented, prefixed, put, table, whole


def _source(net: FixedNet, name: Name, facts: dict[str, Any]) -> tuple[str, int]:
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
    line = "$read(x, q);"
    if student.kind != "mlp":
        line = "for (int t = 0; t < @STEPS; ++t) { $read(x + (@FEATURES * t), q + (@FEATURES * t)); }"
    four = (
        "static inline int8x4_t $four(const int8_t *p)\n{\n    int8x4_t v;\n    (void)memcpy(&v, p, sizeof v);\n"
        "    return v;\n}\n"
    )
    text = put(
        SOURCE,
        name=name.file,
        version=__version__,
        bits=net.weight_bits,
        about=about(student, facts),
        four=four if net.weight_bits == 8 else "",
        tables=data,
        helpers=helpers,
        guard=guard(FEATURE_LIMIT),
        network=network(net),
        read=indented([line]),
        functions=(CLASSIFIER if classifier else REGRESSOR) + (PUSH if lstm else ""),
    )
    return prefixed(text, name), n_bytes


def _header(net: FixedNet, name: Name) -> str:
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
            f"{state_type(net)}void $reset($state *m);\n"
            "int $push_q($state *m, const int16_t x[@FEATURES], uint16_t p[@OUTPUTS]);\n"
            "int $push($state *m, const float x[@FEATURES], float p[@OUTPUTS]);\n"
        )
    return prefixed(
        put(
            HEADER,
            name=name.file,
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


def fixed_files(fixed: FixedPredictor, name: Name, vectors: Any) -> tuple[dict[str, str], dict[str, Any]]:
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
    texts = {
        f"{name.file}.c": source,
        f"{name.file}.h": _header(net, name),
        f"{name.file}_test.c": fixed_vectors(net, rows, name),
    }
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
