"""Twenty hostile replies, one among nine: the round ends well, and the node is named."""

import io
import os
import weakref

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs the extra fastkd[flower]")

from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from npy_bytes import npy

from fastkd import aggregate
from fastkd.flower import LocalGrid, RobustStrategy, pack

N, D = 9, 1000
RNG = np.random.default_rng(0)
HONEST = [RNG.normal(size=D).astype(np.float32) for _ in range(N - 1)]


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch code-was-run",)


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([Evil()], dtype=object), allow_pickle=True)
    return file.getvalue()


def reply(values, key="w", **metrics):
    arrays = ArrayRecord({key: pack(values)})
    return RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 10, "loss": 0.5, **metrics})})


def raw(data, dtype="float32", stype="numpy.ndarray"):
    arrays = ArrayRecord({"w": Array(dtype, (D,), stype, data)})
    return RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 10})})


HOSTILE = {
    "NaN": reply(np.full(D, np.nan, np.float32)),
    "one infinity": reply(np.r_[np.inf, np.zeros(D - 1)].astype(np.float32)),
    "huge everywhere": reply(np.full(D, 3e38, np.float32)),
    "wrong length": reply(np.zeros(D + 1, np.float32)),
    "a column": reply(np.zeros((D, 1), np.float32)),
    "float64": reply(np.zeros(D)),
    "complex": raw(npy(f"({D},)", "<c8", bytes(8 * D))),
    "10^14 numbers": raw(npy("(100000000000000,)")),
    "2 * 10^9 numbers": raw(npy("(2000000000,)")),
    "truncated": raw(npy(f"({D},)")),
    "pickled": raw(pickled(), "object"),
    "text": raw(npy("(4,)", "<U4")),
    "no npy": raw(b"hello"),
    "another kind": raw(b"x", stype="torch.Tensor"),
    "no arrays": RecordDict({"metrics": MetricRecord({"num-examples": 10})}),
    "two records": RecordDict(
        {"a": ArrayRecord({"w": pack(HONEST[0])}), "arrays": ArrayRecord({"w": pack(HONEST[0])})}
    ),
    "another name": reply(HONEST[0], "v"),
    "no metrics": RecordDict({"arrays": ArrayRecord({"w": pack(HONEST[0])})}),
    "claims a trillion rows": reply(-10 * HONEST[0], **{"num-examples": 10**12}),
    "claims NaN rows": reply(HONEST[0], **{"num-examples": float("nan")}),
}
NAMED = [*HOSTILE][:2] + [*HOSTILE][3:17]  # the others are arrays that a strange client may send


def round_of(strategy, bad, at):
    replies = HONEST.copy()

    def answer(k):
        content = bad if k == at else reply(replies[k - (k > at)])
        return lambda message, context: Message(content, reply_to=message)

    grid = LocalGrid({f"n{k}": answer(k) for k in range(N)})
    start = ArrayRecord({"w": pack(np.zeros(D, np.float32))})
    messages = strategy.configure_train(1, start, ConfigRecord(), grid)
    return strategy.aggregate_train(1, grid.send_and_receive(messages))


def strategy(rule="trimmed_mean", f=1):
    return RobustStrategy(rule, f, fraction_evaluate=0.0, min_train_nodes=N, min_available_nodes=N)


