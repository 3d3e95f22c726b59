"""Builds the one compiled module; everything else about the package is in pyproject.toml."""

import os
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

# fp-contract off: a fused multiply-add the compiler slips in would change the bits from one ISA to the next.
if sys.platform == "win32":
    compile_args, link_args = ["/O2"], []
else:
    compile_args = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    compile_args += ["-fvisibility=hidden"]
    link_args = ["-Wl,-s"] if sys.platform == "linux" else []
    if os.environ.get("FASTKD_WERROR"):
        compile_args += ["-Wall", "-Wextra", "-Werror"]

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
    ext_modules=cythonize([native], include_path=["csrc"]),
)
