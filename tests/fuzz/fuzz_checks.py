"""What must hold of a call in any guise, under attack, and from two threads."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from fuzz_calls import Call, flat
from fuzz_guises import GUISES, Holder, masked

REFUSALS = (ValueError, TypeError)


def same(got: Any, want: Any, what: str) -> None:
    got, want = flat(got), flat(want)
    if len(got) != len(want):
        raise AssertionError(f"{what}: {len(got)} results, not {len(want)}")
    for g, w in zip(got, want, strict=True):
        if g.dtype != w.dtype or g.shape != w.shape or not np.array_equal(g, w, equal_nan=g.dtype.kind == "f"):
            raise AssertionError(f"{what}: {g.dtype} {g.shape} differs from {w.dtype} {w.shape}")


def near(got: Any, want: Any, tolerance: float, what: str) -> None:
    for g, w in zip(flat(got), flat(want), strict=False):
        scale = max(1.0, float(np.abs(w[np.isfinite(w)]).max(initial=0)))
        off = np.abs(g.astype(float) - w)[np.isfinite(w)].max(initial=0) / scale
        if not off <= tolerance or g.shape != w.shape:
            raise AssertionError(f"{what}: off by {off:.2e} of the largest entry, {tolerance:.0e} are allowed")


def definition(call: Call) -> None:
    if call.want is not None:
        near(call.run(**call.arrays), call.want(), call.tolerance, f"{call.name} against its definition")


def guise(call: Call, native: bool, argument: str, name: str) -> None:
    """The same bits in that guise; bindings may refuse it."""
    want = call.run(**call.arrays)
    try:
        got = call.run(**{**call.arrays, argument: GUISES[name](call.arrays[argument])})
    except REFUSALS as error:
        if native:
            return
        raise AssertionError(f"{call.name}: {argument} as {name} is refused: {error}") from error
    same(got, want, f"{call.name} with {argument} as {name}")


def mask(call: Call, argument: str) -> None:
    """Masked entries are refused."""
    try:
        call.run(**{**call.arrays, argument: masked(call.arrays[argument])})
    except REFUSALS:
        return
    raise AssertionError(f"{call.name}: a mask of {argument} is ignored")


def another(call: Call, argument: str, rng: np.random.Generator) -> None:
    """Cut, grown, empty, of another rank or dtype: refused or computed, nothing else."""
    a = call.arrays[argument]
    forms = [
        a[:0],
        a[:-1],
        np.concatenate([a, a]),
        a[None],
        a.reshape(-1),
        a.astype(np.int8),
        np.array(3.0),
        None,
        "text",
    ]
    forms += [
        np.full_like(a, 127),
        a.astype(object),
        a.astype(complex),
        [a.tolist()],
        np.empty((0, 0)),
        a.astype(np.float16),
    ]
    if a.dtype.kind == "f":
        forms += [np.full_like(a, value) for value in (np.nan, np.inf, -np.inf, 1e-40, np.finfo(a.dtype).max)]
    form = forms[rng.integers(len(forms))]
    refused(lambda: call.run(**{**call.arrays, argument: form}))


def refused(run: Any) -> None:
    """The call ends well or with an error a caller can understand."""
    with np.errstate(all="ignore"):
        try:
            run()
        except (*REFUSALS, ArithmeticError, AttributeError, IndexError, MemoryError, OverflowError):
            pass  # AttributeError: None where an array has to be


def reentrant(call: Call, argument: str, rng: np.random.Generator) -> None:
    """While an argument is converted, the call runs again, and the other arguments change under it."""
    arrays = {k: v.copy() for k, v in call.arrays.items()}

    def spoil() -> None:
        refused(lambda: call.run(**{k: v.copy() for k, v in call.arrays.items()}))
        for name, a in arrays.items():
            if name == argument:
                continue
            way = rng.integers(4)
            if way == 0:
                a[...] = 120 if a.dtype.kind == "i" else 1e30
            elif way == 1:
                a.shape = (-1,)
            elif way == 2 and a.flags.owndata:
                a.resize((1,) * a.ndim, refcheck=False)

    refused(lambda: call.run(**{**arrays, argument: Holder(call.arrays[argument], spoil)}))


def two_threads(call: Call, rng: np.random.Generator) -> None:
    """One thread computes while another writes to what it reads (not what says how large things are)."""
    arrays = {k: v.copy() for k, v in call.arrays.items()}
    stop = threading.Event()

    def spoil() -> None:
        while not stop.is_set():
            for a in arrays.values():
                a[...] = rng.integers(-100, 100)

    other = threading.Thread(target=spoil)
    other.start()
    for _ in range(3):
        refused(lambda: call.run(**arrays))
    stop.set()
    other.join()


def attack(call: Call, native: bool, rng: np.random.Generator, note: Callable[[str], Any]) -> None:
    """One random check of a call; `note` hears which, before it runs."""
    argument, name = str(rng.choice(list(call.arrays))), str(rng.choice(list(GUISES)))
    checks: list[tuple[str, Callable[[], None]]] = [
        ("definition", lambda: definition(call)),
        (f"{argument} as {name}", lambda: guise(call, native, argument, name)),
        (f"{argument} as {name}", lambda: guise(call, native, argument, name)),
        (f"mask of {argument}", lambda: mask(call, argument)),
        (f"another {argument}", lambda: another(call, argument, rng)),
        (f"re-entrant {argument}", lambda: reentrant(call, argument, rng)),
        ("two threads", lambda: two_threads(call, rng)),
    ]
    what, check = checks[rng.integers(len(checks))]
    note(f"{call.name}: {what}")
    check()
