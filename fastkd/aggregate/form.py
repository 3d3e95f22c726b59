"""What one update looks like: a vector, an array, a list of layers or a dict. Results are put back into it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastkd import _check

__all__ = ["VECTOR", "Form"]

Shape = tuple[int, ...]


class Form:
    """Shapes of the layers that a rule computes; one, of an array, unless `several`; `keys` are their names in a dict,
    `order` all names there. `shapes` is None for a vector of any length."""

    __slots__ = ("keys", "order", "several", "shapes")

    def __init__(
        self, shapes: list[Shape] | None, several: bool = False, keys: list[Any] | None = None, order: Any = ()
    ) -> None:
        self.shapes, self.several, self.keys, self.order = shapes, several, keys, order

    def part(self, k: int) -> str:
        """What to call layer k in an error."""
        return f"layer {k}" if self.keys is None else f"entry {self.keys[k]!r}"

    def shaped(self, flat: list[np.ndarray], constants: Mapping[Any, np.ndarray] | None) -> Any:
        """Flat results of the tables as an update. (Layers without entries have no table.)"""
        if self.shapes is None:
            return flat[0] if len(flat) == 1 else np.concatenate(flat)
        rest = iter(flat)
        layers = [next(rest).reshape(s) if math.prod(s) else np.empty(s, np.float32) for s in self.shapes]
        if self.keys is None:
            return layers if self.several else layers[0]
        named = dict(zip(self.keys, layers))
        return {key: named[key] if key in named else constants[key].copy() for key in self.order}  # type: ignore[index]

    def layers(self, value: Any, name: str) -> list[Any]:
        """The layers of something given in this form, by order."""
        if self.keys is not None:
            if not isinstance(value, Mapping) or not set(self.keys) <= set(value):
                raise ValueError(f"{name} must be a dict like one update, with {', '.join(map(str, self.keys))}")
            return [value[key] for key in self.keys]
        if self.several:
            if not isinstance(value, Sequence) or len(value) != len(self.shapes or ()):
                got = f"{len(value)} of them" if isinstance(value, Sequence) else type(value).__name__
                want = len(self.shapes or ())
                raise ValueError(f"{name} must be a list of {want} arrays, like one update; got {got}")
            return list(value)
        return [value]

    def write(self, result: Any, out: Any) -> Any:
        """`result` into `out`, which is checked to be like it before any of it is written; `out`."""
        if self.keys is not None and isinstance(out, Mapping) and set(out) == set(result):
            pairs = [(result[key], out[key]) for key in self.order]
        else:
            pairs = list(zip(self.layers(result, "out"), self.layers(out, "out")))
        for a, to in pairs:
            _check.require_out(to, a.shape, a.dtype)
        for a, to in pairs:
            to[...] = a
        return out


VECTOR = Form(None)
