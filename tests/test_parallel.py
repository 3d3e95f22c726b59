"""Independent work gives the same in turn, in threads, in processes and on Dask; errors keep their type."""

import functools
import multiprocessing
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastkd._parallel import each
from fastkd.condense import condense, evaluate
from fastkd.distill import BornAgain
from fastkd.evaluation import walk_forward_report
from fastkd.features import Standardizer, walk_forward
from fastkd.models import MLPClassifier

RNG = np.random.default_rng(0)
HERE = str(Path(__file__).parent)
sys.path.append(HERE)  # the jobs are a module that new processes can import

from parallel_jobs import Own, late, square  # noqa: E402

X = RNG.normal(size=(400, 3))
Y = (X[:, 0] + 0.3 * RNG.normal(size=400) > 0).astype(int) + (X[:, 1] > 1)


@pytest.fixture(scope="module", params=["threads", "fork", "spawn", "dask"])
def executor(request):
    if request.param == "threads":
        with ThreadPoolExecutor(2) as pool:
            yield pool
    elif request.param == "dask":
        distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
        with (
            distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as c,
            distributed.Client(c) as client,
        ):
            yield client.get_executor(pure=False)
    else:
        if request.param not in multiprocessing.get_all_start_methods():
            pytest.skip(f"this system cannot {request.param}")
        context = multiprocessing.get_context(request.param)
        with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(2, mp_context=context) as pool:
            patch.setenv("PYTHONPATH", HERE)
            yield pool


@pytest.mark.parametrize("workers", [1, 2, -1])
def test_results_come_in_order(workers):
    said = []
    assert each(square, range(9), workers=workers, done=said.append) == [k * k for k in range(9)]
    assert said[-1] == 9
    assert sorted(said) == said
    assert each(square, [], workers=workers) == []


def test_an_executor_gives_the_same_and_stays_open(executor):
    said = []
    for _ in range(2):
        assert each(square, range(9), executor=executor, done=said.append) == [k * k for k in range(9)]
        with pytest.raises(Own, match="thirteen"):
            each(square, range(20), executor=executor)
    assert said[-1] == 9


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_done_is_kept_when_a_piece_fails(workers):
    kept, stop = [], threading.Event()
    with pytest.raises(Own):
        each(square, range(10, 20), workers=workers, stop=stop, keep=kept.extend)
    assert stop.is_set()
    assert kept[:3] == [100, 121, 144]
    assert 169 not in kept


def test_what_has_not_begun_is_cancelled():
    begun = []

    def slow(k):
        begun.append(k)
        time.sleep(0.02)  # so that the others still wait when the first fails
        if k == 0:
            raise Own
        return k

    with pytest.raises(Own):
        each(slow, range(200), workers=2)
    assert len(begun) < 200


def test_arguments_are_checked():
    for workers in (0, -2, 1.5, True):
        with pytest.raises(ValueError, match="workers"):
            each(square, [1], workers=workers)
    with pytest.raises(TypeError, match="submit"):
        each(square, [1], executor=4)


def test_walking_forward_has_the_same_bits_everywhere(executor):
    model = MLPClassifier((5,), epochs=2, random_state=0)

    def report(**where):
        splits = walk_forward(len(Y), 3, purge=1)
        return walk_forward_report(model, X, Y, splits, scaler=Standardizer(), **where).to_dict()

    said = []
    alone = report()
    assert report(executor=executor, progress=said.append) == alone
    assert report(workers=2) == alone
    assert said[-1] == 3


def test_a_verdict_has_the_same_bits_everywhere(executor):
    small = condense(X[:300], Y[:300], method="random", per_class=3, random_state=0)
    model = {"net": MLPClassifier((4,), epochs=3), "linear": MLPClassifier((), epochs=3)}

    def scores(**where):
        report = evaluate(small, X[:300], Y[:300], X[300:], Y[300:], model=model, seeds=2, **where)
        return [(t.name, t.model, t.rows, t.scores.tolist()) for t in report.trials]

    said = []
    alone = scores()
    assert [(name, label) for name, label, *_ in alone[:4]] == [
        ("full", "net"), ("random", "net"), ("full", "linear"), ("random", "linear"),
    ]  # fmt: skip
    assert scores(executor=executor, progress=lambda n, of: said.append((n, of))) == alone
    assert said[-1] == (said[-1][1],) * 2
    assert scores(workers=2) == alone


def test_generations_have_the_same_bits_everywhere(executor):
    def fitted(**where):
        heard = []
        ban = BornAgain(
            MLPClassifier((4,), epochs=2), generations=2, n_init=3, random_state=5,
            callback=lambda k, model, history: heard.append(k), workers=where.pop("workers", 1),
        )  # fmt: skip
        ban.fit(X, Y, eval_set=(X[:50], Y[:50]), **where)
        return [model.parameters for model in ban.generations_], sorted(heard)

    alone, heard = fitted()
    for where in ({"executor": executor}, {"workers": 2}):
        other, also = fitted(**where)
        for a, b in zip(alone, other, strict=True):
            np.testing.assert_array_equal(a, b)
        assert also == heard == [0, 0, 0, 1, 1, 1]


def test_an_error_in_a_lineage_keeps_its_type(executor):
    ban = BornAgain(MLPClassifier((4,), epochs=2), generations=3, n_init=2, temperature=functools.partial(late, 2))
    with pytest.raises(Own):
        ban.fit(X, Y, eval_set=(X[:50], Y[:50]), executor=executor)
    assert len(ban.generations_) >= 1
