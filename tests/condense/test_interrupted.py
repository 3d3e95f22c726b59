"""Interrupts, checkpoints, and arguments that cannot be: nothing is lost, nothing of another problem is taken."""

import itertools
import json
import signal
import threading

import numpy as np
import pytest

from fastkd.condense import condense, condensing
from fastkd.condense.course import Course
from fastkd.models import MLPClassifier

FEW = {"method": "distribution_matching", "per_class": 2, "random_state": 0}


def stop_at(at, error=KeyboardInterrupt):
    def progress(done, total, loss):
        if done == at:
            raise error

    return progress


def test_an_interrupt_saves_the_last_whole_step(blobs, tmp_path):
    options = FEW | {"iterations": 40, "learning_rate": 0.1}
    whole = condense(*blobs, **options)
    path = tmp_path / "stopped.npz"
    condense(*blobs, checkpoint=path, progress=stop_at(17), **options)
    seen = []
    rest = condense(*blobs, checkpoint=path, progress=lambda done, *_: seen.append(done), **options)
    assert seen[0] == 18
    np.testing.assert_array_equal(rest.X, whole.X)
    assert rest.history == whole.history


def test_an_error_of_progress_saves_it_too(blobs, tmp_path):
    options = FEW | {"iterations": 40, "learning_rate": 0.1, "checkpoint": tmp_path / "c.npz"}
    with pytest.raises(BrokenPipeError):
        condense(*blobs, progress=stop_at(17, BrokenPipeError), **options)
    seen = []
    condense(*blobs, progress=lambda done, *_: seen.append(done), **options)
    assert seen[0] == 18


def test_an_interrupt_within_a_step_undoes_it(tmp_path):
    from fastkd.condense.course import Checkpoint

    def step(state, rng, stop=None):
        state["X"] += rng.normal(size=2)
        if stop is not None and len(way.losses) == stop:
            raise KeyboardInterrupt
        return float((state["X"] ** 2).sum())

    def start():
        return {"X": np.zeros(2)}, np.random.default_rng(0)

    state, rng = start()
    way = Course(9)
    expected = way.run(state, step, rng)
    state, rng = start()
    way = Course(9, checkpoint=Checkpoint.open(tmp_path / "c.npz", {}))
    way.run(state, lambda s, r: step(s, r, stop=4), rng)
    assert way.interrupted
    state, rng = start()
    way = Course(9, checkpoint=Checkpoint.open(tmp_path / "c.npz", {}))
    np.testing.assert_array_equal(way.run(state, step, rng)["X"], expected["X"])


