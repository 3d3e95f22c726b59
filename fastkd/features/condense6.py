"""The recipe "condense6": differenced log prices, volatility, volume ratio and range, standardized."""

from __future__ import annotations

from fastkd._core._native import RecipeCore
from fastkd.features.recipe import Recipe, as_windows

__all__ = ["Condense6"]


class Condense6(Recipe):
    """See `FeatureSet`."""

    names = ("log_return", "high_log_return", "low_log_return", "volatility", "volume_ratio", "log_range")

    def __init__(self, *, window: int = 20) -> None:
        (self.window,) = as_windows(window, "window")
        self.n_warmup = self.window
        self.core = RecipeCore("condense6", 6, self.n_warmup, volume_window=self.window)
