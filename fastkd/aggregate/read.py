"""Step 1, read and check: the updates of n clients as tables of rows, in place where they can be, without trust."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping, Sequence, ValuesView
from typing import Any

import numpy as np

from fastkd import _check
from fastkd._core._native import Rows
from fastkd.aggregate.form import VECTOR, Form

__all__ = ["Unscreened", "Updates", "as_count", "left", "read", "require"]

NOBODY = np.empty(0, np.int64)
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


class Unscreened(Exception):
    """What was found holds only if all updates are finite, and nobody has looked."""


class Updates:
    """Updates of n clients that take part.

    `tables` are tables of n rows, one a layer (or a block of columns: they may be walked more than once, and are read
    anew each time). `form` is what one update looks like, `clients` are the positions in what was given (None: all),
    `rejected` those with NaN or inf, known once the updates are `screened`. `constants[i]` are entries of client i
    that no rule computes.
    """

    __slots__ = ("clients", "constants", "form", "given", "n", "rejected", "screened", "tables")

    def __init__(self, tables: Any, n: int, form: Form, constants: list[dict[Any, np.ndarray]] | None = None) -> None:
        self.tables, self.n, self.form, self.constants = tables, n, form, constants
        self.clients: np.ndarray | None = None
        self.rejected, self.given, self.screened = NOBODY, n, False

    @property
    def single(self) -> bool:
        """Whether all tables are float32."""
        return all(table.single for table in self.tables) if isinstance(self.tables, list) else self.tables.single

    def take(self, rows: np.ndarray) -> Any:
        """The tables of the updates at those positions."""
        tables = self.tables
        return [table.take(rows) for table in tables] if isinstance(tables, list) else tables.take(rows)

    def screen(self) -> Updates:
        """Those that are finite; all, and all rejected, where none is."""
        bad = sorted({i for table in self.tables for i in table.not_finite()})
        whole = np.setdiff1d(np.arange(self.n), bad)
        if not bad or not len(whole):
            few = Updates(self.tables, self.n, self.form, self.constants)
        else:
            few = Updates(self.take(whole), len(whole), self.form, self.constants)
        few.rejected = np.array(bad, np.int64)
        few.clients = whole if bad else None
        few.given, few.screened = self.given, True
        return few


def read(updates: Any) -> Updates:
    """Updates as tables of rows.

    Raises
    ------
    ValueError
        For no or empty updates, and for a client whose shape differs from the first one's (named).
    TypeError
        For a client whose dtype is complex, object or text (named).
    """
    table = Rows.of(updates)  # a matrix or vectors that serve as they are: no more to check
    if table is not None:
        return Updates([table], table.n, VECTOR)
    if isinstance(updates, Tables):
        return Updates(updates, updates.n, VECTOR)
    each, form, constants = _per_client(updates)
    first = each[0]
    _require_alike(each, form)
    if sum(a.size for a in first) == 0:
        raise ValueError(f"updates are empty: shape {first[0].shape if first else ()} of each client")
    tables = []
    for k in range(len(first)):
        single = all(layers[k].dtype == SINGLE for layers in each)  # a counter makes no other layer double
        if first[k].size:
            tables.append(Rows([_flat(layers[k], SINGLE if single else DOUBLE) for layers in each]))
    return Updates(tables, len(each), form, constants)


class Tables:
    """Tables that are not in memory: see `fastkd.aggregate.blocks`."""

    n: int
    single: bool  # whether all are float32


def left(u: Updates, f: int | None) -> int:
    """The f that is left when the rejected are counted; an error names them where they are too many."""
    r = len(u.rejected)
    if r:
        n = u.given
        some = ", ".join(map(str, u.rejected[:10])) + (" ..." if r > 10 else "")
        if r == n:
            raise ValueError(f"all {n} updates hold NaN or inf (clients {some}): none is left")
        if f is not None and r > f:
            raise ValueError(f"{r} of {n} updates hold NaN or inf (clients {some}); f={f} allows {f}")
        if f is None and 2 * r >= n:
            raise ValueError(f"{r} of {n} updates hold NaN or inf (clients {some}): half or more are unusable")
    return 0 if f is None else f - r


def require(u: Updates, f: int, ok: bool, bound: str, rule: str, source: str) -> None:
    """A bound on n and f, which may hold once the rejected are gone."""
    if not ok:
        if not u.screened:
            raise Unscreened
        raise ValueError(f"{rule} needs {bound} ({source}); got n={u.n}, f={f}")


def as_count(value: Any, name: str, low: int = 0) -> int:
    if type(value) is not int and (not isinstance(value, numbers.Integral) or isinstance(value, bool)):
        raise TypeError(f"{name} must be an integer; got {value!r}")
    if value < low:
        raise ValueError(f"{name} must be >= {low}; got {value}")
    return int(value)


def _require_alike(each: list[list[np.ndarray]], form: Form) -> None:
    shapes = [a.shape for a in each[0]]
    for i, layers in enumerate(each):
        got = [a.shape for a in layers]
        if got == shapes:
            continue
        if len(got) != len(shapes):
            raise ValueError(f"client {i} sent {len(got)} layers; client 0 sent {len(shapes)}: all must match")
        k = next(k for k in range(len(got)) if got[k] != shapes[k])
        layer = f", {form.part(k)}," if form.several else ""
        raise ValueError(f"client {i}{layer} has shape {got[k]}; client 0 has {shapes[k]}: all must match")


Clients = tuple[list[list[np.ndarray]], Form, list[dict[Any, np.ndarray]] | None]


def _per_client(updates: Any) -> Clients:
    """A list of layers for each client, what an update looks like, and what no rule computes."""
    if hasattr(updates, "shape") or hasattr(updates, "__array__") or hasattr(updates, "__dlpack__"):
        a = _check.as_array(updates, "updates")
        if a.ndim < 2:
            raise ValueError(f"updates must be (n clients, d parameters) or a sequence of arrays; got shape {a.shape}")
        if len(a) == 0:
            raise ValueError(f"updates hold no client: shape {a.shape}")
        return [[row] for row in np.asarray(a)], Form([a.shape[1:]]), None
    if isinstance(updates, Iterator | ValuesView):
        updates = list(updates)
    if not isinstance(updates, Sequence) or isinstance(updates, str | bytes):
        raise TypeError(f"updates must be an array or a sequence of arrays; got {type(updates).__name__}")
    if len(updates) == 0:
        raise ValueError("updates hold no client: an empty sequence")
    kinds = [_kind(u, i) for i, u in enumerate(updates)]
    for i, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise ValueError(f"client {i} sent {kind}; client 0 sent {kinds[0]}: all must match")
    if kinds[0] == DICT:
        return _dicts(updates)
    if kinds[0] == LAYERS:
        each = [[_array(a, f"client {i}, layer {k}") for k, a in enumerate(u)] for i, u in enumerate(updates)]
        return each, Form([a.shape for a in each[0]], several=True), None
    each = [[_array(u, f"client {i}")] for i, u in enumerate(updates)]
    return each, Form([each[0][0].shape]), None


DICT, LAYERS, ONE = "a dict", "a list of layers", "one array"


def _kind(update: Any, i: int) -> str:
    """How an update came: a dict, a list whose entries are arrays themselves, or one array."""
    if isinstance(update, Mapping):
        return DICT
    if not isinstance(update, list | tuple):
        return ONE
    if len(update) == 2 and isinstance(update[1], numbers.Integral) and not np.isscalar(update[0]):
        raise TypeError(
            f"client {i} sent a pair (arrays, number), as in Flower: give [arrays for arrays, _ in results]; "
            "numbers of examples are what clients claim, and weigh only where you say so: mean(..., weights=...)"
        )
    return LAYERS if any(hasattr(a, "shape") and not isinstance(a, np.generic) for a in update) else ONE


def _dicts(updates: Sequence[Mapping[Any, Any]]) -> Clients:
    """Dicts of arrays, as state_dicts of torch: entries of whole numbers and truth values are apart from the others."""
    keys = list(updates[0])
    each: list[list[np.ndarray]] = []
    constants: list[dict[Any, np.ndarray]] = []
    for i, update in enumerate(updates):
        if unlike := set(update) ^ set(keys):
            key = sorted(unlike, key=str)[0]
            has, lacks = ("client 0", f"client {i}") if key in updates[0] else (f"client {i}", "client 0")
            raise ValueError(f"{has} sent an entry {key!r}, which {lacks} did not: all must match")
        arrays = {key: _array(update[key], f"client {i}, entry {key!r}") for key in keys}
        whole = {key: a for key, a in arrays.items() if a.dtype.kind in "biu"}
        if i and whole.keys() != constants[0].keys():
            key = sorted(whole.keys() ^ constants[0].keys(), key=str)[0]
            raise ValueError(f"entry {key!r}: clients 0 and {i} must both send whole numbers, or neither")
        for key, a in whole.items():
            if a.shape != (constants[0] if i else whole)[key].shape:
                shape = constants[0][key].shape
                raise ValueError(f"client {i}, entry {key!r}, has shape {a.shape}; client 0 has {shape}")
        constants.append(whole)
        each.append([a for key, a in arrays.items() if key not in whole])
    computed = [key for key in keys if key not in constants[0]]
    if not computed:
        raise ValueError("updates are empty: no entry holds floating-point numbers")
    return each, Form([a.shape for a in each[0]], several=True, keys=computed, order=keys), constants


def _array(a: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(_check.as_array(a, name))
    except (ValueError, TypeError) as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from None


def _flat(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A row for the kernels: `a` itself where its memory serves, else a copy."""
    with np.errstate(over="ignore"):  # what float64 cannot hold is inf, and rejected
        return np.require(a, dtype, ["C", "A"]).reshape(-1)