@pytest.mark.parametrize("at", [0, 4, 8])
@pytest.mark.parametrize("label", HOSTILE)
@pytest.mark.parametrize("rule", ["trimmed_mean", "multi_krum", "median"])
def test_a_hostile_reply_neither_ends_the_run_nor_wins(label, rule, at, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = strategy(rule, 0 if rule == "median" else 1)
    arrays, metrics = round_of(ours, HOSTILE[label], at)
    assert arrays is not None, ours.history
    result = arrays["w"].numpy()
    inside = (result >= np.min(HONEST, axis=0) - 1e-3) & (result <= np.max(HONEST, axis=0) + 1e-3)
    assert inside.mean() > 0.99
    (named,) = ours.rejected
    assert set(named) == ({f"node {1000 + at}"} if label in NAMED else set())
    assert metrics["loss"] == 0.5
    assert not (tmp_path / "code-was-run").exists()


@pytest.mark.parametrize("rule", ["trimmed_mean", "krum", ("centered_clipping", {"radius": 10.0}), "mean"])
def test_the_result_is_the_rule_on_the_honest_replies(rule):
    f = 1 if rule in ("trimmed_mean", "krum") else 0
    arrays, _ = round_of(strategy(rule, f), HOSTILE["NaN"], 3)
    name, options = rule if isinstance(rule, tuple) else (rule, {})
    center = (
        {"center": np.zeros(D, np.float32)} if name == "centered_clipping" else {}
    )  # the arrays of the round before
    wanted = aggregate.get(name, **options, **center, **({"f": 0} if f else {}))(np.stack(HONEST))
    np.testing.assert_allclose(arrays["w"].numpy(), wanted, rtol=1e-5, atol=1e-6)  # replies come in any order


@pytest.mark.parametrize("wave", [None, 1, 4])
@pytest.mark.parametrize("rule", ["mean", ("centered_clipping", {"radius": 10.0, "iterations": 1})])
def test_streamed_replies_give_the_same_and_are_forgotten(rule, wave):
    name, options = rule if isinstance(rule, tuple) else (rule, {})
    streamed = (name, {k: v for k, v in options.items() if k != "iterations"}) if options else name
    alive, most = [], 0

    class Counting(LocalGrid):
        def pull_messages(self, ids):
            nonlocal most
            for message in super().pull_messages(ids):
                alive.append(weakref.ref(message))
                most = max(most, sum(ref() is not None for ref in alive))
                yield message

    def run(strategy, grid_of=LocalGrid):
        grid = grid_of({f"n{k}": lambda m, c, k=k: Message(reply(HONEST[k]), reply_to=m) for k in range(8)})
        start = ArrayRecord({"w": pack(np.full(D, 0.5, np.float32))})
        return strategy.start(grid, start, num_rounds=2).arrays["w"].numpy()

    whole = RobustStrategy(rule, fraction_evaluate=0.0, min_train_nodes=8, min_available_nodes=8)
    ours = RobustStrategy(
        streamed, stream=True, wave=wave, fraction_evaluate=0.0, min_train_nodes=8, min_available_nodes=8
    )
    np.testing.assert_allclose(run(ours, Counting), run(whole), rtol=1e-4, atol=1e-5)
    assert [record.used for record in ours.history] == [8, 8]
    if wave:
        assert most <= wave + 1


def test_a_silent_node_does_not_hold_up_a_quorum():
    grid = LocalGrid(
        {f"n{k}": lambda m, c, k=k: Message(reply(HONEST[k]), reply_to=m) for k in range(5)}, silent=["n2"]
    )
    ours = RobustStrategy(
        "median", quorum=4, grace=0.0, fraction_evaluate=0.0, min_train_nodes=5, min_available_nodes=5
    )
    ours.start(grid, ArrayRecord({"w": pack(HONEST[0])}), num_rounds=2, timeout=600.0)
    assert [record.used for record in ours.history] == [4, 4]


def test_what_cannot_stream_is_refused():
    with pytest.raises(ValueError, match="give buckets"):
        RobustStrategy("median", stream=True)
    with pytest.raises(ValueError, match="at once"):
        RobustStrategy(lambda updates: updates[0], stream=True)


def test_counters_of_batch_normalization_stay_whole_numbers():
    def network(k):
        return RecordDict({"arrays": ArrayRecord({
            "weight": pack(np.full((2, 3), k, np.float32)), "counter": pack(np.array(7 + k)),
            "bias": pack(np.full(3, -k, np.float32)),
        })})  # fmt: skip

    ours = RobustStrategy("median", min_train_nodes=5, min_available_nodes=5)
    grid = LocalGrid({f"n{k}": lambda m, c, k=k: Message(network(k), reply_to=m) for k in range(5)})
    messages = ours.configure_train(1, network(0)["arrays"], ConfigRecord(), grid)
    arrays, _ = ours.aggregate_train(1, grid.send_and_receive(messages))
    assert list(arrays) == ["weight", "counter", "bias"]
    np.testing.assert_array_equal(arrays["weight"].numpy(), np.full((2, 3), 2, np.float32))
    np.testing.assert_array_equal(arrays["bias"].numpy(), np.full(3, -2, np.float32))
    assert arrays["counter"].numpy().dtype == np.int64
    assert arrays["counter"].numpy() in range(7, 12)


def test_a_lost_round_leaves_the_arrays_as_they_were():
    bad = HOSTILE["NaN"]
    grid = LocalGrid(
        {f"n{k}": lambda m, c, k=k: Message(bad if k < 2 else reply(HONEST[k]), reply_to=m) for k in range(6)}
    )
    ours = RobustStrategy("trimmed_mean", 1, fraction_evaluate=0.0, min_train_nodes=6, min_available_nodes=6)
    start = ArrayRecord({"w": pack(np.ones(D, np.float32))})
    result = ours.start(grid=grid, initial_arrays=start, num_rounds=2)
    assert [record.lost for record in ours.history] == ["2 replies are unusable, f=1 allows 1"] * 2
    assert len(result.arrays) == 0 or (result.arrays["w"].numpy() == 1).all()


def test_errors_are_told_and_do_not_count():
    def broken(message, context):
        return Message(Error(2, "gone"), reply_to=message)

    grid = LocalGrid(
        {"bad": broken, **{f"n{k}": lambda m, c, k=k: Message(reply(HONEST[k]), reply_to=m) for k in range(4)}}
    )
    ours = RobustStrategy("krum", 0, min_train_nodes=5, min_available_nodes=5)
    messages = ours.configure_train(1, ArrayRecord({"w": pack(HONEST[0])}), ConfigRecord(), grid)
    arrays, _ = ours.aggregate_train(1, grid.send_and_receive(messages))
    assert arrays is not None
    assert list(ours.history[0].failed.values()) == ["gone"]
    assert ours.rejected == [{}]


def test_a_callable_and_its_errors():
    def first(updates):
        return updates[0]

    arrays, _ = round_of(RobustStrategy(first, min_train_nodes=N, min_available_nodes=N), HOSTILE["NaN"], 0)
    assert any(np.array_equal(arrays["w"].numpy(), own) for own in HONEST)  # nodes are drawn in any order
    for options, match in (
        ({"aggregator": "nonsense"}, "nonsense"),
        ({"aggregator": "mean", "f": 1}, "takes no f"),
        ({"aggregator": ("krum", {"f": 1})}, "give f as the argument"),
        ({"f": -1}, "f"),
        ({"workers": 0}, "workers"),
    ):
        with pytest.raises(ValueError, match=match):
            RobustStrategy(**options)
    with pytest.raises(TypeError, match="aggregator"):
        RobustStrategy(4)
