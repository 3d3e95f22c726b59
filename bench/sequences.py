"""LSTM and CNN students, float32: probabilities of one window of 30 candles, and one training epoch.

One window is timed call by call (p50, p99, p99.9, less the cost of reading the clock) and also back to back;
"stream" is an LSTM that keeps its state, so that a new candle costs one step. The epoch is Adam at batch 64 on labels.
Run: ``python -m bench.sequences --json PATH [--quick]``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from bench import common, networks, roofline
from bench.common import Contender, optional

STEPS, FEATURES, CLASSES, BATCH = 30, 8, 3, 64
KINDS = ("lstm", "cnn")
UNITS, CHANNELS, KERNEL, DENSE = 150, (64, 128), 5, 32  # about 100 000 and 50 000 parameters
Parts = list[np.ndarray]


def fastkd_model(kind: str, **hyper: Any) -> Any:
    from fastkd.models import CNNClassifier, LSTMClassifier

    if kind == "lstm":
        model = LSTMClassifier(UNITS, random_state=0, **hyper)
    else:
        model = CNNClassifier(CHANNELS, kernel_size=KERNEL, hidden=(DENSE,), random_state=0, **hyper)
    return model.initialize((STEPS, FEATURES), CLASSES)


def split(flat: np.ndarray, *shapes: tuple[int, ...]) -> Parts:
    parts, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        parts.append(flat[at : at + size].reshape(shape))
        at += size
    assert at == len(flat)
    return parts


def parts_of(kind: str, flat: np.ndarray) -> Parts:
    if kind == "lstm":
        return split(flat, (FEATURES + UNITS, 4 * UNITS), (4 * UNITS,), (UNITS, CLASSES), (CLASSES,))
    a, b = CHANNELS
    body = [(KERNEL, FEATURES, a), (a,), (KERNEL, a, b), (b,)]
    return split(flat, *body, (b, DENSE), (DENSE,), (DENSE, CLASSES), (CLASSES,))


def torch_module(torch: Any, kind: str, parts: Parts) -> Any:
    nn = torch.nn

    class Network(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            if kind == "lstm":
                self.lstm = nn.LSTM(FEATURES, UNITS, batch_first=True)
                self.out = nn.Linear(UNITS, CLASSES)
            else:
                widths = zip((FEATURES, *CHANNELS[:-1]), CHANNELS, strict=True)
                convolutions = [nn.Conv1d(i, o, KERNEL, padding=KERNEL // 2) for i, o in widths]
                self.convolutions = nn.ModuleList(convolutions)
                self.dense, self.out = nn.Linear(CHANNELS[-1], DENSE), nn.Linear(DENSE, CLASSES)

        def forward(self, x: Any) -> Any:
            if kind == "lstm":
                return self.out(self.lstm(x)[0][:, -1])
            x = x.transpose(1, 2)
            for convolution in self.convolutions:
                x = convolution(x).relu()
            return self.out(self.dense(x.amax(dim=2)).relu())

    network, t = Network(), lambda a: torch.from_numpy(np.ascontiguousarray(a))
    with torch.no_grad():
        if kind == "lstm":
            network.lstm.weight_ih_l0.copy_(t(parts[0][:FEATURES].T))
            network.lstm.weight_hh_l0.copy_(t(parts[0][FEATURES:].T))
            network.lstm.bias_ih_l0.copy_(t(parts[1]))
            network.lstm.bias_hh_l0.zero_()
            dense = [(network.out, *parts[2:])]
        else:
            for k, convolution in enumerate(network.convolutions):
                convolution.weight.copy_(t(parts[2 * k].transpose(2, 1, 0)))
                convolution.bias.copy_(t(parts[2 * k + 1]))
            dense = [(network.dense, *parts[4:6]), (network.out, *parts[6:])]
        for layer, weight, bias in dense:
            layer.weight.copy_(t(weight.T))
            layer.bias.copy_(t(bias))
    return network


def onnx_session(ort: Any, kind: str, parts: Parts) -> Any:
    """The network as an ONNX graph for one window (1, steps, features), written node by node."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    if kind == "lstm":
        i, f, g, o = np.split(parts[0], 4, axis=1)
        bi, bf, bg, bo = np.split(parts[1], 4)
        gates, bias = np.concatenate([i, o, f, g], axis=1), np.concatenate([bi, bo, bf, bg])  # the order of ONNX
        w, r = constant("w", gates[:FEATURES].T[None]), constant("r", gates[FEATURES:].T[None])
        b = constant("b", np.concatenate([bias, np.zeros_like(bias)])[None])
        nodes.append(helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]))
        nodes.append(helper.make_node("LSTM", ["steps", w, r, b], ["", "last"], hidden_size=UNITS))
        nodes.append(helper.make_node("Squeeze", ["last", constant("axes", np.array([0]))], ["h"]))
        dense = [parts[2:]]
    else:
        nodes.append(helper.make_node("Transpose", ["x"], ["c0"], perm=[0, 2, 1]))
        for k in range(len(CHANNELS)):
            weight, bias = parts[2 * k].transpose(2, 1, 0), parts[2 * k + 1]
            inputs = [f"c{k}", constant(f"k{k}", weight), constant(f"b{k}", bias)]
            nodes.append(helper.make_node("Conv", inputs, [f"z{k}"], pads=[KERNEL // 2] * 2))
            nodes.append(helper.make_node("Relu", [f"z{k}"], [f"c{k + 1}"]))
        axes = constant("axes", np.array([2]))
        nodes.append(helper.make_node("ReduceMax", [f"c{len(CHANNELS)}", axes], ["h"], keepdims=0))
        dense = [parts[4:6], parts[6:]]
    name = "h"
    for k, (weight, bias) in enumerate(dense):
        nodes.append(helper.make_node("Gemm", [name, constant(f"dw{k}", weight), constant(f"db{k}", bias)], [f"d{k}"]))
        last = k == len(dense) - 1
        name = "y" if last else f"r{k}"
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"d{k}"], [name]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, STEPS, FEATURES])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(nodes, kind, [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def one_window(kind: str) -> list[Contender]:
    model = fastkd_model(kind)
    parts = parts_of(kind, model.parameters)
    x = np.random.default_rng(0).normal(size=(1, STEPS, FEATURES)).astype(np.float32)
    from fastkd import reference

    truth = networks.softmax64(reference.sequence_forward(model._kernel, model.parameters, x))
    predictor = model.predictor()
    found = [
        Contender("fastkd", predictor, (x[0],)),
        Contender("fastkd, out=", predictor, (x[0], np.empty(CLASSES, np.float32))),
    ]
    narrow = model.predictor(weights="bfloat16", calibration=x) if kind == "lstm" else None
    if narrow is not None:
        found.append(Contender("fastkd, bfloat16 weights, out=", narrow, (x[0], np.empty(CLASSES, np.float32))))
    if torch := optional("torch"):
        torch.set_num_threads(1)
        network = torch_module(torch, kind, parts).eval()

        @torch.inference_mode()
        def forward(a: Any) -> Any:
            return torch.softmax(network(a), 1)

        found.append(Contender("torch", forward, (torch.from_numpy(x),)))
    if (ort := optional("onnxruntime")) and optional("onnx"):
        session = onnx_session(ort, kind, parts)
        found.append(Contender("onnxruntime run", lambda a: session.run(None, {"x": a})[0], (x,)))
    for c in found:
        result = np.asarray(c.call(*c.args))
        c.errors["probability"] = float(np.abs(result.reshape(truth.shape) - truth).max())
    common.require([c for c in found if c.call is not narrow], 1e-5)  # rounded weights change more, and show it
    if kind == "lstm":
        stream = predictor.stream()
        for row in x[0, :-1]:
            stream.push(row)
        before, out = stream.state, np.empty(CLASSES, np.float32)
        step = Contender("fastkd, stream, one step", stream.push, (x[0, -1], out))
        step.errors["probability"] = float(np.abs(stream.push(x[0, -1]) - truth[0]).max())
        stream.state = before
        found.append(step)
    return found


def one_epoch(kind: str, rows: int) -> list[Contender]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, STEPS, FEATURES)).astype(np.float32)
    y = rng.integers(0, CLASSES, rows)
    model = fastkd_model(kind, batch_size=BATCH)
    parts = [p.copy() for p in parts_of(kind, model.parameters)]

    def fastkd_epoch() -> float:
        model.partial_fit(X, y)
        return model.history_["loss"][-1]

    found = [Contender("fastkd", fastkd_epoch, ())]
    if torch := optional("torch"):
        torch.set_num_threads(1)
        network = torch_module(torch, kind, parts)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        inputs, labels = torch.from_numpy(X), torch.from_numpy(y)

        def torch_epoch() -> float:
            total = 0.0
            for rows_of_batch in torch.randperm(rows).split(BATCH):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(network(inputs[rows_of_batch]), labels[rows_of_batch])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows_of_batch)
            return total / rows

        found.append(Contender("torch", torch_epoch, ()))
    for c in found:
        c.notes["loss"] = c.call()  # of the first epoch, each in an order of its own
    return found


