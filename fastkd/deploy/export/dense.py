"""A dense layer in C: three forms of the same loop, chosen by the preprocessor; and the NumPy twin of the first.

LOOPS 0 is for cores with SIMD: eight inputs a pass over contiguous outputs, which gcc and clang vectorize from -O2 on
without -ffast-math; its order of sums is the definition of a file's bits. LOOPS 1 keeps eight sums in registers, for
cores without SIMD. LOOPS 2 is for size.
"""

from __future__ import annotations

import numpy as np

from fastkd.deploy.export.maths import ACTIVATION
from fastkd.deploy.export.text import indented, table

# up to so many inputs the whole sum as one expression is faster: with clang; in convolutions also with gcc on AVX
UNROLL, UNROLL_OFTEN = 32, 48


def padded(W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs up to a multiple of 4 with zero weights: full SIMD registers of them."""
    more = -W.shape[1] % 4
    return np.pad(W, ((0, 0), (0, more))), np.pad(b, (0, more))


def _pairwise(terms: list[str]) -> str:
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2], strict=False)
        terms = [f"({a} + {b})" for a, b in pairs] + ([terms[-1]] if len(terms) % 2 else [])
    return terms[0]


def _sum8(x: str, W: str, first: int, count: int, moving: bool) -> str:
    at = [(f"i + {k}" if k else "i") if moving else str(first + k) for k in range(count)]
    return _pairwise([f"({x}[{i}] * {W}[{i}][o])" for i in at])


def _wide(x: str, y: str, W: str, b: str, n_in: int, n_out: int, activation: str, often: bool) -> list[str]:
    blocks, rest = n_in // 8, n_in % 8
    start = f"{b}[o]" + (f" + {_sum8(x, W, 8 * blocks, rest, False)}" if rest else "")
    act = ACTIVATION[activation]

    def at_once() -> list[str]:
        total = start
        for k in range(blocks):
            total = f"({total}) + {_sum8(x, W, 8 * k, 8, False)}"
        head = f"for (int o = 0; o < {n_out}; ++o) {{"
        return [head, f"    const float s = {total};", f"    {y}[o] = {act.format('s')};", "}"]

    in_passes = [
        f"for (int o = 0; o < {n_out}; ++o) {{ {y}[o] = {start}; }}",
        f"for (int i = 0; i < {8 * blocks}; i += 8) {{",
        f"    for (int o = 0; o < {n_out}; ++o) {{ {y}[o] += {_sum8(x, W, 0, 8, True)}; }}",
        "}",
    ]
    if activation != "identity":
        in_passes.append(f"for (int o = 0; o < {n_out}; ++o) {{ {y}[o] = {act.format(f'{y}[o]')}; }}")
    if n_in <= 8:
        return at_once()
    when = ["defined(__clang__)"] if n_in <= UNROLL else []
    when += ["(defined(__AVX__) && !defined(__clang__))"] if often and n_in <= UNROLL_OFTEN else []
    return [f"#if {' || '.join(when)}", *at_once(), "#else", *in_passes, "#endif"] if when else in_passes


def _narrow(x: str, y: str, W: str, b: str, n_in: int, n_out: int, activation: str) -> list[str]:
    after = activation in ("tanh", "gelu")
    act = "{0}" if after else ACTIVATION[activation]

    def block(first: str, count: int, head: str) -> list[str]:
        at = [f"{first} + {k}" if k else first for k in range(count)]
        lines = [head, *(f"    float s{k} = {b}[{at[k]}];" for k in range(count))]
        lines += [f"    for (int i = 0; i < {n_in}; ++i) {{", f"        const float v = {x}[i];"]
        lines += [f"        const float *const w = &{W}[i][{first}];"]
        lines += [*(f"        s{k} += v * w[{k}];" for k in range(count)), "    }"]
        return [*lines, *(f"    {y}[{at[k]}] = {act.format(f's{k}')};" for k in range(count)), "}"]

    whole, rest = n_out // 8 * 8, n_out % 8
    lines = block("o", 8, f"for (int o = 0; o < {whole}; o += 8) {{") if whole else []
    lines += block(str(whole), rest, "{") if rest else []
    if after:
        lines.append(f"for (int o = 0; o < {n_out}; ++o) {{ {y}[o] = {ACTIVATION[activation].format(f'{y}[o]')}; }}")
    return lines


def _small(x: str, y: str, W: str, b: str, n_in: int, n_out: int, activation: str) -> list[str]:
    return [
        f"for (int o = 0; o < {n_out}; ++o) {{",
        f"    float s = {b}[o];",
        f"    for (int i = 0; i < {n_in}; ++i) {{ s += {x}[i] * {W}[i][o]; }}",
        f"    {y}[o] = {ACTIVATION[activation].format('s')};",
        "}",
    ]


def dense(
    x: str, y: str, k: str, shape: tuple[int, int], wide_out: int, activation: str, depth: int = 1, often: bool = False
) -> str:
    """Loops for y = activation(x W<k> + B<k>); `wide_out` outputs with the padding, which only the wide form makes.

    `often` is for a layer that runs many times a call.
    """
    n_in, n_out = shape
    names = x, y, f"$W{k}", f"$B{k}"
    forms = [_wide(*names, n_in, wide_out, activation, often)]
    forms += [form(*names, n_in, n_out, activation) for form in (_narrow, _small)]
    texts = [indented(form, depth) for form in forms]
    text = f"#if @LOOPS == 0\n{texts[0]}#elif @LOOPS == 1\n{texts[1]}#else\n{texts[2]}#endif\n"
    return "\n".join(line.lstrip() if line.lstrip().startswith("#") else line for line in text.split("\n"))


def weights(k: str, W: np.ndarray, b: np.ndarray) -> str:
    """The tables that `dense` reads."""
    return table("float", f"W{k}", W) + table("float", f"B{k}", b)


def dense32(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x W + b in float32, with the sums of the wide form in its order."""
    blocks, rest = W.shape[0] // 8, W.shape[0] % 8

    def sum8(first: int, count: int) -> np.ndarray:
        terms = [x[:, i, None] * W[i] for i in range(first, first + count)]
        while len(terms) > 1:
            pairs = [p + q for p, q in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
        return terms[0]

    y = np.broadcast_to(b, (len(x), len(b))).astype(np.float32)
    if rest:
        y = y + sum8(8 * blocks, rest)
    for k in range(blocks):
        y = y + sum8(8 * k, 8)
    return y
