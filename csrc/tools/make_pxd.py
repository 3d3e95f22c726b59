"""Writes fastkd_core.pxd, the declarations for Cython, from fastkd.h and fastkd_kernels.h.

setup.py does so before each build; by hand: python csrc/tools/make_pxd.py. The headers are plain enough to be read by
regular expressions: numbers, enums, structs and unions with nothing inside, and FKD_KERNEL(result, name, (arguments)).
"""

import re
from collections.abc import Iterable
from pathlib import Path

HEAD = '''# Made by tools/make_pxd.py from fastkd.h and fastkd_kernels.h, which explain it. `cimport fastkd_core` with
# fastkd.get_include() on the include path. Each kernel comes twice: as a typed pointer in the table, and as a function
# for both types: kernel(table, single, ...) calls table.f32.kernel if single, else table.f64.kernel, and takes `void *`
# for pointers to reals and to targets, which must be of that type.
from libc.stdint cimport int32_t, int64_t, uint16_t

cdef extern from "fastkd.h" nogil:
'''
TYPES = {"f32": "float", "f64": "double"}


def fields(body: str, numbers: dict[str, int]) -> list[str]:
    """Declarations of a struct's body, one a line, with array sizes as numbers."""
    lines = []
    for declaration in filter(None, map(str.strip, body.split(";"))):
        if pointer := re.fullmatch(r"(\w+) \(\*(\w+)\)\((.*)\)", declaration, re.S):  # to a function
            lines.append(f"{pointer[1]} (*{pointer[2]})({unnamed(pointer[3])}) noexcept nogil")
            continue
        kind, names = re.fullmatch(r"((?:const )?\w+) (.*)", declaration, re.S).groups()
        for name in names.split(", "):
            size = re.search(r"\[(.*)\]", name)
            lines.append(f"{kind} {name}" if not size else f"{kind} {name[: size.start()]}[{value(size[1], numbers)}]")
    return lines


def struct(name: str, lines: Iterable[str]) -> list[str]:
    return ["", f"    ctypedef struct {name}:", *(f"        {line}" for line in lines)]


def value(expression: str, numbers: dict[str, int]) -> int:
    return sum(numbers[part] if part in numbers else int(part) for part in expression.split(" + "))


def arguments(text: str) -> list[tuple[str, str]]:
    """(type, name) of each."""
    parts = (re.fullmatch(r"(.*?)(\w+)", part, re.S).groups() for part in re.split(r",\s*", text))
    return [(kind.strip(), name) for kind, name in parts]


def unnamed(text: str) -> str:
    return ", ".join(kind for kind, _ in arguments(text))


def typed(text: str, suffix: str) -> str:
    return text.replace("fkd_real", TYPES[suffix]).replace("fkd_targets", f"fkd_targets_{suffix}")


def for_both(result: str, name: str, args: list[tuple[str, str]]) -> str:
    """An inline function that calls the kernel of one type or the other."""
    erased = [(re.sub("fkd_real|fkd_targets", "void", kind), name) for kind, name in args]
    outer = ", ".join(["const fkd_table *table", "bint single", *(f"{kind} {name}" for kind, name in erased)])
    back = "return " if result != "void" else ""
    calls = []
    for suffix in TYPES:
        passed = (f"<{typed(kind, suffix)}>{arg}" if (kind, arg) not in erased else arg for kind, arg in args)
        calls.append(f"{back}table.{suffix}.{name}({', '.join(passed)})")
    lines = [f"cdef inline {result} {name}({outer}) noexcept nogil:"]
    lines += ["    if single:", f"        {calls[0]}", "    else:", f"        {calls[1]}"]
    return "\n".join(lines)


def make(folder: Path) -> str:
    """The text of fastkd_core.pxd."""
    texts = ((folder / name).read_text(encoding="utf-8") for name in ("fastkd.h", "fastkd_kernels.h"))
    header, kernels = (re.sub(r"/\*.*?\*/", "", text, flags=re.S) for text in texts)
    numbers = {name: int(text) for name, text in re.findall(r"#define (FKD_\w+) +(\d+)", header)}
    names = [*numbers, *re.findall(r"(FKD_\w+) = -?\d+", header)]
    listed = re.findall(r"FKD_KERNEL\((\w+), (\w+), \((.*?)\)\)", kernels, re.S)
    structs = re.findall(r"typedef (?:struct|union) \{([^{}#]*)\} (\w+);", header)
    lines = ["    enum:", *(f"        {name}" for name in names)]
    for body, name in structs[:-1]:
        for suffix, real in TYPES.items() if name == "name" else [("", "")]:  # the macro FKD_TARGETS(real, name)
            text = re.sub(r"\breal\b", real, body.replace("\\\n", "")) if suffix else body
            lines += struct(f"fkd_targets_{suffix}" if suffix else name, fields(text, numbers))
    for suffix in TYPES:
        pointers = (f"{result} (*{name})({typed(unnamed(args), suffix)})" for result, name, args in listed)
        lines += struct(f"fkd_kernels_{suffix}", (f"{pointer} noexcept nogil" for pointer in pointers))
    lines += struct("fkd_table", fields(structs[-1][0], numbers))
    lines += ["", *(f"    {line}" for line in re.findall(r"^([^#\n]*fkd_get_table\(.*\));", header, re.M))]
    return HEAD + "\n".join([*lines, "", *(for_both(r, n, arguments(a)) + "\n" for r, n, a in listed)])


def write(folder: Path) -> None:
    """Writes it unless it is there already: a new date would mean a new build."""
    path, text = folder / "fastkd_core.pxd", make(folder)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[1])
