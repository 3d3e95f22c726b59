"""Builds the one compiled module; everything else about the package is in pyproject.toml."""

import os
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext


class ParallelBuild(build_ext):
    """Compiles the units of the extension side by side: each takes as long as all others together."""

    def build_extensions(self):
        compile_in_turn = self.compiler.compile

        def compile_in_parallel(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return [*chain.from_iterable(pool.map(lambda source: compile_in_turn([source], **options), sources))]

        self.compiler.compile = compile_in_parallel
        super().build_extensions()


# csrc/cflags has the flags, for the tests of the core, too. fp-contract off: a fused multiply-add the compiler slips
# in would change the bits from one ISA to the next.
if sys.platform == "win32":
    compile_args, link_args = ["/O2"], []
else:
    compile_args = Path("csrc/cflags").read_text().split()
    link_args = ["-Wl,-s"] if sys.platform == "linux" else []
    if os.environ.get("FASTKD_WERROR"):
        compile_args += ["-Wall", "-Wextra", "-Werror"]
    if flags := os.environ.get("FASTKD_CFLAGS", "").split():  # the last word, as sanitizers need it (.ci/fuzz.sh)
        compile_args, link_args = compile_args + flags, flags

runpy.run_path("csrc/tools/make_pxd.py")["write"](Path("csrc"))  # fastkd_core.pxd, from the header

native = Extension(
    "fastkd._core._native",
    sources=["fastkd/_core/_native.pyx", *sorted(map(str, Path("csrc").glob("*.c")))],
    depends=sorted(map(str, [*Path("csrc").glob("*.h"), *Path("fastkd/_core").glob("*.pxi")])),
    include_dirs=["csrc", numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_1_25_API_VERSION")],
    extra_compile_args=compile_args,
    extra_link_args=link_args,
)
setup(
    packages=[*find_packages(include=["fastkd", "fastkd.*"]), "fastkd.include"],
    cmdclass={"build_ext": ParallelBuild},
    ext_modules=cythonize([native], include_path=["csrc"]),
)