def test_it_is_saved_by_time_too(blobs, tmp_path, monkeypatch):
    """A process that is killed leaves what was saved before."""
    clock = iter(range(0, 10**6, 3))  # three seconds a look
    monkeypatch.setattr("fastkd.condense.course.time.monotonic", lambda: next(clock))
    path, found = tmp_path / "c.npz", []
    condense(
        *blobs, iterations=5, learning_rate=0.1, checkpoint=path, progress=lambda *_: found.append(path.exists()), **FEW
    )
    assert found[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_of_the_search_keeps_what_was_scored(blobs, monkeypatch, workers):
    score, calls, lock = condensing.proxy_score, [], threading.Lock()

    def interrupted(*args):
        with lock:
            calls.append(1)
            number = len(calls)
        if number == 2:
            raise KeyboardInterrupt
        return score(*args)

    monkeypatch.setattr(condensing, "proxy_score", interrupted)
    small = condense(*blobs, iterations=50, workers=workers, **FEW)
    assert small.info["interrupted"]
    assert np.isfinite(small.X).all()
    assert 1 <= len(small.history["search"]) < 4
    assert f"{small.history['learning_rate']:g}" in small.history["search"]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads")
def test_control_c_while_threads_search(blobs, monkeypatch):
    """The signal meets the main thread, which only waits; the trials in the others must end, too."""
    steps, run, last, met = itertools.count(1), Course.run, [], threading.Event()

    def handler(*_):
        met.set()
        raise KeyboardInterrupt

    def count(self, state, step, rng):
        def counted(state, rng):
            last[:] = [number := next(steps)]
            if number == 2000:  # all threads have long begun
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            if number >= 2000:  # on a busy machine the main thread may take its time
                met.wait(60)
            return step(state, rng)

        return run(self, state, counted, rng)

    monkeypatch.setattr(Course, "run", count)
    before = signal.signal(signal.SIGINT, handler)
    try:
        small = condense(*blobs, iterations=500_000, workers=2, **FEW)
    finally:
        signal.signal(signal.SIGINT, before)
    assert small.info["interrupted"]
    assert small.info["iterations"] >= 1
    assert last[0] < 100_000  # one trial has that many


def test_finished_trials_and_their_scores_are_kept(blobs, tmp_path, monkeypatch):
    path, options = tmp_path / "c.npz", FEW | {"iterations": 30}
    whole = condense(*blobs, **options)
    score, calls = condensing.proxy_score, []

    def third_interrupts(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(*args)

    monkeypatch.setattr(condensing, "proxy_score", third_interrupts)
    first = condense(*blobs, checkpoint=path, **options)
    assert first.info["interrupted"]
    assert len(first.history["search"]) == 2
    rest = condense(*blobs, checkpoint=path, progress=stop_at(20), **options)
    assert len(calls) == 5  # two were there
    assert rest.history["search"] == whole.history["search"]
    rest = condense(*blobs, checkpoint=path, **options)
    assert len(calls) == 5
    np.testing.assert_array_equal(rest.X, whole.X)
    assert rest.history == whole.history


def test_a_checkpoint_of_another_problem_is_refused(blobs, tmp_path):
    X, y = blobs
    options = FEW | {"iterations": 5, "learning_rate": 0.1, "checkpoint": tmp_path / "c.npz"}
    small = condense(X, y, **options)
    other = X.copy()
    other[17, 2] += 1e-3
    changes = [{"model": (8,)}, {"batch_size": 10}, {"learning_rate": 0.2}, {"learning_rate": None}, {"per_class": 3}]
    for data, change in [((other, y), {}), ((X[:, :3], y), {}), ((X, y % 2), {}), ((X, y + 5), {})] + [
        ((X, y), change) for change in [*changes, {"random_state": 1}, {"model": MLPClassifier(activation="tanh")}]
    ]:
        with pytest.raises(ValueError, match="another condensation"):
            condense(*data, **(options | change))
    with pytest.raises(ValueError, match="needs random_state"):
        condense(X, y, **(options | {"random_state": None}))
    longer = condense(X, y, **(options | {"iterations": 8}))
    assert longer.history["loss"][:5] == small.history["loss"]
    assert len(longer.history["loss"]) == 8


def test_a_file_that_is_no_checkpoint_is_refused(blobs, tmp_path):
    path = tmp_path / "c.npz"
    options = FEW | {"iterations": 5, "learning_rate": 0.1, "checkpoint": path}
    small = condense(*blobs, **options)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"state/X": np.zeros((2, 2))}))
    with pytest.raises(ValueError, match="damaged: X is float64"):
        condense(*blobs, **options)
    about = json.loads(str(arrays["about"])) | {"rng": {"bit_generator": "none"}}
    np.savez(path, **(arrays | {"about": np.array(json.dumps(about))}))
    with pytest.raises(ValueError, match="damaged"):
        condense(*blobs, **options)
    small.save(path)
    with pytest.raises(ValueError, match="no checkpoint of a condensation"):
        condense(*blobs, **options)


@pytest.mark.parametrize("method", ["centroids", "kmedoids", "herding", "kcenter", "random", "distribution_matching"])
@pytest.mark.parametrize("pool", [0, 3, 2.5, True])
def test_a_pool_that_is_too_short(blobs, method, pool):
    with pytest.raises(ValueError, match="pool"):
        condense(*blobs, method=method, per_class=4, pool=pool)
    with pytest.raises(ValueError, match="pool"):
        condense(iter([blobs]), method=method, per_class=4, pool=pool)


