"""Compiling and running what was generated: the checks of an export that need a C compiler."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fastkd.deploy.export.student import ExportError

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wdouble-promotion"]
WARNINGS += ["-pedantic", "-Werror"]
C_WARNINGS = ["-Wstrict-prototypes", "-Wmissing-prototypes"]
SANITIZE = ["-fsanitize=undefined,address,float-cast-overflow", "-fno-sanitize-recover=all"]
TIMEOUT = 300


@dataclass(frozen=True)
class Compiler:
    """A command such as ("arm-none-eabi-gcc", "-mcpu=cortex-m4"), and whether this machine runs what it makes."""

    command: tuple[str, ...]
    native: bool
    version: str

    def __str__(self) -> str:
        return f"{' '.join(self.command)} ({self.version})"


def find_compiler(cc: str | None) -> Compiler | None:
    """The compiler `cc`, or the first of $CC, cc, gcc and clang that is there; None if there is none.

    Raises
    ------
    ExportError
        If `cc` is given and is not there.
    """
    wanted = [cc] if cc is not None else [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    for text in wanted:
        command = shlex.split(text)
        if not command or shutil.which(command[0]) is None:
            continue
        target = _run([*command, "-dumpmachine"])
        version = _run([*command, "--version"])
        if target.returncode or version.returncode:
            continue
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
        first, *rest = target.stdout.strip().replace("arm64", "aarch64").split("-")
        native = first == machine and any(platform.system().lower() in part for part in rest)
        return Compiler(tuple(command), native, version.stdout.split("\n")[0])
    if cc is not None:
        raise ExportError(f"cc={cc!r} is no C compiler that answers to -dumpmachine, as gcc and clang do")
    return None


def _run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=TIMEOUT, errors="replace")
    except subprocess.TimeoutExpired:
        raise ExportError(f"{' '.join(command)} was not done after {TIMEOUT} seconds") from None


@dataclass(frozen=True)
class Job:
    """One way to compile the source; the test is always compiled as plain C, so that its own arithmetic is exact."""

    label: str
    flags: tuple[str, ...]
    cxx: bool = False
    sanitize: bool = False


def jobs(prefix: str, forms: Iterable[int], strict: bool) -> list[Job]:
    """Every way in which a file must work; `strict` ones must be standard C99."""
    found = [Job("-O0", ("-std=c99", "-O0"))]
    found += [Job(f"LOOPS={f}", ("-std=c99", "-O2", f"-D{prefix}LOOPS={f}")) for f in forms]
    found.append(Job("sanitizers", ("-std=c99", "-O1", "-g"), sanitize=True))
    if not strict:
        found.append(Job("-O3 -march=native -ffast-math", ("-std=c11", "-O3", "-march=native", "-ffast-math")))
        found.append(Job("C++17", ("-std=c++17", "-O2"), cxx=True))
    return found


def compile_and_run(compiler: Compiler, folder: Path, name: str, work: list[Job]) -> dict[str, str]:
    """{label: what the test printed, or why it was left out} of every job.

    Raises
    ------
    ExportError
        If one does not compile without a warning, or its test fails; with the compiler's words.
    """
    with ThreadPoolExecutor(min(len(work), os.cpu_count() or 1)) as pool:
        return dict(zip([job.label for job in work], pool.map(lambda job: _one(compiler, folder, name, job), work)))


def _one(compiler: Compiler, folder: Path, name: str, job: Job) -> str:
    where = re.sub(r"\W", "_", job.label)
    built, program = f"{name}_{where}.o", str(folder / f"{name}_{where}.out")
    extra = SANITIZE if job.sanitize else []
    if job.sanitize and not _links(compiler, folder, extra):
        return "left out: this compiler has no sanitizers"
    if "-march=native" in job.flags and not _accepts(compiler, folder, "-march=native"):
        return "left out: this compiler has no -march=native"
    if job.cxx and not _accepts(compiler, folder, "-xc++"):
        return "left out: this compiler takes no C++"
    language = ["-x", "c++"] if job.cxx else C_WARNINGS
    for command in (
        [*compiler.command, *job.flags, *WARNINGS, *extra, *language, "-c", f"{name}.c", "-o", built],
        [*compiler.command, "-std=c99", "-O1", *WARNINGS, *extra, built, f"{name}_test.c", "-o", program],
    ):
        done = _run(command, folder)
        if done.returncode:
            raise ExportError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    done = _run([program])
    if done.returncode:
        raise ExportError(f"the test of {name}.c fails ({job.label}): {done.stdout.strip()} {done.stderr[-2000:]}")
    return done.stdout.strip()


def _links(compiler: Compiler, folder: Path, flags: list[str]) -> bool:
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    return _run([*compiler.command, *flags, "probe.c", "-o", "probe.out"], folder).returncode == 0


def _accepts(compiler: Compiler, folder: Path, flag: str) -> bool:
    probe = folder / "flag.c"
    probe.write_text("int answer(void);\nint answer(void) { return 0; }\n")
    return _run([*compiler.command, flag, "-c", "flag.c", "-o", "flag.o"], folder).returncode == 0


def sizes(compiler: Compiler, folder: Path, name: str) -> dict[str, int]:
    """Bytes of code and constants, of writable memory, and at most of stack, at -O2; without what cannot be measured.

    Raises
    ------
    ExportError
        If the file does not compile, or holds memory that is written to.
    """
    stack = ["-fstack-usage"] if _accepts(compiler, folder, "-fstack-usage") else []
    command = [*compiler.command, "-std=c99", "-O2", *WARNINGS, *C_WARNINGS, *stack, "-c", f"{name}.c", "-o", "sized.o"]
    done = _run(command, folder)
    if done.returncode:
        raise ExportError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, int] = {}
    usage = folder / "sized.su"
    if stack and usage.exists():
        found["stack_bytes"] = sum(int(line.split("\t")[1]) for line in usage.read_text().splitlines())
    tool = re.sub(r"(gcc|clang|cc)(-[\d.]+)?$", "size", compiler.command[0])
    if shutil.which(tool) is not None and tool != compiler.command[0]:
        measured = _run([tool, "sized.o"], folder)
        if measured.returncode == 0:
            text, data, bss = (int(word) for word in measured.stdout.split("\n")[1].split()[:3])
            found |= {"text_and_rodata_bytes": text, "static_ram_bytes": data + bss}
            if data + bss:
                raise ExportError(f"{name}.c holds {data + bss} bytes that are written to; it must hold none")
    return found
