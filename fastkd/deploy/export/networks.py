"""The networks as float32 C: tables and statements for MLP, LSTM and CNN, and their NumPy twin."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from fastkd.deploy.export.dense import dense, dense32, padded, weights
from fastkd.deploy.export.maths import ACTIVATE, gated32, relu32, sigmoid32
from fastkd.deploy.export.student import Layer, Student
from fastkd.deploy.export.text import indented, put, table

F32 = np.float32


def _loop(n: int, body: str, i: str = "i") -> str:
    return f"for (int {i} = 0; {i} < {n}; ++{i}) {{ {body} }}"


def _centered(student: Student, index: str, column: str) -> str:
    return f"x[{index}] - $MEAN[{column}]" if student.mean.any() else f"x[{index}]"


def tables(student: Student) -> str:
    """Every weight, padded as the loops want it."""
    text = table("float", "MEAN", student.mean) if student.mean.any() else ""
    text += table("float", "EDGE", student.edge) if student.edge.any() else ""
    for k, (W, b) in enumerate(student.body):
        text += weights(f"_body{k}", W, b)
    for k, layer in enumerate(student.layers):
        text += weights(str(k), *padded(*layer))
    for k, layer in enumerate(student.heads):
        text += weights(f"_exit{k}", *padded(*layer))
    return text


def n_logits(student: Student) -> int:
    """Floats that the last layer writes, its padding included."""
    return padded(*student.layers[-1])[0].shape[1]


def head_code(student: Student, x: str) -> str:
    """Dense layers from `x` to `z`; with exits, the statements after each hidden layer that may leave."""
    text = ""
    last = len(student.layers) - 1
    for k, (W, b) in enumerate(student.layers):
        wide = padded(W, b)[0].shape[1]
        y = "z" if k == last else f"h{k}"
        text += "" if k == last else f"    float h{k}[{wide}];\n"
        text += dense(x, y, str(k), W.shape, wide, "identity" if k == last else student.activation)
        if k < len(student.heads):
            shape = student.heads[k][0].shape
            text += "    if (early != 0) {\n" + dense(y, "z", f"_exit{k}", shape, n_logits(student), "identity", 2)
            text += f"        if ($confident(z, p, sure) != 0) {{ return {k}; }}\n    }}\n"
        x = y
    return text


def mlp_code(student: Student) -> str:
    """`$forward(x, z)`; with exits `$forward(x, z, early, sure, p)`, which says where it left."""
    x, n = "x", student.n_features
    text = ""
    if student.mean.any():
        text = f"    float a[{n}];\n    " + _loop(n, f"a[i] = {_centered(student, 'i', 'i')};") + "\n"
        x = "a"
    exits = ", int early, float sure, float p[]" if student.heads else ""
    gone = f"    return {len(student.heads)};\n" if student.heads else ""
    kind = "int" if student.heads else "void"
    return f"static {kind} $forward(const float x[], float z[]{exits})\n{{\n{text}{head_code(student, x)}{gone}}}\n"


def cnn_code(student: Student) -> str:
    T, K, widths = student.steps, student.kernel_size, student.widths
    left = (K - 1) // 2
    last = len(student.body) - 1
    lines = [f"float r{k}[{(T + K - 1) * n}];" for k, n in enumerate(widths[:-1])]
    lines += [f"float pool[{widths[-1]}];", f"float y{last}[{widths[-1]}];"]
    n = widths[0]
    edge = "$EDGE[i]" if student.edge.any() else "0.0f"
    lines += [
        f"for (int t = 0; t < {left}; ++t) {{ {_loop(n, f'r0[({n} * t) + i] = {edge};')} }}",
        f"for (int t = 0; t < {T}; ++t) {{",
        f"    {_loop(n, f'r0[({n} * (t + {left})) + i] = ' + _centered(student, f'({n} * t) + i', 'i') + ';')}",
        "}",
        f"for (int t = {T + left}; t < {T + K - 1}; ++t) {{ {_loop(n, f'r0[({n} * t) + i] = {edge};')} }}",
        _loop(widths[-1], "pool[i] = 0.0f;"),
    ]
    text = indented(lines)
    for k, (n_in, n_out) in enumerate(pairwise(widths)):
        if k < last:
            edges = [_loop(left * n_out, f"r{k + 1}[i] = 0.0f;")] if left else []
            if K - 1 - left:
                start = (T + left) * n_out
                edges.append(f"for (int i = {start}; i < {(T + K - 1) * n_out}; ++i) {{ r{k + 1}[i] = 0.0f; }}")
            text += indented(edges)
        text += indented([f"for (int t = 0; t < {T}; ++t) {{", f"    const float *const q = r{k} + ({n_in} * t);"])
        y = f"y{k}"
        if k < last:
            text += indented([f"float *const y{k} = r{k + 1} + ({n_out} * (t + {left}));"], 2)
        text += dense("q", y, f"_body{k}", (K * n_in, n_out), n_out, "relu", 2, often=True)
        if k == last:
            pooled = {
                "max": f"pool[i] = ({y}[i] > pool[i]) ? {y}[i] : pool[i];",
                "mean": f"pool[i] += {y}[i];",
                "last": f"pool[i] = {y}[i];",
            }[student.pooling]
            text += indented([_loop(n_out, pooled)], 2)
        text += "    }\n"
    if student.pooling == "mean":
        text += indented([_loop(widths[-1], f"pool[i] *= 1.0f / {T}.0f;")])
    return f"static void $forward(const float x[], float z[])\n{{\n{text}{head_code(student, 'pool')}}}\n"


STEP = """\
static void $step($state *m, const float x[])
{
<<layers>>    if (m->n < INT32_MAX) { m->n += 1; }
}

