"""ONNX files: read by the checker and by ONNX Runtime, NaN kept, back again through as_model."""

import json
import sys

import numpy as np
import pytest

from fastkd.deploy import ExportError, export_onnx
from fastkd.distill import BeYourOwnTeacher
from fastkd.features import Standardizer
from fastkd.losses import softmax
from fastkd.models import CNNClassifier, MLPClassifier, as_model


@pytest.fixture
def session():
    runtime = pytest.importorskip("onnxruntime")

    def open_file(path):
        return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    return open_file


@pytest.mark.peers
@pytest.mark.parametrize("guard", [True, False])
def test_onnxruntime_answers_as_the_model(tools, tmp_path, every_kind, guard, session):
    onnx = pytest.importorskip("onnx")
    model = tools.network(every_kind)
    path = tmp_path / "student.onnx"
    export_onnx(model, path, nan_guard=guard)
    onnx.checker.check_model(str(path), full_check=True)
    X = tools.rows_for(model, 100)
    (out,) = session(path).run(None, {"x": X})
    wanted = model.predict(X) if every_kind == "values" else model.predict_proba(X)
    np.testing.assert_allclose(out, wanted, atol=2e-5)
    if guard:
        flat = X.reshape(100, -1)
        places = np.random.default_rng(0).integers(0, flat.shape[1], 50)
        flat[np.arange(50), places] = np.random.default_rng(1).choice(tools.HOSTILE[:4], 50)
        (out,) = session(path).run(None, {"x": X})
        assert np.isnan(out[:50]).all()
        np.testing.assert_allclose(out[50:], wanted[50:], atol=2e-5)


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["relu", "lstm", "cnn"])
def test_the_road_back_through_as_model(tools, tmp_path, kind, session):
    model = tools.network(kind)
    export_onnx(model, tmp_path / "logits.onnx", output="logits")
    export_onnx(model, tmp_path / "one.onnx", batch=1)
    X = tools.rows_for(model, 30)
    back = as_model(session(tmp_path / "logits.onnx"))
    np.testing.assert_allclose(back.predict_logits(X), model.predict_logits(X), atol=1e-4)
    np.testing.assert_allclose(back.predict_proba(X), model.predict_proba(X), atol=2e-5)
    one = session(tmp_path / "one.onnx")
    assert one.get_inputs()[0].shape == [1, *X.shape[1:]]
    assert one.get_outputs()[0].name == "probabilities"
    (p,) = one.run(None, {"x": X[:1]})
    np.testing.assert_allclose(p, model.predict_proba(X[:1]), atol=2e-5)


@pytest.mark.peers
def test_zeros_around_a_window_are_means(tmp_path, session):
    model = CNNClassifier((4,), kernel_size=5, random_state=0).initialize((3, 1), 2)
    model.scaler = Standardizer.from_numbers([70000.1], [3.0])
    export_onnx(model, tmp_path / "student.onnx")
    X = np.float32(70000 + np.random.default_rng(0).normal(size=(20, 3, 1)))
    (p,) = session(tmp_path / "student.onnx").run(None, {"x": X})
    scaled = (X.astype(np.float64) - 70000.1) / 3.0
    model.scaler = None
    np.testing.assert_allclose(p, model.predict_proba(scaled.astype(np.float32)), atol=1e-6)


# -- without any package of ONNX: the file read back by the rules of protobuf ------------------------------------------


def fields(data):
    """[(field, value), ...] of a message."""
    found, at = [], 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            size = varint() if key & 7 == 2 else 4
            found.append((key >> 3, data[at : at + size]))
            at += size
    return found


def constants(path):
    """The tensors of the graph by name, and the metadata."""
    whole = fields(path.read_bytes())
    (graph,) = [v for k, v in whole if k == 7]
    tensors = {}
    for field, data in fields(graph):
        if field == 5:
            parts = fields(data)
            shape = [v for k, v in parts if k == 1]
            kind = {1: "<f4", 7: "<i8"}[dict(parts)[2]]
            tensors[dict(parts)[8].decode()] = np.frombuffer(dict(parts)[9], kind).reshape(shape)
    metadata = {dict(fields(v))[1].decode(): dict(fields(v))[2].decode() for k, v in whole if k == 14}
    return tensors, metadata


