"""Text of generated files: numbers that read back to the same bits, tables, comments nobody can break out of, names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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
VERILOG_KEYWORDS = """
always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam design
disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable endtask event
for force forever fork function generate genvar highz0 highz1 if ifnone incdir include initial inout input instance
integer join large liblist library localparam macromodule medium module nand negedge nmos nor noshowcancelled not notif0
notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup pulsestyle_onevent pulsestyle_ondetect
rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled signed small specify
specparam strong0 strong1 supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1 triand trior trireg
unsigned use uwire vectored wait wand weak0 weak1 while wire wor xnor xor
"""


class Name(NamedTuple):
    """Stem of the files, and prefix of what is in them."""

    file: str
    prefix: str


def target_path(path: Any, suffix: str, name: str | None = None) -> tuple[Path, Name]:
    """The file to write, and the checked names: all of the file's stem, but for a prefix that `name` overrides.

    Raises
    ------
    ExportError
        If the prefix is no identifier, or a word of C, C++ or, of a Verilog file, Verilog.
    ValueError
        If the file has another suffix, or a stem that C could not include; FileNotFoundError if its folder is missing.
    """
    target = Path(path)
    if target.suffix != suffix:
        raise ValueError(f"the file must end in {suffix}; got {str(target)!r}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    prefix = target.stem if name is None else name
    words = VERILOG_KEYWORDS if suffix == ".v" else KEYWORDS
    if suffix == ".onnx":
        return target, Name(target.stem, prefix)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", prefix) or prefix in words.split():
        raise ExportError(
            f"name=, or else the file's stem, must be an identifier of at most 41 letters, digits and _, no keyword; "
            f"got {prefix!r}"
        )
    if not re.fullmatch(r"\w[\w.+-]*", target.stem, re.ASCII):
        raise ValueError(f"the file's stem must be of letters, digits, _, ., + and -; got {target.stem!r}")
    return target, Name(target.stem, prefix)


def put(template: str, **parts: Any) -> str:
    """The template with each `<<part>>` in its place."""
    for part, value in parts.items():
        template = template.replace(f"<<{part}>>", str(value))
    return template


def prefixed(text: str, name: Name) -> str:
    """`$` becomes the prefix of symbols, `@` that of macros."""
    return text.replace("$", f"{name.prefix}_").replace("@", f"{name.prefix.upper()}_")


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
