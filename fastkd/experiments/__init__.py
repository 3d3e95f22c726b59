"""Whole experiments on candles: the demo's road, venues in a federation, generations of self-distillation."""

from fastkd.experiments.demo import run_demo
from fastkd.experiments.generations import generations_on_candles
from fastkd.experiments.result import DemoResult, Settings
from fastkd.experiments.venues import VenueResult, VenueSettings, read_venues, run_venues

__all__ = [
    "DemoResult",
    "Settings",
    "VenueResult",
    "VenueSettings",
    "generations_on_candles",
    "read_venues",
    "run_demo",
    "run_venues",
]
