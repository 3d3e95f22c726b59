"""A strategy for people who have a Flower app already: their rule of aggregation, robust, by changing one line."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg

from fastkd import aggregate
from fastkd.federated.rules import parameters_of
from fastkd.flower.exchange import Patience, exchange
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
    stream : bool
        Use each reply when it comes and forget it, in the memory of one update: for "mean" and "centered_clipping", and
        for others with ``buckets`` among the options (`fastkd.aggregate.stream`).
    quorum, grace, wave : as in `FlowerClients`
        A round waits for so many usable replies and `grace` seconds longer; so many nodes work at a time.
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
    Centered clipping is around the arrays of the round before. Metrics are the medians over the usable
    replies. Entries that are no floating-point arrays (counters of batch normalization) are kept out of the rule and
    taken from the first usable reply; of a stream they stay as they were.

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
        stream: bool = False,
        quorum: int | None = None,
        grace: float = 5.0,
        wave: int | None = None,
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
        self.aggregator, self.f, self.workers, self.stream = aggregator, f, workers, stream
        self.patience = Patience(quorum=quorum, grace=grace, wave=wave)
        self._last: dict[str, np.ndarray] = {}
        name, options = aggregator if isinstance(aggregator, tuple) else (aggregator, {})
        if not isinstance(name, str) and not callable(name):
            raise TypeError(f"aggregator must be a name, a pair (name, options) or a callable; got {aggregator!r}")
        if "f" in options:
            raise ValueError("give f as the argument f of the strategy, not among the options of the rule")
        self._rule, self._options = name, dict(options)
        self._takes_f = isinstance(name, str) and "f" in parameters_of(name)
        if f and not self._takes_f:
            raise ValueError(f"{aggregator!r} takes no f; got f={f}")
        if isinstance(name, str):  # unknown names and options fail here
            self._stream() if stream else self._bound(0)
        elif stream:
            raise ValueError("a callable takes all replies at once; stream=True needs the name of a rule")
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
        self._last = {str(name): view(array) for name, array in arrays.items()}
        self._layout = _layout(self._last)
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The arrays after the round and the medians of the metrics; (None, None) for a round that is lost."""
        rejected: dict[str, str] = {}
        failed: dict[str, str] = {}
        metrics: list[Any] = []
        lost, found, stream = "", None, self._stream() if self.stream else None
        updates = []
        for arrays, said in self._usable(replies, rejected, failed):
            metrics.append(said)
            if stream is None:
                updates.append(arrays)
            else:
                stream.add(_joined(arrays))
        if len(rejected) > self.f and self._takes_f:
            lost = f"{len(rejected)} replies are unusable, f={self.f} allows {self.f}"
        elif not metrics:
            lost = "no usable reply"
        else:
            try:
                found = self._aggregated(updates, len(rejected)) if stream is None else self._parted(stream.result())
            except ValueError as error:
                lost = str(error)
        self.history.append(StrategyRecord(server_round, len(metrics), rejected, failed, lost))
        for node, why in {**rejected, **failed}.items():
            log.warning("round %d: %s: %s", server_round, node, why)
        if found is None:
            log.error("round %d is lost: %s", server_round, lost)
            return None, None
        return ArrayRecord({name: pack(values) for name, values in found.items()}), _medians(metrics)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Medians of the metrics that are finite numbers."""
        contents = [reply.content for reply in replies if not reply.has_error()]
        return _medians([m for content in contents for m in content.metric_records.values()]) if contents else None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _bound(self, n_rejected: int, n: int = 0) -> Any:
        options = dict(self._options)
        if self._takes_f:
            options["f"] = max(self.f - n_rejected, 0)
        if self._rule == "multi_krum":
            options.setdefault("m", max(n - options["f"] - 2, 1))
        if self._rule == "centered_clipping" and self._last:
            options.setdefault("center", self._last)
        return aggregate.get(self._rule, **options)

    def _aggregated(self, updates: list[dict[str, np.ndarray]], n_rejected: int) -> dict[str, np.ndarray]:
        if not isinstance(self._rule, str):
            return self._rule(updates)
        return self._bound(n_rejected, len(updates))(updates, workers=self.workers)

    def _stream(self) -> Any:
        options = dict(self._options)
        if self._takes_f:
            options["f"] = self.f
        if self._rule == "centered_clipping" and self._last:
            options.setdefault("center", _joined(self._last))
        return aggregate.stream(self._rule, **options)

    def _parted(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The layers of a vector that `_joined` made; what is no floating-point array stays as it was."""
        found, at = {}, 0
        for name, shape, dtype in self._layout or ():
            if np.dtype(dtype).kind != "f":
                found[name] = self._last[name]
                continue
            size = math.prod(shape)
            found[name] = vector[at : at + size].reshape(shape).astype(dtype, copy=False)
            at += size
        return found

    def start(self, grid: Any, *arguments: Any, timeout: float = 3600, **options: Any) -> Any:
        """As in FedAvg, by an exchange that need not wait for the slowest node."""
        return super().start(_Exchange(grid, replace(self.patience, timeout=timeout), self), *arguments, **options)

    def _usable(
        self, replies: Iterable[Message], rejected: dict[str, str], failed: dict[str, str]
    ) -> Iterator[tuple[dict[str, np.ndarray], Any]]:
        """Arrays and metrics of the replies that can be used; the others are entered in `rejected` and `failed`."""
        if self._layout is None:  # called without configure_train: what most of them look like
            replies = list(replies)
            shapes = Counter(_layout(a) for r in replies if isinstance(a := _arrays(r), dict))
            self._layout = shapes.most_common(1)[0][0] if shapes else ()
        for number, reply in enumerate(replies):
            node = f"node {reply.metadata.src_node_id}"
            if reply.has_error():
                failed[f"{node} (reply {number})"] = str(reply.error.reason)[:200]
                continue
            arrays = self._checked(reply)
            if isinstance(arrays, str):
                rejected[node] = arrays
            else:
                yield arrays, next(iter(reply.content.metric_records.values()), None)

    def _checked(self, reply: Message) -> dict[str, np.ndarray] | str:
        """The arrays of a reply in the layout of the round, or why they cannot be used."""
        arrays = _arrays(reply)
        if isinstance(arrays, str):
            return arrays
        layout = self._layout or ()
        return _unlike(arrays, layout) or {name: arrays[name] for name, _, _ in layout}


class _Exchange:
    """A grid whose `send_and_receive` hands on replies as they come, and stops waiting at the quorum."""

    def __init__(self, grid: Any, patience: Patience, strategy: RobustStrategy) -> None:
        self._grid, self._patience, self._strategy = grid, patience, strategy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        def usable(_: int, reply: Message) -> bool:
            return not reply.has_error() and not isinstance(self._strategy._checked(reply), str)

        return (reply for _, reply in exchange(self._grid, list(messages), self._patience, usable))


def _arrays(reply: Message) -> dict[str, np.ndarray] | str:
    """The arrays of a reply as views, or why there are none."""
    if reply.has_error():
        return str(reply.error.reason)[:200]
    try:
        records = list(reply.content.array_records.values())
        if len(records) != 1:
            raise ValueError(f"one ArrayRecord is wanted; got {len(records)}")
        return {str(name): view(array) for name, array in records[0].items()}
    except (ValueError, TypeError, OverflowError) as error:
        return str(error)[:200]


def _joined(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The floating-point layers as one vector."""
    layers = [array.ravel() for array in arrays.values() if array.dtype.kind == "f"]
    return layers[0] if len(layers) == 1 else np.concatenate(layers)


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
