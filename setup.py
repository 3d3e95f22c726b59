"""Builds the one compiled module; everything else about the package is in pyproject.toml.

FASTKD_WERROR=1 makes warnings errors. `pip install -v` shows each unit as it is done.
"""

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

# csrc/cflags has the flags, for the tests of the core, too. fp-contract off: a fused multiply-add the compiler slips
# in would change the bits from one ISA to the next.
CORE_FLAGS = Path("csrc/cflags").read_text().split()
WARNINGS = ["-Wall", "-Wextra", "-Werror"] if os.environ.get("FASTKD_WERROR") else []
EXTRA = os.environ.get("FASTKD_CFLAGS", "").split()  # sanitizers, as in .ci/fuzz.sh: they keep the symbols
WINDOWS = sys.platform == "win32"
# One binary serves every Python from 3.12 on, but for those without a GIL: they have no stable ABI before 3.15. That of
# 3.11 lacks the quick way of calls (vectorcall): softmax of one row took 13 % longer, predict_proba 7 %.
STABLE_ABI = sys.version_info >= (3, 12) and sys.implementation.name == "cpython"
STABLE_ABI = STABLE_ABI and not sysconfig.get_config_var("Py_GIL_DISABLED")


class Build(build_ext):
    """Compiles the units side by side, since each takes as long as all others together; on Windows the core by clang.

    MSVC has no vectors of GNU's kind, so that it can compile the one-lane kernels only: 3 to 28 times slower than AVX2.
    clang compiles for MSVC's linker, and comes with Visual Studio's Build Tools and with GitHub's Windows machines.
    """

    def build_extensions(self):
        compile_in_turn = self.compiler.compile
        if not getattr(self.compiler, "initialized", True):
            self.compiler.initialize(self.plat_name)  # MSVC: not once in each thread
        clang = shutil.which("clang") if self.compiler.compiler_type == "msvc" else None
        if self.compiler.compiler_type == "msvc" and not clang:
            self.warn("no clang on the path: the kernels are built for one lane only, 3 to 28 times slower than AVX2")

        def compile_unit(source, options):
            start = time.monotonic()
            if clang and Path(source).parent.name == "csrc":
                objects = self.compiler.object_filenames([source], output_dir=options["output_dir"])
                Path(objects[0]).parent.mkdir(parents=True, exist_ok=True)
                machine = {"win-amd64": "x86_64", "win-arm64": "aarch64"}[self.plat_name]
                target = [clang, f"--target={machine}-pc-windows-msvc", *CORE_FLAGS, *WARNINGS]
                subprocess.run([*target, "-Icsrc", "-c", source, "-o", objects[0]], check=True)
            else:
                objects = compile_in_turn([source], **options)
            print(f"compiled {source} in {time.monotonic() - start:.0f} s", flush=True)
            return objects

        def compile_in_parallel(sources, **options):
            # the longest first: the bindings, and the widest vectors
            order = sorted(sources, key=lambda source: -Path(source).stat().st_size)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return sorted(chain.from_iterable(pool.map(lambda source: compile_unit(source, options), order)))

        self.compiler.compile = compile_in_parallel
        super().build_extensions()

    def copy_extensions_to_source(self):
        """Beside a module of the stable ABI, one for this Python alone would be the one that is imported."""
        for ext in self.extensions:
            new = Path(self.get_ext_fullpath(ext.name)).resolve()
            for old in {*new.parent.glob("_native*.so"), *new.parent.glob("_native*.pyd")} - {new}:
                old.unlink()
        super().copy_extensions_to_source()


runpy.run_path("csrc/tools/make_pxd.py")["write"](Path("csrc"))  # fastkd_core.pxd, from the header

macros = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_1_25_API_VERSION")]
native = Extension(
    "fastkd._core._native",
    sources=["fastkd/_core/_native.pyx", *sorted(map(str, Path("csrc").glob("*.c")))],
    depends=sorted(map(str, [*Path("csrc").glob("*.h"), *Path("fastkd/_core").glob("*.pxi"), Path("csrc/cflags")])),
    include_dirs=["csrc", numpy.get_include()],
    define_macros=macros + ([("Py_LIMITED_API", "0x030C0000")] if STABLE_ABI else []),
    py_limited_api=STABLE_ABI,
    extra_compile_args=[] if WINDOWS else CORE_FLAGS + WARNINGS + EXTRA,
    extra_link_args=EXTRA or (["-Wl,-s"] if sys.platform == "linux" else []),
)
setup(
    packages=[*find_packages(include=["fastkd", "fastkd.*"]), "fastkd.include"],
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp312"}} if STABLE_ABI else {},
    ext_modules=cythonize([native], include_path=["csrc"]),
)
