"""A strategy for people who have a Flower app already: their rule of aggregation, robust, by changing one line."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg

from fastkd import aggregate
from fastkd.federated.rules import parameters_of
from fastkd.flower.records import pack, view
from fastkd.models._hyperparameters import integer

__all__ = ["RobustStrategy", "StrategyRecord"]

log = logging.getLogger("fastkd.flower")
Layout = tuple[tuple[str, tuple[int, ...], str], ...]


@dataclass(frozen=True)
class StrategyRecord:
    """What became of one round.

    Attributes
    ----------
    round : int
        As Flower counts, from 1.
    used : int
        Replies that the rule was given.
    rejected : dict
        Node -> why its reply could not be used. It counts against f.
    failed : dict
        Node -> the error that came in place of its reply. It does not.
    lost : str
        Why the round has no result, and the arrays stay as they were; empty where it has one.
    """

    round: int
    used: int
    rejected: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    lost: str = ""


class RobustStrategy(FedAvg):
    """`flwr.serverapp.strategy.FedAvg` with a rule of `fastkd.aggregate` in place of the average.

    Nothing is weighted by what a client claims (num-examples). A reply that is malformed, of another layout or not
    finite is left out, named, and counted against f; one that cannot be read never ends the run, and a round in which
    too many are unusable leaves the arrays as they were.

    Parameters
    ----------
    aggregator : str, (str, dict) or callable
        A rule of `fastkd.aggregate`, one with options such as ``("centered_clipping", {"radius": 1.0})``, or a callable
        from a list of dicts of arrays to one dict.
    f : int
        Faulty replies a round to defend against.
    workers : int
        Threads of the rule, -1 for one a core.
    fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes, arrayrecord_key, \
