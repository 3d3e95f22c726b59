"""What `FedMD` is given, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastkd._check import as_array, as_positive
from fastkd.federated.client import Client, labeled
from fastkd.models._hyperparameters import integer
from fastkd.models._inputs import feature_names

__all__ = [
    "all_classes",
    "checked_temperature",
    "class_codes",
    "each_eval_set",
    "require_far",
    "require_public",
    "require_same_names",
]

TEMPERATURES = (1e-6, 1e6)  # beyond them logits / T or the T^2 of the loss leave what float32 can tell apart


def checked_temperature(value: Any, name: str) -> float:
    """A temperature that training can bear."""
    temperature = as_positive(value, name)
    low, high = TEMPERATURES
    if not low <= temperature <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}; got {value!r}")
    return temperature


def require_far(attacks: Any, availability: Any, classes: Any, eval_set: Any) -> None:
    """Errors about what only clients in this process have."""
    if attacks:
        raise ValueError("attacks are simulated on clients in this process; far ones attack by themselves, or do not")
    if callable(availability) or availability != 1.0:
        raise ValueError(f"availability is simulated on clients in this process; got {availability!r} for far ones")
    if classes is None:
        raise ValueError("give classes=: the labels of far clients are not known here")
    if isinstance(eval_set, Mapping) and set(eval_set) - {""}:
        raise ValueError("far clients do not tell their accuracies; give eval_set as a pair (X, y), for server_model")


def require_public(public_X: Any, public_y: Any, server_model: Any, public_rows: Any) -> None:
    """Errors about the public set, or about what needs one."""
    if public_X is None:
        for name, value in (("public_y", public_y), ("server_model", server_model), ("public_rows", public_rows)):
            if value is not None:
                raise ValueError(f"{name} needs a public set; public_X is None")
        return
    n = len(public_X)
    if public_X.ndim < 2 or n == 0:
        raise ValueError(f"public_X must be (rows, features) with at least one row; got {public_X.shape}")
    if public_y is not None and public_y.shape != (n,):
        raise ValueError(f"public_y must have shape ({n},); got {public_y.shape}")
    if public_rows is not None:
        integer("public_rows", public_rows, low=1)
        if public_rows > n:
            raise ValueError(f"public_rows={public_rows} is more than the {n} public rows")


def require_same_names(clients: Iterable[Client], public_X: Any, eval_sets: Mapping[str, tuple[Any, Any]]) -> None:
    """Columns that have names must have the same ones in the same order everywhere: rows are sent without them."""
    given = [(f"client {c.name!r}", feature_names(c.X)) for c in clients]
    given += [("public_X", feature_names(public_X))]
    given += [("eval_set", feature_names(X)) for X, _ in eval_sets.values()]
    named = [(what, names.tolist()) for what, names in given if names is not None]
    for what, names in named[1:]:
        if names != named[0][1]:
            raise ValueError(
                f"the columns of {what} are {names}, those of {named[0][0]} {named[0][1]}; "
                "give the same ones in the same order"
            )


def labels_of(y: Any, whose: str) -> np.ndarray:
    """Labels as (n,), of one kind."""
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"the labels of {whose} must have shape (n,), one a row; got {labels.shape}: use y.ravel()")
    if labels.dtype.kind == "O":
        kinds = {isinstance(v, str) for v in labels.tolist()}
        if len(kinds) > 1:
            raise ValueError(f"the labels of {whose} mix text and numbers")
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"the labels of {whose} hold NaN or infinity; mark rows without a label by -1")
    return labels


def all_classes(
    classes: Any, clients: tuple[Client, ...], public_y: np.ndarray | None, server_model: Any
) -> np.ndarray:
    """The labels of the federation, sorted."""
    given = [(f"client {c.name!r}", labels_of(c.y, f"client {c.name!r}")) for c in clients if c.y is not None]
    given += [] if public_y is None else [("public_y", labels_of(public_y, "public_y"))]
    for what, labels in given[1:]:
        if (labels.dtype.kind in "US") != (given[0][1].dtype.kind in "US"):
            raise ValueError(f"labels must be text everywhere or nowhere; those of {given[0][0]} and {what} differ")
    if classes is not None:
        found = np.unique(np.asarray(classes))
    else:
        fitted = [c for m in (*(c.model for c in clients), server_model)
                  if (c := getattr(m, "classes_", None)) is not None]  # fmt: skip
        if not given and not fitted:
            raise ValueError("nobody has labels; give classes=")
        values = np.unique(np.concatenate([*(np.unique(labels) for _, labels in given), *fitted]))
        known = values[values != -1] if values.dtype.kind in "if" else values
        found = known if len(known) > 1 and (values.dtype.kind not in "if" or values.min() >= -1) else values
    if len(found) < 2:
        raise ValueError(f"a federation needs at least two classes; got {found.tolist()}")
    if public_y is not None:
        strange = np.setdiff1d(public_y[labeled(public_y, found)], found).tolist()
        if strange:
            raise ValueError(f"public_y has labels {strange[:5]}, which are not among the classes {found.tolist()}")
    for client in clients:
        own = getattr(client.model, "classes_", None)
        network = hasattr(client.model, "initialize")
        if network and own is not None and not np.array_equal(own, found):
            raise ValueError(f"client {client.name!r}: its model knows {own.tolist()}, the others {found.tolist()}")
    return found


def class_codes(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Number of each label's class (n,) int32, -1 where there is no label: labels of any kind as numbers."""
    codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    return np.where(labeled(y, classes), codes, -1).astype(np.int32)


def each_eval_set(eval_set: Any, clients: tuple[Client, ...], public_X: Any) -> dict[str, tuple[Any, Any]]:
    """Client -> its rows to score; "" for the server."""
    if eval_set is None:
        return {}
    if isinstance(eval_set, Mapping):
        unknown = sorted(set(eval_set) - {client.name for client in clients})
        if unknown:
            raise ValueError(f"eval_set names clients that do not exist: {unknown}")
        found = dict(eval_set)
    elif not isinstance(eval_set, (tuple, list)) or len(eval_set) != 2:
        raise ValueError("eval_set must be a pair (X, y), or a mapping of client names to such pairs")
    else:
        found = {name: tuple(eval_set) for name in ["", *(client.name for client in clients)]}
    for name, pair in found.items() if isinstance(eval_set, Mapping) else [("", tuple(eval_set))]:
        what = f"eval_set of {name!r}" if name else "eval_set"
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"{what} must be a pair (X, y)")
        rows, labels = as_array(pair[0], what), labels_of(pair[1], what)
        if rows.ndim < 2 or not len(rows) or len(rows) != len(labels):
            raise ValueError(f"{what} needs as many labels as rows, and at least one; got {rows.shape}, {labels.shape}")
        if public_X is not None and rows[0].size != public_X[0].size:
            raise ValueError(f"{what} has rows of shape {rows.shape[1:]}, public_X of {public_X.shape[1:]}")
    return found
