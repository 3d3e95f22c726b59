"""The road of every rule: read and check, choose, compute, finish; once and in this order.

Only where NaN, inf or an overflow turned up on the way does a call begin again, with the updates that are finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastkd.aggregate.compute import Plan, compute
from fastkd.aggregate.finish import finish
from fastkd.aggregate.read import Unscreened, Updates, left, read
from fastkd.aggregate.threads import as_workers

__all__ = ["attempt", "walk"]

T = TypeVar("T")
Choose = Callable[[Updates, int, int], Plan]  # (updates, f that is left, workers)


def walk(updates: Any, f: int | None, choose: Choose, workers: Any, out: Any, return_info: bool) -> Any:
    """The aggregate of the updates by the plan that `choose` makes."""
    workers = as_workers(workers) if workers != 1 or workers is True else 1
    u = read(updates)
    try:
        plan = choose(u, f or 0, workers)
        flat = compute(u, plan, workers)
    except Unscreened:
        u = u.screen()
        plan = choose(u, left(u, f), workers)
        flat = compute(u, plan, workers)
    return finish(u, plan, flat, out, return_info, workers)


def attempt(updates: Any, f: int | None, act: Callable[[Updates, int], T]) -> tuple[Updates, T]:
    """The updates that take part and act(them, f that is left), for what ends in no update."""
    u = read(updates)
    try:
        return u, act(u, f or 0)
    except Unscreened:
        u = u.screen()
        return u, act(u, left(u, f))
