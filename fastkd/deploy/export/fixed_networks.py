"""The networks in integers: statements for MLP, LSTM and CNN."""

from __future__ import annotations

from itertools import pairwise

from fastkd.deploy.export.fixed_dense import dense
from fastkd.deploy.export.fixed_net import GATE_BITS, FixedNet
from fastkd.deploy.export.fixed_text import STEP
from fastkd.deploy.export.text import indented, put


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


def state_type(net: FixedNet) -> str:
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


def network(net: FixedNet) -> str:
    """`$forward(x, z)`, and of an LSTM what `$push` needs."""
    if net.student.kind == "mlp":
        return f"static void $forward(const int16_t x[], int16_t z[])\n{{\n{_head(net, 'x')}}}\n"
    return _lstm(net) if net.student.kind == "lstm" else _cnn(net)
