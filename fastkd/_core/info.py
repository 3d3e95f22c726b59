"""What this build of the core is, for `fastkd.isa` and reports about an installation."""

from __future__ import annotations

import platform
import sys
import warnings
from importlib.machinery import EXTENSION_SUFFIXES

import fastkd._core._native as _native

# machines for which csrc/ has vector kernels
_VECTORS = frozenset({"x86_64", "amd64", "aarch64", "arm64"})


def isa() -> str:
    """Name of the instruction set whose kernels are in use: "avx512", "avx2", "baseline" (SSE2), "neon" or "scalar".

    Warns
    -----
    RuntimeWarning
        If this build has the one-lane kernels only, although the machine has vectors.

    Examples
    --------
    >>> import fastkd
    >>> fastkd.isa() in ("avx512", "avx2", "baseline", "neon", "scalar")
    True
    """
    text = notice()
    if text:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    return str(_native.isa())


def notice() -> str:
    """What is wrong with this build and what to do about it; "" if nothing is."""
    if _native.available_isas() != ("scalar",) or platform.machine().lower() not in _VECTORS:
        return ""
    return (
        "fastkd was built without vector instructions, by a compiler that is neither gcc nor clang: its kernels are 3 "
        "to 28 times slower than they could be. Install a wheel (pip install --only-binary :all: fastkd), or put "
        "LLVM's clang on the path and build again."
    )


def build_info() -> dict[str, object]:
    """Facts about the compiled module, ready to print.

    Returns
    -------
    dict
        `isa` in use; `available`, what this build and CPU can run, best first; `machine`; `module`, the file;
        `stable_abi`, whether it serves several versions of Python; `gil`, whether this process has one; `notice`.

    Examples
    --------
    >>> build_info()["isa"] in build_info()["available"]
    True
    """
    module = str(_native.__file__)
    return {
        "isa": str(_native.isa()),
        "available": tuple(_native.available_isas()),
        "machine": platform.machine(),
        "module": module,
        "stable_abi": not module.endswith(EXTENSION_SUFFIXES[0]),  # which names one version of Python
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "notice": notice(),
    }
