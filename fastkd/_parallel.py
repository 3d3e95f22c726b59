"""Independent pieces of work: one after the other, in threads, or wherever an executor takes them."""

from __future__ import annotations

import numbers
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from typing import Any, TypeVar

__all__ = ["each"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int = 1,
    executor: Any = None,
    done: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
    keep: Callable[[list[Result]], None] | None = None,
) -> list[Result]:
    """``[function(item) for item in items]``, in order, whoever does the work.

    Parameters
    ----------
    function : callable
        For an executor of processes or machines it and the items must be picklable.
    items : sequence
    workers : int
        Threads; -1 is one a core. Without effect beside an executor, which has its own.
    executor : object with ``submit``, optional
        Any `concurrent.futures.Executor`, or what looks like one: of processes, Dask, Ray, mpi4py, loky. It stays open.
    done : callable, optional
        Called in this thread with the number of pieces finished, whenever one is.
    stop : threading.Event, optional
        Set at the first error and at Ctrl-C: threads that look at it end early, and their results count.
    keep : callable, optional
        Called with the results there are, in order, before an error is raised.

    Raises
    ------
    Exception
        The first error of a piece, with its type; what has not begun then is cancelled. So is it by Ctrl-C.
    """
    if isinstance(workers, bool) or not isinstance(workers, numbers.Integral) or (workers < 1 and workers != -1):
        raise ValueError(f"workers must be a whole number >= 1, or -1 for all cores; got {workers!r}")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor must have submit(function, item), as concurrent.futures has it; got {executor!r}")
    n_threads = min(len(items), os.cpu_count() or 1 if workers == -1 else workers)
    if executor is None and n_threads <= 1:
        results: list[Result] = []
        try:
            for item in items:
                results.append(function(item))
                if done is not None:
                    done(len(results))
        except BaseException:
            if stop is not None:
                stop.set()
            if keep is not None:
                keep(results)
            raise
        return results
    with ThreadPoolExecutor(n_threads) if executor is None else nullcontext(executor) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return _gathered(futures, done)
        except BaseException:
            if stop is not None:
                stop.set()
            running = [future for future in futures if not future.cancel()]
            if keep is not None:
                if stop is not None and executor is None:
                    wait(running)
                keep([f.result() for f in running if f.done() and not f.cancelled() and f.exception() is None])
            raise


def _gathered(futures: list[Future[Result]], done: Callable[[int], None] | None) -> list[Result]:
    if done is None or not all(isinstance(future, Future) for future in futures):
        results = []
        for number, future in enumerate(futures):
            results.append(future.result())
            if done is not None:
                done(number + 1)
        return results
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()  # an error ends the work at once, not in the order of the items
        done(len(futures) - len(waiting))
    return [future.result() for future in futures]
