"""Five generations of self-distillation on 5,000 rows, from arrays to five fitted networks, float32, Adam.

The same loop everywhere: a network on the labels, then four, each from fresh weights, on labels and the outputs of the
one before it, computed once. fastkd runs `BornAgain`. torch runs the loop with its fused optimizer, rows gathered
batch by batch from one permutation an epoch. scikit-learn's classifier cannot learn from soft targets: from generation
1 on its regressor learns the teacher's log-probabilities, the usual way round. Every library draws its own weights and
orders, so only the quality can agree: the error column is the distance of the last generation's training accuracy to
fastkd's. Run: ``python -m bench.selfdistill_speed --json bench/results/selfdistill_speed.json``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from bench import common, networks
from bench.common import Contender, optional
from fastkd.distill import BornAgain
from fastkd.models import MLPClassifier

GENERATIONS, EPOCHS, BATCH = 5, 20, 64
TEMPERATURE, KD_WEIGHT, LEARNING_RATE = 3.0, 0.7, 1e-3
SHAPES = [(4, 32, 16, 3), (16, 64, 32, 3)]


def make_data(sizes: tuple[int, ...], rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, sizes[0])).astype(np.float32)
    logits = networks.forward64(networks.weights(sizes, seed=7), x)[-1]
    return x, (2.0 * logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def fastkd_loop(sizes: tuple[int, ...], x: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[], np.ndarray]:
    model = MLPClassifier(
        sizes[1:-1], learning_rate=LEARNING_RATE, batch_size=BATCH, epochs=epochs, n_iter_no_change=None
    )

    def run() -> np.ndarray:
        ban = BornAgain(
            model,
            GENERATIONS,
            temperature=TEMPERATURE,
            kd_weight=KD_WEIGHT,
            validation_fraction=0.0,
            random_state=0,
        )
        return ban.fit(x, y).predict(x)

    return run


def torch_loop(
    torch: Any, sizes: tuple[int, ...], x: np.ndarray, y: np.ndarray, epochs: int
) -> Callable[[], np.ndarray]:
    F = torch.nn.functional
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)

    def network(seed: int) -> Any:
        torch.manual_seed(seed)
        parts: list[Any] = []
        for n_in, n_out in pairwise(sizes):
            parts += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        return torch.nn.Sequential(*parts[:-1])

    def run() -> np.ndarray:
        soft = None
        logits = None
        for generation in range(GENERATIONS):
            model = network(generation)
            optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
            for _ in range(epochs):
                for batch in torch.randperm(len(rows)).split(BATCH):
                    z = model(rows[batch])
                    loss = F.cross_entropy(z, labels[batch])
                    if soft is not None:
                        student = F.log_softmax(z / TEMPERATURE, dim=1)
                        kl = F.kl_div(student, soft[batch], reduction="batchmean")
                        loss = KD_WEIGHT * TEMPERATURE**2 * kl + (1 - KD_WEIGHT) * loss
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            with torch.no_grad():
                logits = model(rows)
                soft = F.softmax(logits / TEMPERATURE, dim=1)
        assert logits is not None
        return logits.argmax(dim=1).numpy()

    return run


def sklearn_loop(sizes: tuple[int, ...], x: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[], np.ndarray]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier as Classifier
    from sklearn.neural_network import MLPRegressor as Regressor

    shared = {
        "hidden_layer_sizes": sizes[1:-1],
        "learning_rate_init": LEARNING_RATE,
        "batch_size": BATCH,
        "max_iter": epochs,
        "n_iter_no_change": epochs,
        "alpha": 0.0,
    }

    def run() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            first = Classifier(random_state=0, **shared).fit(x, y)
            target = np.log(np.maximum(first.predict_proba(x), 1e-4)).astype(np.float32)
            for generation in range(1, GENERATIONS):
                target = Regressor(random_state=generation, **shared).fit(x, target).predict(x)
        return target.argmax(axis=1)

    return run


def main() -> None:
    options = common.arguments(__doc__)
    rows, epochs, rounds = (500, 2, 2) if options.quick else (5000, EPOCHS, 5)
    cases = []
    for sizes in SHAPES:
        row = f"{GENERATIONS} generations of {networks.label(sizes)}, {rows:,} rows, {epochs} epochs, batch {BATCH}"
        if options.only not in row:
            continue
        x, y = make_data(sizes, rows)
        loops = {"fastkd": fastkd_loop(sizes, x, y, epochs)}
        if torch := optional("torch"):
            loops["torch"] = torch_loop(torch, sizes, x, y, epochs)
        if optional("sklearn"):
            loops["scikit-learn"] = sklearn_loop(sizes, x, y, epochs)
        accuracy = {name: float((run() == y).mean()) for name, run in loops.items()}
        contenders = [
            Contender(
                name,
                run,
                errors={"accuracy": abs(accuracy[name] - accuracy["fastkd"])},
                notes={"training accuracy": accuracy[name]},
            )
            for name, run in loops.items()
        ]
        if not options.quick:
            common.require(contenders, 0.05)
        common.throughput(contenders, rounds=rounds)
        cases.append(common.case("selfdistill_speed", row, contenders))
    common.write("selfdistill_speed", options, cases)


if __name__ == "__main__":
    main()
