"""How much a client's predictions tell about which rows it was trained on, measured by attacking them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd._check import as_array, as_rng, to_array
from fastkd.federated.predictions import encode
from fastkd.federated.privacy import GaussianMechanism, checked_mechanism
from fastkd.losses import softmax
from fastkd.models._hyperparameters import integer
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
        """Whether the attack beats a guess by more than three standard errors of a guess.

        A guess with n members and m non-members has the variance (n + m + 1) / (12 n m) (Mann and Whitney 1947);
        `auc_error`, that of the attack, is 0 for a single pair in the right order.
        """
        n, m = self.members, self.non_members
        return self.auc > 0.5 + 3.0 * math.sqrt((n + m + 1) / (12.0 * n * m))

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
    rows: int | None = None,
    random_state: Any = None,
) -> MembershipAudit:
    """Attack a trained client as another participant could, who guesses that rows of the public set are its own.

    The attacker sees the client's predictions on the rows as `FedMD` would send them (softened at `temperature`, with
    the noise of `privacy` if given), and ranks the rows by the loss of their label (Yeom et al. 2018). It is the
    simplest of attacks: one that fails proves nothing, one that succeeds proves a leak.

    A mechanism clips an answer as a whole, so the more rows an answer has, the less is seen of each. With `privacy`
    members and non-members are therefore mixed at random and sent in answers of `rows` rows, each clipped and noised
    by itself, as the federation's were. What is found then does not depend on how many rows are audited.

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
        As in `FedMD`. A mechanism without a noise multiplier is calibrated for one answer: the attacker sees each
        row once.
    rows : int, optional
        Rows of an answer: the federation's `public_rows`, or the number of all its public rows if it had none. Needed
        with `privacy`, and of no effect without. The last answer is filled up with rows of the others.
    random_state : int, numpy.random.Generator or None

    Raises
    ------
    ValueError
        For labels that the model does not know, no rows, or `privacy` without `rows`.

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
    if rows is not None:
        integer("rows", rows, low=1)
    elif mechanism is not None:
        raise ValueError("privacy needs rows: how many rows an answer of the federation has (its public_rows)")
    tables, codes = [], []
    for name, (X, y) in (("members", members), ("non_members", non_members)):
        labels = to_array(y, "y")
        if len(labels) == 0 or len(labels) != len(X):
            raise ValueError(f"{name} must be (X, y) of equal length with at least one row")
        logits = adapted.predict_logits(as_array(X, "X"))
        classes = np.asarray(getattr(adapted, "classes_", np.arange(logits.shape[1])))
        if not np.isin(labels, classes).all():
            raise ValueError(f"{name} holds labels that the model does not know; it knows {classes.tolist()}")
        tables.append(logits)
        codes.append(np.searchsorted(classes, labels))
    said = encode(np.concatenate(tables).astype(np.float64), space, temperature)
    if mechanism is not None and rows is not None:
        said = _released(said, mechanism.calibrated(1), space, rows, as_rng(random_state))
    if space == "logit":
        said = softmax(said)
    sure = said[np.arange(len(said)), np.concatenate(codes)]
    return _judge(sure[: len(tables[0])], sure[len(tables[0]) :])


def _released(
    said: np.ndarray, mechanism: GaussianMechanism, space: str, rows: int, rng: np.random.Generator
) -> np.ndarray:
    """All rows as an attacker sees them in answers of `rows` rows each."""
    order = rng.permutation(len(said))
    seen = np.empty_like(said)
    for first in range(0, len(said), rows):
        block = order[first : first + rows]
        filling = rng.choice(len(said), rows - len(block))
        seen[block] = mechanism.release(said[np.concatenate([block, filling])], space, rng)[: len(block)]
    return seen


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
