"""The demo's federated distillation: desks with networks of their own learn from each other's forecasts (FedMD)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastkd.experiments.result import Distillation, Settings
from fastkd.experiments.venues import FEDMD, LOCAL, POOLED, Venue, VenueResult, VenueSettings, run_venues

BLOCK = 48  # rows that a desk gets at a time, at most
LEAST_ROWS = 150  # of a desk, so that each of its three periods has the 30 rows that a federation wants
RULES = ("mean", "median")
LIE = "LossMaximization"


def distilling_desks(data: Any, settings: Settings) -> Distillation | None:
    """Accuracy on later rows of every way to learn; None where there are too few rows for three desks.

    Rows in time order are dealt to the desks in blocks, one after the other. First comes a past of which each desk
    keeps its own rows and has labels for a few, then a public period without labels, then the test part. Each draw has
    its own labels, public rows and initial weights. One desk lies in the last ways, and no way is judged by its rows.
    """
    X, y = np.concatenate([data.X_train, data.X_test]), np.concatenate([data.y_train, data.y_test])
    desks = min(settings.distilling_desks, len(y) // LEAST_ROWS)
    if desks < 3:
        return None
    block = min(BLOCK, len(y) // (10 * desks))
    owner = np.arange(len(y)) // block % desks
    venues = [
        Venue(f"desk {i + 1}", X[owner == i], y[owner == i], np.flatnonzero(owner == i)) for i in range(desks)
    ]  # row numbers for times: gaps in the candles shall not leave a desk without rows
    liar = venues[0].name
    begin, end = max(v.start_ms[0] for v in venues), min(v.start_ms[-1] for v in venues)  # what all have in common
    told = VenueSettings(
        folds=1,
        public_share=0.25,
        test_share=float((end - len(data.y_train) + 0.5) / (end - begin)),
        labels=settings.few_labels,
        rounds=settings.distilling_rounds,
        learning_rate=0.003,
        epochs=2,
        initial_epochs=30,
    )
    ways: dict[str, list[float]] = {}
    sent = 0
    for draw in range(settings.draws):
        seeded = replace(told, seed=settings.seed * 1000 + draw)
        peace = run_venues(venues, seeded, ways=(LOCAL, FEDMD, POOLED))
        sent += peace.bytes_up + peace.bytes_down
        for way in (LOCAL, FEDMD, POOLED):
            ways.setdefault(way, []).append(_accuracy(peace, way, liar))
        for rule in RULES:
            attacked = replace(seeded, attacks={liar: LIE}, aggregator=rule, f=int(rule != "mean"))
            lied_to = run_venues(venues, attacked, ways=(FEDMD,))
            ways.setdefault(f"{FEDMD}, one liar, {rule}", []).append(_accuracy(lied_to, FEDMD, liar))
    honest = [found for name, found in peace.by_venue[LOCAL].items() if name != liar]
    shares = np.average([found.shares for found in honest], axis=0, weights=[found.n for found in honest])
    return Distillation(
        desks=desks,
        labels=settings.few_labels,
        ways=tuple(ways),
        accuracy=np.array(list(ways.values())),
        majority=float(shares.max()),
        test_rows=sum(found.n for found in honest),
        bytes_sent=sent // settings.draws,
    )


def _accuracy(result: VenueResult, way: str, liar: str) -> float:
    """Of all desks but one, over their rows together."""
    found = [e for name, e in result.by_venue[way].items() if name != liar]
    return sum(e.accuracy * e.n for e in found) / sum(e.n for e in found)
