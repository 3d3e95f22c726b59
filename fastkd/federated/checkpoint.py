"""The state of a federation in a file, from which it goes on bit for bit.

A safetensors file with JSON metadata, as model files are: nothing in it is code. It is written beside the target and
renamed, so a crash leaves either the old state or the new one, never half of one.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastkd._files import write_whole
from fastkd._io import digest
from fastkd.federated.result import RoundRecord

__all__ = ["CheckpointError", "State", "read_checkpoint", "write_checkpoint"]

FORMAT = "fastkd-federation/1"


class CheckpointError(ValueError):
    """The file is no checkpoint, is damaged, or belongs to another federation."""


@dataclass(eq=False)
class State:
    """All that a round hands on to the next.

    `entropy` is the seed that every random number of the run derives from, together with the number of the round and
    of the client; so there is no generator whose state would have to be kept.
    """

    entropy: int
    parameters: np.ndarray
    aggregate: np.ndarray | None = None
    momenta: dict[str, np.ndarray] = field(default_factory=dict)
    history: list[RoundRecord] = field(default_factory=list)
    bytes_up: int = 0
    bytes_down: int = 0

    @property
    def round(self) -> int:
        """The round to come."""
        return len(self.history)


def write_checkpoint(path: Any, state: State, settings: dict[str, Any]) -> None:
    """Write the state; `settings` are what must be the same for the run to go on."""
    names = list(state.momenta)
    tensors = {"parameters": state.parameters}
    if state.aggregate is not None:
        tensors["aggregate"] = state.aggregate
    if names:
        tensors["momenta"] = np.stack([state.momenta[name] for name in names])
    header = {
        "entropy": str(state.entropy),
        "settings": settings,
        "momenta": names,
        "history": [record.to_dict() for record in state.history],
        "bytes": [state.bytes_up, state.bytes_down],
    }
    write_file(path, FORMAT, header, tensors)


def read_checkpoint(path: Any, settings: dict[str, Any]) -> State:
    """The state in a file written with the same settings.

    Raises
    ------
    CheckpointError
        A ValueError: the file is damaged, something else, or of a federation with other settings, which are named.
    OSError
        It cannot be read.
    """
    header, tensors = read_file(path, FORMAT, settings)
    with describing(path):
        names = header["momenta"]
        shape = tensors["parameters"].shape
        for name, of_one in (("aggregate", shape), ("momenta", (len(names), *shape))):
            if name in tensors and tensors[name].shape != of_one:
                raise ValueError(f"{name} has shape {tensors[name].shape} instead of {of_one}")
        return State(
            entropy=int(header["entropy"]),
            parameters=tensors["parameters"],
            aggregate=tensors.get("aggregate"),
            momenta=dict(zip(names, tensors["momenta"], strict=True)) if names else {},
            history=[RoundRecord.from_dict(record) for record in header["history"]],
            bytes_up=int(header["bytes"][0]),
            bytes_down=int(header["bytes"][1]),
        )


def write_file(path: Any, kind: str, header: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write a checkpoint of that kind; the header holds `settings`."""
    from safetensors.numpy import save

    text = json.dumps(header, sort_keys=True)
    metadata = {"format": kind, "federation": text, "sha256": digest(text, tensors)}
    write_whole(path, save({k: np.ascontiguousarray(t) for k, t in tensors.items()}, metadata=metadata))


def read_file(path: Any, kind: str, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and tensors of an undamaged checkpoint of that kind with those settings; errors as `read_checkpoint`."""
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    with open(path, "rb"):  # an OSError for what cannot be read, before anything looks into it
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a checkpoint, or is truncated: {error}") from error
    if metadata.get("format") != kind:
        found = metadata.get("format")
        raise CheckpointError(f"{path} is no checkpoint of a federation of this kind (format {found!r})")
    if metadata.get("sha256") != digest(metadata.get("federation", ""), tensors):
        raise CheckpointError(f"{path}: the SHA-256 of its contents is not the one in it; the file is damaged")
    with describing(path):
        header = json.loads(metadata["federation"])
        _require_same(path, header["settings"], json.loads(json.dumps(settings)))
        return header, tensors


@contextmanager
def describing(path: Any) -> Iterator[None]:
    """What goes wrong while a checkpoint is understood is the file's fault."""
    try:
        yield
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe a federation: {type(error).__name__}: {error}") from error


def _require_same(path: str, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    different = sorted(name for name in saved.keys() | wanted.keys() if saved.get(name) != wanted.get(name))
    if different:
        raise CheckpointError(
            f"{path} belongs to a federation with other {', '.join(different)}; give the same ones to go on, or "
            "another file to start anew"
        )


def fingerprint(*arrays: Any) -> str:
    """SHA-256 of the dtype, shape and contents of arrays."""
    digest = hashlib.sha256()
    for item in arrays:
        array = np.ascontiguousarray(item)
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes())
    return digest.hexdigest()


def stable(value: Any, depth: int = 4) -> str:
    """What a setting is, in words that are the same in every process: no memory addresses.

    Objects are told by their class and their public attributes (or `get_params`), functions by their name, arrays by
    their fingerprint.
    """
    if isinstance(value, np.ndarray):
        return f"array {fingerprint(value)}"
    if isinstance(value, functools.partial):
        return f"partial({stable(value.func)}, {stable(value.args)}, {stable(value.keywords)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{k!r}: {stable(item, depth - 1)}" for k, item in value.items())) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(stable(item, depth - 1) for item in value) + "]"
    named = value if hasattr(value, "__qualname__") else type(value)
    name = f"{named.__module__}.{named.__qualname__}"
    if named is value:
        return name
    known = value.get_params() if hasattr(value, "get_params") else getattr(value, "__dict__", None)
    if known is None:
        text = repr(value)
        return name if " at 0x" in text else text
    public = {k: item for k, item in known.items() if not k.startswith("_")}
    return f"{name} {stable(public, depth - 1)}" if depth > 0 else name
