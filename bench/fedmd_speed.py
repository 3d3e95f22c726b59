"""A round of federated distillation: ten students of 1,000 parameters, 1,000 public rows, 5,000 private rows each.

A round is 5 epochs on the private rows with hard labels, 5 on the public ones with soft labels, predictions on the
public rows, and their mean. fastkd runs `FedMD` as users do, checks included; torch runs the same loop, eager with its
fused Adam. Both start from the same weights; each shuffles by itself, so after the timed rounds the mean accuracies on
fresh rows agree up to noise: the difference is in the result. Run: ``python -m bench.fedmd_speed``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bench import common
from bench.common import Contender, optional

HIDDEN = [(90,), (28, 24), (32, 20), (20, 20, 16), (40, 15), (24, 28), (85,), (30, 22), (16, 32), (22, 22, 10)]
FEATURES, CLASSES, EPOCHS = 8, 3, 5
TEMPERATURE, LEARNING_RATE = 3.0, 1e-3


@dataclass(frozen=True)
class Data:
    """Rows of everybody."""

    private: list[tuple[np.ndarray, np.ndarray]]
    public: np.ndarray
    test: tuple[np.ndarray, np.ndarray]


def make_data(rows: int, public: int) -> Data:
    """Noisy labels of a fixed random network."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(FEATURES, 24)), rng.normal(size=(24, CLASSES))

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, FEATURES)).astype(np.float32)
        z = np.maximum(x @ first, 0.0) @ second / 3.0
        return x, (z + rng.gumbel(size=z.shape)).argmax(axis=1)

    return Data([draw(rows) for _ in HIDDEN], draw(public)[0], draw(20_000))


class OursRound:
    """`FedMD`, round by round."""

    def __init__(self, data: Data, batch: int) -> None:
        from fastkd.federated import Client, FedMD
        from fastkd.models import MLPClassifier

        clients = []
        for k, (hidden, (x, y)) in enumerate(zip(HIDDEN, data.private, strict=True)):
            model = MLPClassifier(hidden, learning_rate=LEARNING_RATE, batch_size=batch, random_state=k)
            clients.append(Client(f"c{k}", model.initialize(FEATURES, CLASSES), x, y))
        self.start = [c.model.parameters for c in clients]
        federation = FedMD(clients, data.public, temperature=TEMPERATURE, random_state=0, revisit_epochs=EPOCHS,
                           digest_epochs=EPOCHS)  # fmt: skip
        self.rounds = federation._rounds(0)
        self.state = self.rounds.opening(self.rounds.blank(0))
        self.test = data.test

    def __call__(self) -> None:
        self.state = self.rounds.conclude(self.rounds.ask(self.state))

    def accuracy(self) -> float:
        return float(np.mean([student.score(*self.test) for student in self.rounds.transport.students]))


class TorchRound:
    """The same in torch."""

    def __init__(self, torch: Any, data: Data, batch: int, start: list[np.ndarray]) -> None:
        self.torch, self.batch = torch, batch
        self.private = [(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in data.private]
        self.public, self.test = torch.from_numpy(data.public), torch.from_numpy(data.test[0])
        self.truth = data.test[1]
        self.models = [self._network(hidden, p) for hidden, p in zip(HIDDEN, start, strict=True)]
        self.optimizers = [torch.optim.Adam(m.parameters(), lr=LEARNING_RATE, fused=True) for m in self.models]
        self.soft: Any = None
        torch.manual_seed(0)

    def _network(self, hidden: Sequence[int], flat: np.ndarray) -> Any:
        nn, layers, at = self.torch.nn, [], 0
        sizes = (FEATURES, *hidden, CLASSES)
        for n_in, n_out in pairwise(sizes):
            linear = nn.Linear(n_in, n_out)
            with self.torch.no_grad():
                weight = flat[at : at + n_in * n_out].reshape(n_in, n_out).T.copy()
                linear.weight.copy_(self.torch.from_numpy(weight))
                linear.bias.zero_()
            at += n_in * n_out + n_out
            layers += [linear, nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def _passes(self, k: int, x: Any, y: Any, loss: Callable[[Any, Any], Any]) -> None:
        for _ in range(EPOCHS):
            order = self.torch.randperm(len(x))
            for rows, target in zip(x[order].split(self.batch), y[order].split(self.batch), strict=True):
                self.optimizers[k].zero_grad(set_to_none=True)
                loss(self.models[k](rows), target).backward()
                self.optimizers[k].step()

    def _soft_loss(self, z: Any, soft: Any) -> Any:
        functional = self.torch.nn.functional
        said = functional.log_softmax(z / TEMPERATURE, 1)
        return TEMPERATURE**2 * functional.kl_div(said, soft, reduction="batchmean")

    def __call__(self) -> None:
        answers = []
        for k, (x, y) in enumerate(self.private):
            self._passes(k, x, y, self.torch.nn.functional.cross_entropy)
            if self.soft is not None:
                self._passes(k, self.public, self.soft, self._soft_loss)
            with self.torch.no_grad():
                answers.append(self.torch.softmax(self.models[k](self.public) / TEMPERATURE, 1))
        self.soft = self.torch.stack(answers).mean(0)

    def accuracy(self) -> float:
        with self.torch.no_grad():
            return float(np.mean([(m(self.test).argmax(1).numpy() == self.truth).mean() for m in self.models]))


def run(options: Any) -> list[dict[str, Any]]:
    """Rounds in turns; the first of each, which has nothing to digest yet, is not timed."""
    rows, public, rounds = (300, 100, 2) if options.quick else (5000, 1000, 4)
    torch = optional("torch")
    data, cases = make_data(rows, public), []
    for batch in (64, 256):
        name = f"10 students, batches of {batch}"
        if options.only not in name:
            continue
        ours = OursRound(data, batch)
        works: list[tuple[Contender, Any]] = [(Contender("fastkd", ours), ours)]
        if torch is not None:
            theirs = TorchRound(torch, data, batch, ours.start)
            works.append((Contender("torch", theirs), theirs))
        for _, work in works:
            work()
        for turn in range(rounds):
            for contender, work in works[:: -1 if turn % 2 else 1]:
                begin, cpu = time.perf_counter(), time.process_time()
                work()
                contender.seconds.append(time.perf_counter() - begin)
                contender.wall_seconds += contender.seconds[-1]
                contender.cpu_seconds += time.process_time() - cpu
        for contender, work in works:
            contender.notes["accuracy"] = work.accuracy()
            contender.errors["accuracy"] = abs(contender.notes["accuracy"] - ours.accuracy())
        contenders = [contender for contender, _ in works]
        common.require(contenders, 1.0 if options.quick else 0.01)
        cases.append(common.case("a round of FedMD", name, contenders))
    return cases


def main(argv: Sequence[str] | None = None) -> None:
    options = common.arguments(__doc__, argv)
    common.write("fedmd_speed", options, run(options))


if __name__ == "__main__":
    main()
