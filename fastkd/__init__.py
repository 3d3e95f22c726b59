"""fastkd: distillation, robust federation and dataset condensation for trading, on a SIMD C core."""

from __future__ import annotations

import importlib
import os
from typing import Any

from fastkd._core.info import isa
from fastkd._version import __version__

__all__ = ["Forecaster", "__version__", "get_include", "isa", "load", "save"]

# loaded at first use: importing fastkd stays cheap
_SUBMODULES = {"aggregate", "condense", "deploy", "distill", "evaluation", "features", "federated"}
_SUBMODULES |= {"forecast", "losses", "market", "models", "reference"}
_SAVED = ("models", "distill", "forecast")  # what is in files registers itself when these are imported


def load(path: Any) -> Any:
    """The model or forecaster in a file that `save` wrote.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is truncated, damaged, edited, or holds something else.
    """
    for name in _SAVED:
        importlib.import_module(f"fastkd.{name}")
    return importlib.import_module("fastkd._io").load(path)


def get_include() -> str:
    """Folder with fastkd.h, fastkd_kernels.h and fastkd_core.pxd, for C and Cython code that calls the kernels.

    Examples
    --------
    >>> import fastkd, os
    >>> os.path.exists(os.path.join(fastkd.get_include(), "fastkd.h"))
    True
    """
    here = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(here, "include")  # absent in a source tree built in place
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(here), "csrc")


def __getattr__(name: str) -> object:
    if name == "save":
        return importlib.import_module("fastkd._io").save
    if name == "Forecaster":
        return importlib.import_module("fastkd.forecast").Forecaster
    if name in _SUBMODULES:
        try:
            return importlib.import_module(f"fastkd.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"fastkd.{name}":
                raise
    raise AttributeError(f"module 'fastkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *__all__})