def operations(kind: str) -> int:
    """Of the body for one window, a multiplication and an addition counted as two."""
    if kind == "lstm":
        return 2 * STEPS * (FEATURES + UNITS) * 4 * UNITS
    return 2 * STEPS * KERNEL * sum(a * b for a, b in pairwise((FEATURES, *CHANNELS)))


def note_limits(kind: str, found: list[Contender]) -> None:
    """One window: the operations, or the weights, which an LSTM reads again at each step."""
    for c in found:
        bytes_each = 2 if "bfloat16" in c.name else 4
        if kind == "cnn":
            least = operations(kind) / roofline.peak(4)
        else:
            n_bytes = bytes_each * (FEATURES + UNITS) * 4 * UNITS
            least = max(STEPS * n_bytes / roofline.bandwidth(n_bytes), operations(kind) / roofline.peak(4))
        roofline.note([c], least / STEPS if "one step" in c.name else least)


def main() -> None:
    options = common.arguments(__doc__)
    rounds, calls, rows = (3, 200, 512) if options.quick else (15, 20_000, 5_000)
    cases = []
    for kind in KINDS:
        size = fastkd_model(kind).n_parameters
        row = f"{kind}, {size} parameters, one window of {STEPS} steps"
        if options.only in row:
            found = one_window(kind)
            common.throughput(found, rounds=rounds, sample_seconds=2e-2 if not options.quick else 1e-3)
            note_limits(kind, found)
            timer_ns = common.timer_overhead_ns()
            common.latency(found, calls=calls)
            cases.append(common.case("sequences", row, found, timer_ns=timer_ns))
        row = f"{kind}, {size} parameters, epoch of {rows} windows, batch {BATCH}, Adam"
        if options.only in row:
            found = one_epoch(kind, rows)
            common.throughput(found, rounds=3, sample_seconds=1e-3)
            roofline.note(found, 3 * rows * operations(kind) / roofline.peak(4))
            cases.append(common.case("sequences", row, found))
    common.write("sequences", options, cases)


if __name__ == "__main__":
    main()