BAD = [
    ("gradient_matching", {"iterations": 0}),
    ("gradient_matching", {"iterations": -5}),
    ("gradient_matching", {"iterations": 2.5}),
    ("gradient_matching", {"tol": -1}),
    ("gradient_matching", {"workers": 0}),
    ("gradient_matching", {"workers": -3}),
    ("gradient_matching", {"outer": -1}),
    ("gradient_matching", {"outer": 0}),
    ("gradient_matching", {"inner": -1}),
    ("gradient_matching", {"clip": -1}),
    ("gradient_matching", {"momentum": 9}),
    ("gradient_matching", {"batch_size": -1}),
    ("gradient_matching", {"network_learning_rate": 0}),
    ("gradient_matching", {"label_learning_rate": -1}),
    ("gradient_matching", {"distance": "far"}),
    ("distribution_matching", {"batch_size": 0}),
    ("feature_alignment", {"momentum": 1}),
    ("kip", {"ridge": -1.0}),
    ("kip", {"gamma": -1.0}),
    ("kip", {"batch_size": 0}),
    ("unrolled", {"step_size": -1}),
    ("unrolled", {"steps": 0}),
    ("unrolled", {"batch_size": 0}),
    ("trajectory_matching", {"experts": 0}),
    ("trajectory_matching", {"latest_start": -2}),
    ("trajectory_matching", {"steps": 0}),
    ("trajectory_matching", {"step_size": 0}),
    ("trajectory_matching", {"expert_rows": 0}),
    ("trajectory_matching", {"expert_learning_rate": -1}),
    ("centroids", {"checkpoint": "c.npz"}),
    ("herding", {"learning_rate": 0.1}),
    ("linear_sketch", {"iterations": 5}),
    ("random", {"tol": 0.1}),
]


@pytest.mark.parametrize(("method", "change"), BAD, ids=str)
def test_arguments_that_cannot_be(blobs, method, change):
    learnt = {"iterations": 1, "learning_rate": 0.1} if method in condensing.LEARNT else {}
    with pytest.raises(ValueError, match=next(iter(change))):
        condense(*blobs, method=method, per_class=2, random_state=0, **(learnt | change))


def test_a_teacher_of_other_classes_is_refused_before_the_work(blobs, monkeypatch):
    X, y = blobs
    teacher = MLPClassifier(hidden=(), epochs=2).fit(X, y % 2)
    monkeypatch.setattr(condensing, "_choose", None)
    with pytest.raises(ValueError, match="knows 2 classes, the data have 3"):
        condense(X, y, method="random", per_class=2, teacher=teacher)
    with pytest.raises(ValueError, match="y holds real values"):
        condense(X, X[:, 0], method="random", per_class=2, teacher=teacher)


def test_experts_of_other_data_are_refused(blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "experts.npy"
    options = {"method": "trajectory_matching", "per_class": 1, "iterations": 2, "learning_rate": 0.03}
    options |= {"experts": 1, "epochs": 3, "trajectories": path}
    condense(X, y, random_state=0, **options)
    made = path.stat().st_mtime_ns
    condense(X, y, random_state=1, **options)  # another start, the same experts
    assert path.stat().st_mtime_ns == made
    for data, change in [((X * 50, y), {}), ((X, (y + 1) % 3), {}), ((X, y), {"expert_learning_rate": 0.5})]:
        with pytest.raises(ValueError, match="other experts"):
            condense(*data, random_state=0, **(options | change))
    (tmp_path / "experts.npy.json").unlink()
    with pytest.raises(ValueError, match="no stamp"):
        condense(X, y, random_state=0, **options)


def test_divergence_from_the_first_step_is_told(blobs):
    X, y = blobs
    options = {"method": "unrolled", "per_class": 2, "iterations": 5, "learning_rate": 0.1, "random_state": 0}
    with pytest.warns(RuntimeWarning, match="standardize X"), np.errstate(all="ignore"):
        small = condense(X * 1e150, y, **options)
    assert small.info["diverged"]
    assert small.history["loss"] == []
    assert not condense(X, y, **options).info["diverged"]