def test_the_file_holds_the_weights_and_their_origin(tools, tmp_path):
    model = tools.network("relu")
    report = export_onnx(model, tmp_path / "student.onnx", output="probabilities")
    assert report.rows == 1000
    assert 0 < report.error < 2e-5
    assert report.bytes == (tmp_path / "student.onnx").stat().st_size
    tensors, metadata = constants(tmp_path / "student.onnx")
    x = tools.rows_for(model, 50)
    z = x - tensors["mean"]
    for k in range(3):
        z = z @ tensors[f"W{k}"] + tensors[f"B{k}"]
        z = np.maximum(z, 0) if k < 2 else z
    np.testing.assert_allclose(softmax(z), model.predict_proba(x), atol=2e-5)
    about = json.loads(metadata["fastkd"])
    assert about["sha256"] == report.sha256
    assert about["classes"] == [0, 1, 2]
    assert report.files == {str(tmp_path / "student.onnx"): (tmp_path / "student.onnx").stat().st_size}


@pytest.mark.parametrize(
    ("kind", "change", "error", "words"),
    [
        ("relu", {"output": "values"}, ExportError, "no values"),
        ("values", {"output": "logits"}, ExportError, "no logits"),
        ("relu", {"output": "labels"}, ValueError, "output must be"),
        ("relu", {"batch": 0}, ValueError, "batch"),
        ("relu", {"batch": "a b"}, ValueError, "batch"),
    ],
)
def test_wrong_arguments_are_named(tools, tmp_path, kind, change, error, words):
    with pytest.raises(error, match=words):
        export_onnx(tools.network(kind), tmp_path / "student.onnx", **change)
    assert list(tmp_path.iterdir()) == []


def test_exits_are_refused(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 2))
    net = BeYourOwnTeacher(MLPClassifier((4, 4), epochs=1), random_state=0).fit(X, (X[:, 0] > 0).astype(int))
    with pytest.raises(ExportError, match="exits_"):
        export_onnx(net, tmp_path / "student.onnx")
    export_onnx(net.exits_[0], tmp_path / "student.onnx")


@pytest.mark.parametrize("runtime", [True, False])
def test_every_kind_is_checked(tools, tmp_path, every_kind, runtime, monkeypatch):
    if runtime:
        pytest.importorskip("onnxruntime")
    else:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    options = [{}, {"batch": 7}, {"nan_guard": False}]
    for change in [*options, {"output": "logits"}][: 3 if every_kind == "values" else 4]:
        report = export_onnx(tools.network(every_kind), tmp_path / "student.onnx", **change)
        assert report.error < 2e-5
        assert "rows" in report.checks["the graph in NumPy"]
        assert report.checks["ONNX Runtime"].startswith("not installed") != runtime


@pytest.mark.parametrize("kind", ["relu", "gelu", "values", "lstm_mean", "cnn_mean"])
@pytest.mark.parametrize("broken", ["weight", "operator", "guard"])
def test_a_wrong_graph_is_found_and_nothing_is_written(tools, tmp_path, kind, broken, monkeypatch):
    from fastkd.deploy.export import onnx as module

    tensor = module._Graph.constant

    def off(graph, name, array, dtype=np.float32):
        array = np.array(array)
        if name == "W0":
            array[0, 0] += 0.1
        return tensor(graph, name, array, dtype)

    if broken == "weight":
        monkeypatch.setattr(module._Graph, "constant", off)
    elif broken == "operator":
        swapped = {"Relu": "Tanh", "Tanh": "Relu", "Erf": "Tanh", "GlobalAveragePool": "GlobalMaxPool"}
        add = module._Graph.add
        monkeypatch.setattr(module._Graph, "add", lambda self, op, *a, **k: add(self, swapped.get(op, op), *a, **k))
    else:
        monkeypatch.setattr(module, "_guard", lambda g, s, z, name: g.add("Relu", [z], name))
    with pytest.raises(ExportError, match=r"differs from the model|with a number"):
        export_onnx(tools.network(kind), tmp_path / "student.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_guard_that_is_missing_is_found(tools, tmp_path, monkeypatch):
    from fastkd.deploy.export import onnx as module
    from fastkd.deploy.export import onnx_check

    zero = np.zeros(1)
    monkeypatch.setattr(module, "_guard", lambda g, s, z, name: g.add("Add", [z, g.constant("zero", zero)], name))
    monkeypatch.setitem(onnx_check.OPERATORS, "Relu", lambda x: np.fmax(x, 0.0))  # as runtimes that lose a NaN
    with pytest.raises(ExportError, match="with a number"):
        export_onnx(tools.network("relu"), tmp_path / "student.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_the_runtime_does_not_take_is_an_error(tools, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from fastkd.deploy.export import onnx_check, protobuf

    monkeypatch.setattr(protobuf, "OPSET", 9999)
    with pytest.raises(ExportError, match="opset"):
        export_onnx(tools.network("relu"), tmp_path / "student.onnx")
    monkeypatch.setattr(onnx_check, "OPSET", 9999)
    with pytest.raises(ExportError, match="does not run"):
        export_onnx(tools.network("relu"), tmp_path / "student.onnx")
    assert list(tmp_path.iterdir()) == []