static void $head(const $state *m, float z[])
{
<<pool>><<head>>}

static void $forward(const float x[], float z[])
{
    $state m;
    $reset(&m);
    for (int t = 0; t < <<steps>>; ++t) { $step(&m, x + (<<features>> * t)); }
    $head(&m, z);
}
"""
RESET = """\
void $reset($state *m)
{
    (void)memset(m, 0, sizeof *m);
<<pool>>}

"""


def lstm_code(student: Student) -> str:
    units, last, widths = student.widths[1:], len(student.body) - 1, student.widths
    text = indented([_loop(widths[0], f"m->a0[i] = {_centered(student, 'i', 'i')};")])
    for k, (n_in, u) in enumerate(pairwise(widths)):
        text += indented([f"float z{k}[{4 * u}];"])
        text += dense(f"m->a{k}", f"z{k}", f"_body{k}", (n_in + u, 4 * u), 4 * u, "identity")
        text += indented(
            [
                f"for (int i = 0; i < {u}; ++i) {{",
                f"    const float c = ($sigmoid(z{k}[{u} + i]) * m->c{k}[i]) + $gated(z{k}[i], z{k}[{2 * u} + i]);",
                f"    m->c{k}[i] = c;",
                f"    m->a{k}[{n_in} + i] = $gated(z{k}[{3 * u} + i], c);",
                "}",
            ]
        )
        if k < last:
            text += indented([_loop(u, f"m->a{k + 1}[i] = m->a{k}[{n_in} + i];")])
    out, u = f"m->a{last}[{widths[-2]} + i]", units[-1]
    if student.pooling != "last":
        most = f"m->pool[i] = ({out} > m->pool[i]) ? {out} : m->pool[i];"
        text += indented([_loop(u, f"m->pool[i] += {out};" if student.pooling == "mean" else most)])
    pool, x, start = indented([f"const float *const h = m->a{last} + {widths[-2]};"]), "h", ""
    if student.pooling == "max":
        pool, x = "", "m->pool"
    if student.pooling == "mean":
        x = "pool"
        share = "const float share = 1.0f / (float)m->n;"
        pool = indented([f"float pool[{u}];", share, _loop(u, "pool[i] = m->pool[i] * share;")])
    if student.pooling == "max":
        start = indented([_loop(u, "m->pool[i] = -2.0f;")])
    text = put(STEP, layers=text, pool=pool, head=head_code(student, x), steps=student.steps, features=widths[0])
    return put(RESET, pool=start) + text


def state_type(student: Student) -> str:
    """The struct in the header that an LSTM keeps between steps."""
    lines = []
    for k, (n_in, u) in enumerate(pairwise(student.widths)):
        lines += [f"float a{k}[{n_in + u}]; /* LSTM layer {k}: input and output */", f"float c{k}[{u}]; /* its cell */"]
    if student.pooling != "last":
        lines.append(f"float pool[{student.widths[-1]}];")
    lines.append("int32_t n; /* steps since the reset */")
    return f"typedef struct {{\n{indented(lines)}}} $state;\n"


CODE = {"mlp": mlp_code, "lstm": lstm_code, "cnn": cnn_code}


def _dense_head(student: Student, x: np.ndarray, layers: tuple[Layer, ...]) -> np.ndarray:
    for k, (W, b) in enumerate(layers):
        x = dense32(x, W, b)
        if k + 1 < len(layers):
            x = ACTIVATE[student.activation](x)
    return x


def twin(student: Student, X: np.ndarray, exit: int | None = None) -> np.ndarray:
    """Logits or values of finite rows in float32: the bits of the C file's wide form, compiled as standard C99."""
    x = X.astype(F32)
    if student.mean.any():
        x = x - student.mean
    for W, b in student.body:
        x = _lstm32(x, W, b) if student.kind == "lstm" else _conv32(x, W, b, student)
        student = replace(student, edge=np.zeros(W.shape[1], F32))
    if student.body:
        x = _pool32(student.pooling, x)
    layers = student.layers if exit is None else (*student.layers[: exit + 1], student.heads[exit])
    return _dense_head(student, x, layers)


def _lstm32(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    u = len(b) // 4
    h, c = np.zeros((len(x), u), F32), np.zeros((len(x), u), F32)
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(dense32(np.concatenate([x[:, t], h], axis=1), W, b), 4, axis=1)
        c = sigmoid32(f) * c + gated32(i, g)
        h = gated32(o, c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def _conv32(x: np.ndarray, W: np.ndarray, b: np.ndarray, student: Student) -> np.ndarray:
    K, T, left = student.kernel_size, student.steps, (student.kernel_size - 1) // 2
    wide = np.empty((len(x), T + K - 1, x.shape[2]), F32)
    wide[...] = student.edge
    wide[:, left : left + T] = x
    patches = np.stack([wide[:, t : t + K].reshape(len(x), -1) for t in range(T)], axis=1)
    return relu32(dense32(patches.reshape(len(x) * T, -1), W, b)).reshape(len(x), T, -1)


def _pool32(pooling: str, x: np.ndarray) -> np.ndarray:
    if pooling == "mean":
        total = x[:, 0].copy()
        for t in range(1, x.shape[1]):
            total += x[:, t]
        return total * (F32(1) / F32(x.shape[1]))
    return x[:, -1] if pooling == "last" else x.max(axis=1)
