"""Settings of a command from a TOML file and from flags; a flag wins."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

__all__ = ["chosen", "layers", "read_config"]


def read_config(path: Path | None, known: set[str]) -> dict[str, Any]:
    """The keys of a TOML file; {} without one.

    Raises
    ------
    ValueError
        The file is no TOML, or has a key that is not among `known`.
    """
    if path is None:
        return {}
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    unknown = sorted(set(found) - known)
    if unknown:
        raise ValueError(f"{path}: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return found


def chosen(settings: type, options: argparse.Namespace, config: Mapping[str, Any]) -> Any:
    """An instance of the dataclass `settings`: flags that were given, else the file, else the defaults."""
    values: dict[str, Any] = {}
    for field in fields(settings):
        given = getattr(options, field.name, None)
        if given is not None:
            values[field.name] = given
        elif field.name in config:
            default = field.default if field.default_factory is MISSING else field.default_factory()
            values[field.name] = _fitting(field.name, config[field.name], default)
    return settings(**values)


def layers(text: str) -> tuple[int, ...]:
    """Widths of hidden layers as the command line has them: 32,16; "" for none.

    >>> layers("32,16")
    (32, 16)
    """
    try:
        widths = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        widths = (0,)
    if any(width < 1 for width in widths):
        raise argparse.ArgumentTypeError(f"expected widths of hidden layers such as 32,16; got {text!r}")
    return widths


def _fitting(name: str, value: Any, default: Any) -> Any:
    """A value of a TOML file where a default of some type stands."""
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{name} must be {type(default).__name__}, as {default!r}; got {value!r}")
    return value
