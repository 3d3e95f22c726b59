"""Text of generated files: numbers that read back to the same bits, tables, comments nobody can break out of, names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fastkd.deploy.export.student import ExportError

WIDTH = 120
KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while alignas alignof and asm bool catch class compl concept constexpr decltype delete
explicit export false friend main module mutable namespace new noexcept not nullptr operator or
private protected public reg requires template this throw true try typeid typename using virtual
wire xor
"""


def check_name(name: str) -> str:
    """The name as a prefix of C symbols.

    Raises
    ------
    ExportError
        If it is no identifier, or a word of C, C++ or Verilog.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", name) or name in KEYWORDS.split():
        raise ExportError(f"name= must be a C identifier of at most 41 letters, digits and _, no keyword; got {name!r}")
    return name


def put(template: str, **parts: Any) -> str:
    """The template with each `<<part>>` in its place."""
    for part, value in parts.items():
        template = template.replace(f"<<{part}>>", str(value))
    return template


def prefixed(text: str, name: str) -> str:
    """`$` becomes the prefix of symbols, `@` that of macros."""
    return text.replace("$", f"{name}_").replace("@", f"{name.upper()}_")


def number(value: Any) -> str:
    """A float32 as a C constant that reads back to the same bits."""
    text = f"{np.float32(value):.9g}"
    return text + ("f" if any(sign in text for sign in ".en") else ".0f")


def whole(value: Any) -> str:
    return str(int(value))


def hexadecimal(value: Any) -> str:
    return f"0x{int(value):08x}u"


def wrapped(words: list[str], indent: str) -> str:
    """The words on lines of at most WIDTH columns."""
    lines, line = [], indent
    for word in words:
        if len(line) + len(word) + 1 > WIDTH and line != indent:
            lines.append(line.rstrip())
            line = indent
        line += word + " "
    return "\n".join([*lines, line.rstrip()])


def table(kind: str, name: str, values: Any, write: Callable[[Any], str] = number, prefix: str = "$") -> str:
    """`static const kind name[..] = {...};` of a 1-D or 2-D array."""
    array = np.asarray(values)
    dimensions = "".join(f"[{n}]" for n in array.shape)
    rows = [wrapped((", ".join(write(v) for v in row)).split(" "), "     ") for row in np.atleast_2d(array)]
    inside = ",\n".join(f"    {{{row.strip()}}}" for row in rows) if array.ndim == 2 else rows[0]
    return f"static const {kind} {prefix}{name}{dimensions} = {{\n{inside}\n}};\n"


def comment(value: Any) -> str:
    """Any JSON value as text inside a C comment."""
    text = json.dumps(value, ensure_ascii=True)
    for danger, harmless in (("*/", "* /"), ("/*", "/ *"), ("??", "? ?"), ("\\", "|"), ("@", "(at)"), ("$", "S")):
        text = text.replace(danger, harmless)
    return text.replace("<<", "< <")


def indented(lines: list[str], depth: int = 1) -> str:
    return "".join("    " * depth + line + "\n" for line in lines)
