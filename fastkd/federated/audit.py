"""How much a client's predictions tell about which rows it was trained on, measured by attacking them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_array, as_rng
from fastkd.federated.predictions import encode
from fastkd.federated.privacy import checked_mechanism
from fastkd.losses import softmax
from fastkd.models.adapters import as_model

__all__ = ["MembershipAudit", "membership_audit"]


@dataclass(frozen=True)
class MembershipAudit:
    """Success of the attack "rows that the model is surer of were in its training data".

    Attributes
    ----------
    auc : float
        Probability that a member looks more like one than a non-member; 0.5 is a guess.
    auc_error : float
        Its standard error (Hanley and McNeil 1982).
    advantage : float
        Largest true positive rate less false positive rate over all thresholds; 0 is a guess (Yeom et al. 2018). In
        small samples a guess, too, has a little more than 0.
    found_at_one_percent : float
        True positive rate at a false positive rate of at most 1 %: members named with near certainty (Carlini et al.
        2022); a guess names 1 %.
    members, non_members : int
        Rows of each kind.
    """

    auc: float
    auc_error: float
    advantage: float
    found_at_one_percent: float
    members: int
    non_members: int

    @property
    def leaks(self) -> bool:
        """Whether the attack beats a guess by more than three standard errors."""
        return self.auc > 0.5 + 3.0 * self.auc_error

    def __str__(self) -> str:
        verdict = "better than a guess" if self.leaks else "no better than a guess"
        return (
            f"membership attack: AUC {self.auc:.3f} ± {self.auc_error:.3f} ({verdict}), "
            f"advantage {self.advantage:.3f}, "
            f"{100 * self.found_at_one_percent:.1f} % of members found at 1 % false alarms"
        )


def membership_audit(
    model: Any,
    members: tuple[Any, Any],
    non_members: tuple[Any, Any],
    *,
    temperature: float = 1.0,
    space: str = "probability",
    privacy: Any = None,
    random_state: Any = None,
) -> MembershipAudit:
    """Attack a trained client as another participant could, who guesses that rows of the public set are its own.

    The attacker sees the client's predictions on all the rows, as `FedMD` would send them in one answer (softened at
    `temperature`, with the noise of `privacy` if given), and ranks the rows by the loss of their label (Yeom et al.
    2018). It is the simplest of attacks: one that fails proves nothing, one that succeeds proves a leak.

    Parameters
    ----------
    model : model
        Of a client, after the federation: ``result.clients[k].model``; anything that `as_model` takes.
    members : (X, y)
        Rows that it was trained on.
    non_members : (X, y)
        Rows of the same kind that it was not trained on. Rows of other times or venues would make the attack look
        better than it is.
    temperature, space, privacy
        As in `FedMD`. A mechanism without a noise multiplier is calibrated for one answer.
    random_state : int, numpy.random.Generator or None

    Raises
    ------
    ValueError
        For labels that the model does not know, or no rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.models import MLPClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(120, 20)), rng.integers(2, size=120)  # labels without a rule: all is memorized
    >>> model = MLPClassifier(hidden=(64,), learning_rate=0.01, epochs=200, random_state=0).fit(X[:60], y[:60])
    >>> membership_audit(model, (X[:60], y[:60]), (X[60:], y[60:])).auc > 0.8
    True
    """
    adapted = as_model(model)
    mechanism = checked_mechanism(privacy)
    tables, codes = [], []
    for name, (X, y) in (("members", members), ("non_members", non_members)):
        labels = np.asarray(y)
        if len(labels) == 0 or len(labels) != len(X):
            raise ValueError(f"{name} must be (X, y) of equal length with at least one row")
        logits = adapted.predict_logits(as_array(X, "X"))
        classes = np.asarray(getattr(adapted, "classes_", np.arange(logits.shape[1])))
        if not np.isin(labels, classes).all():
            raise ValueError(f"{name} holds labels that the model does not know; it knows {classes.tolist()}")
        tables.append(logits)
        codes.append(np.searchsorted(classes, labels))
    said = encode(np.concatenate(tables).astype(np.float64), space, temperature)
    if mechanism is not None:
        said = mechanism.calibrated(1).release(said, space, as_rng(random_state))
    if space == "logit":
        said = softmax(said)
    sure = said[np.arange(len(said)), np.concatenate(codes)]
    return _judge(sure[: len(tables[0])], sure[len(tables[0]) :])


def _judge(inside: np.ndarray, outside: np.ndarray) -> MembershipAudit:
    n, m = len(inside), len(outside)
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left")
    ties = np.searchsorted(ordered, inside, side="right") - below
    auc = float((below + 0.5 * ties).mean() / m)
    q1, q2 = auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc)
    variance = auc * (1.0 - auc) + (n - 1) * (q1 - auc * auc) + (m - 1) * (q2 - auc * auc)
    thresholds = np.unique(np.concatenate([inside, outside]))
    found = 1.0 - np.searchsorted(np.sort(inside), thresholds, side="left") / n
    false = 1.0 - np.searchsorted(ordered, thresholds, side="left") / m
    rare = false <= 0.01
    return MembershipAudit(
        auc=auc,
        auc_error=math.sqrt(max(variance, 0.0) / (n * m)),
        advantage=float(max(0.0, (found - false).max())),
        found_at_one_percent=float(found[rare].max()) if rare.any() else 0.0,
        members=n,
        non_members=m,
    )