configrecord_key
        As in FedAvg.

    Attributes
    ----------
    history : list of StrategyRecord
    rejected : list of dict
        Of each round: node -> why its reply could not be used.

    Notes
    -----
    Metrics are the medians over the usable replies. Entries that are no floating-point arrays (counters of batch
    normalization) are kept out of the rule and taken from the first usable reply.

    Examples
    --------
    >>> from fastkd.flower import RobustStrategy
    >>> strategy = RobustStrategy("trimmed_mean", f=1, min_train_nodes=4, min_available_nodes=4)
    >>> strategy
    RobustStrategy('trimmed_mean', f=1)
    """

    def __init__(
        self,
        aggregator: Any = "trimmed_mean",
        f: int = 0,
        *,
        workers: int = 1,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
    ) -> None:
        super().__init__(
            fraction_train=fraction_train,
            fraction_evaluate=fraction_evaluate,
            min_train_nodes=min_train_nodes,
            min_evaluate_nodes=min_evaluate_nodes,
            min_available_nodes=min_available_nodes,
            arrayrecord_key=arrayrecord_key,
            configrecord_key=configrecord_key,
        )
        integer("f", f, low=0)
        if workers != -1:
            integer("workers", workers, low=1, hint=", or -1 for all cores")
        self.aggregator, self.f, self.workers = aggregator, f, workers
        name, options = aggregator if isinstance(aggregator, tuple) else (aggregator, {})
        if not isinstance(name, str) and not callable(name):
            raise TypeError(f"aggregator must be a name, a pair (name, options) or a callable; got {aggregator!r}")
        if "f" in options:
            raise ValueError("give f as the argument f of the strategy, not among the options of the rule")
        self._rule, self._options = name, dict(options)
        self._takes_f = isinstance(name, str) and "f" in parameters_of(name)
        if f and not self._takes_f:
            raise ValueError(f"{aggregator!r} takes no f; got f={f}")
        if isinstance(name, str):
            self._bound(0)  # unknown names and options fail here
        self.history: list[StrategyRecord] = []
        self._layout: Layout | None = None

    def __repr__(self) -> str:
        return f"RobustStrategy({self.aggregator!r}, f={self.f})"

    @property
    def rejected(self) -> list[dict[str, str]]:
        """Node -> why its reply could not be used, round by round."""
        return [record.rejected for record in self.history]

    def summary(self) -> None:
        """Log what the strategy does."""
        log.info("%r, %d worker(s)", self, self.workers)
        super().summary()

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: Any, grid: Any) -> Iterable[Message]:
        """As in FedAvg; replies will have to look like `arrays`."""
        self._layout = _layout({name: view(array) for name, array in arrays.items()})
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The arrays after the round and the medians of the metrics; (None, None) for a round that is lost."""
        usable, rejected, failed = self._read(replies)
        lost, found = "", None
        if len(rejected) > self.f and self._takes_f:
            lost = f"{len(rejected)} replies are unusable, f={self.f} allows {self.f}"
        elif not usable:
            lost = "no usable reply"
        else:
            try:
                found = self._aggregated([arrays for _, arrays, _ in usable], len(rejected))
            except ValueError as error:
                lost = str(error)
        self.history.append(StrategyRecord(server_round, len(usable), rejected, failed, lost))
        for node, why in {**rejected, **failed}.items():
            log.warning("round %d: %s: %s", server_round, node, why)
        if found is None:
            log.error("round %d is lost: %s", server_round, lost)
            return None, None
        record = ArrayRecord({name: pack(found[name]) for name in usable[0][1]})
        return record, _medians([metrics for _, _, metrics in usable])

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Medians of the metrics that are finite numbers."""
        contents = [reply.content for reply in replies if not reply.has_error()]
        return _medians([m for content in contents for m in content.metric_records.values()]) if contents else None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _bound(self, n_rejected: int) -> Any:
        left = {"f": max(self.f - n_rejected, 0)} if self._takes_f else {}
        return aggregate.get(self._rule, **self._options, **left)

    def _aggregated(self, updates: list[dict[str, np.ndarray]], n_rejected: int) -> dict[str, np.ndarray]:
        if not isinstance(self._rule, str):
            return self._rule(updates)
        return self._bound(n_rejected)(updates, workers=self.workers)

    def _read(
        self, replies: Iterable[Message]
    ) -> tuple[list[tuple[str, dict[str, np.ndarray], Any]], dict[str, str], dict[str, str]]:
        """Usable replies with their arrays and metrics; who is rejected, and who failed."""
        came: list[tuple[str, dict[str, np.ndarray], Any]] = []
        rejected: dict[str, str] = {}
        failed: dict[str, str] = {}
        for number, reply in enumerate(replies):
            node = f"node {reply.metadata.src_node_id}"
            if reply.has_error():
                failed[f"{node} (reply {number})"] = str(reply.error.reason)[:200]
                continue
            try:
                records = list(reply.content.array_records.values())
                if len(records) != 1:
                    raise ValueError(f"one ArrayRecord is wanted; got {len(records)}")
                arrays = {str(name): view(array) for name, array in records[0].items()}
            except (ValueError, TypeError, OverflowError) as error:
                rejected[node] = str(error)[:200]
                continue
            metrics = next(iter(reply.content.metric_records.values()), None)
            came.append((node, arrays, metrics))
        layout = self._layout
        if layout is None and came:  # called without configure_train: what most of them look like
            layout = Counter(_layout(arrays) for _, arrays, _ in came).most_common(1)[0][0]
        usable = []
        for node, arrays, metrics in came:
            why = _unlike(arrays, layout or ())
            if why:
                rejected[node] = why
            else:
                usable.append((node, {name: arrays[name] for name, _, _ in layout or ()}, metrics))
        return usable, rejected, failed


def _layout(arrays: Mapping[str, np.ndarray]) -> Layout:
    return tuple((name, array.shape, array.dtype.str) for name, array in arrays.items())


def _unlike(arrays: Mapping[str, np.ndarray], layout: Layout) -> str:
    """Why arrays are not of that layout, or not finite; empty if they are."""
    names = [name for name, _, _ in layout]
    if set(arrays) != set(names):
        return f"arrays {sorted(n[:40] for n in arrays)[:5]} instead of {sorted(names)[:5]}"
    for name, shape, dtype in layout:
        array = arrays[name]
        if array.shape != shape or array.dtype.str != dtype:
            return f"{name[:40]!r} is {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{name[:40]!r} is not finite"
    return ""


def _medians(records: list[Any]) -> MetricRecord:
    """Of every metric that is a finite number in some reply, the median over those in which it is."""
    values: dict[str, list[float]] = {}
    for record in records:
        for name, value in (record or {}).items():
            if isinstance(value, (int, float)) and math.isfinite(value) and abs(value) < 1e300:
                values.setdefault(str(name), []).append(float(value))
    return MetricRecord({name: float(np.median(found)) for name, found in values.items()})
