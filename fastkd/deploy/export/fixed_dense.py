"""A dense layer of integers in C, in three forms that give the same bits."""

from __future__ import annotations

import numpy as np

from fastkd.deploy.export.fixed_net import FixedLayer
from fastkd.deploy.export.text import indented, table, whole


def _interleaved(W: np.ndarray) -> np.ndarray:
    """Weights (outputs, inputs) in the order in which Arm's DSP instructions take them: 4 outputs side by side."""
    parts = []
    for first in range(0, len(W), 4):
        block = W[first : first + 4].reshape(-1, W.shape[1] // 4, 4)
        parts.append(block.transpose(1, 0, 2).ravel())
    return np.concatenate(parts)


def _has_dsp(layer: FixedLayer) -> bool:
    return layer.W.shape[0] % 4 == 0


def tables(k: str, layer: FixedLayer) -> str:
    """The constants that `dense` reads."""
    kind = f"int{layer.weight_bits}_t"
    text = table(kind, f"W{k}", layer.W.T, whole)
    if _has_dsp(layer):
        W = _interleaved(layer.W.T)
        if layer.weight_bits == 8:  # SXTB16 takes bytes 0 and 2, then 1 and 3
            W = W.reshape(-1, 4)[:, [0, 2, 1, 3]].ravel()
        else:  # all first pairs of a block, then all second ones
            n = [min(4, layer.W.shape[1] - o) for o in range(0, layer.W.shape[1], 4)]
            blocks, at = [], 0
            for count in n:
                size = count * layer.W.shape[0]
                block = W[at : at + size].reshape(-1, count, 2, 2)
                blocks.append(block.transpose(0, 2, 1, 3).ravel())
                at += size
            W = np.concatenate(blocks)
        text = f"#if @LOOPS != 2\n{text}#else\n{table(kind, f'S{k}', W, whole)}#endif\n"
    return (
        text
        + table("int32_t", f"B{k}", layer.B, whole)
        + table("int32_t", f"M{k}", layer.M << (32 - layer.down), whole)
    )


def dense(x: str, y: str, k: str, layer: FixedLayer, depth: int = 1) -> str:
    """Statements for y = saturated((x W + B) M >> down)."""
    n_in, n_out = layer.W.shape
    low = "0" if layer.activation == "relu" else "-32768"

    def put(o: str, s: str) -> str:
        return f"{y}[{o}] = $clipped($scaled({s}, $M{k}[{o}], {32 - layer.down}u), {low});"

    simple = [
        f"for (int o = 0; o < {n_out}; ++o) {{",
        f"    int32_t s = $B{k}[o];",
        f"    for (int i = 0; i < {n_in}; ++i) {{ s += (int32_t)$W{k}[o][i] * (int32_t){x}[i]; }}",
        f"    {put('o', 's')}",
        "}",
    ]
    fours, dsp = [], []
    whole_fours = n_out // 4 * 4
    blocks = ([("o", 4)] if whole_fours else []) + ([(str(whole_fours), n_out % 4)] if n_out % 4 else [])
    for first, count in blocks:
        head = f"for (int o = 0; o < {whole_fours}; o += 4) {{" if first == "o" else "{"
        at = [
            f"{first} + {j}" if first == "o" and j else (first if first == "o" else str(int(first) + j))
            for j in range(count)
        ]
        sums = [f"    int32_t s{j} = $B{k}[{at[j]}];" for j in range(count)]
        end = [f"    {put(at[j], f's{j}')}" for j in range(count)] + ["}"]
        fours += [head, *sums, f"    for (int i = 0; i < {n_in}; ++i) {{", f"        const int32_t v = {x}[i];"]
        fours += [f"        s{j} += (int32_t)$W{k}[{at[j]}][i] * v;" for j in range(count)]
        fours += ["    }", *end]
        start = f"({n_in} * o)" if first == "o" else str(n_in * whole_fours)
        dsp += [head, *sums, f"    const <<type>> *w = $S{k} + {start};"]
        dsp += [f"    for (int i = 0; i < {n_in}; i += 4, w += {4 * count}) {{"]
        dsp += [f"        const int16x2_t v = $two({x} + i);", f"        const int16x2_t u = $two({x} + i + 2);"]
        dsp += [f"        <<{j} of {count}>>" for j in range(count)]
        dsp += ["    }", *end]
    text = f"#if @LOOPS == 0\n{indented(simple, depth)}"
    if _has_dsp(layer):
        text += f"#elif @LOOPS == 2\n{indented(_with_instructions(dsp, layer), depth)}"
    return f"{text}#else\n{indented(fours, depth)}#endif\n"


def _with_instructions(lines: list[str], layer: FixedLayer) -> list[str]:
    """SMLAD on pairs: of int16 weights as they are, of int8 weights by SXTB16."""
    narrow = layer.weight_bits == 8
    found = []
    for line in lines:
        if "<<type>>" in line:
            found.append(line.replace("<<type>>", "int8_t" if narrow else "int16_t"))
        elif "<<" in line and " of " in line:
            j, count = (int(word) for word in line.strip().strip("<>").split(" of "))
            if narrow:
                found += [
                    f"        const int8x4_t w{j} = $four(w + {4 * j});",
                    f"        s{j} = __smlad(__sxtb16(w{j}), v, s{j});",
                    f"        s{j} = __smlad(__sxtb16((int8x4_t)((uint32_t)w{j} >> 8)), u, s{j});",
                ]
            else:
                found.append(f"        s{j} = __smlad($two(w + {2 * j}), v, s{j});")
                found.append(f"        s{j} = __smlad($two(w + {2 * (count + j)}), u, s{j});")
        else:
            found.append(line)
    return found
