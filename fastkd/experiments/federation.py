"""The demo's federation: desks keep their rows, train the student together, and some are hostile; rule by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastkd.evaluation import class_shares
from fastkd.experiments.result import Federation, Settings

RULES = ("mean", "median", "trimmed_mean", "krum", "geometric_median")
HOSTILE_SHARE = 0.3
LEARNING_RATE = 0.5


def robust_federation(data: Any, settings: Settings) -> Federation:
    """Test accuracy of every rule under every attack; the rows are dealt to the desks at random.

    With client momentum 0.9, since "a little is enough" hides in the noise of batches, which momentum averages away
    (Karimireddy, He and Jaggi 2021): with small batches and many attackers no rule withstands it otherwise, see
    docs/robust.md.
    """
    from fastkd.federated import (
        ALittleIsEnough,
        Client,
        FederationError,
        InnerProductManipulation,
        RobustFL,
        SignFlip,
        partition,
    )
    from fastkd.models import MLPClassifier

    attacks: dict[str, Any] = {
        "nobody attacks": None,
        "sign flip x10": SignFlip(scale=10.0),
        "a little is enough": ALittleIsEnough(),
        "inner product": InnerProductManipulation(epsilon=2.0),
    }
    parts = partition(data.y_train, settings.desks, random_state=settings.seed)
    desks = [Client(f"desk {i + 1}", None, data.X_train[rows], data.y_train[rows]) for i, rows in enumerate(parts)]
    hostile = round(HOSTILE_SHARE * len(desks))
    accuracy = np.empty((len(attacks), len(RULES)))
    model = MLPClassifier(settings.student_hidden, random_state=settings.seed)
    model.initialize(data.X_train.shape[1], len(class_shares(data.y_train, 3)))
    for i, attack in enumerate(attacks.values()):
        for j, rule in enumerate(RULES):
            federation = RobustFL(
                model,
                desks,
                aggregator=rule,
                f=hostile,
                rounds=settings.federation_rounds,
                learning_rate=LEARNING_RATE,
                momentum=0.9,
                batch_size=settings.batch_size,
                attacks={} if attack is None else {desk.name: replace(attack) for desk in desks[:hostile]},
                random_state=settings.seed,
            )
            try:
                trained = federation.run().server_model
            except FederationError as error:  # the parameters ran over: judged by the last good ones
                if error.result is None:
                    raise
                trained = error.result.server_model
            accuracy[i, j] = np.mean(trained.predict_logits(data.X_test).argmax(axis=1) == data.y_test)
    return Federation(len(desks), hostile, tuple(attacks), RULES, accuracy)
