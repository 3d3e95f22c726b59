"""The recipe "regime3": return, range and volume against its average, scaled to 0 .. 1 by the training part."""

from __future__ import annotations

from fastkd._core._native import RecipeCore
from fastkd.features.recipe import Recipe, as_windows
from fastkd.features.scaling import MinMaxScaler01

__all__ = ["Regime3"]


class Regime3(Recipe):
    """See `FeatureSet`."""

    names = ("return", "volatility", "volume_ratio")
    scaler = MinMaxScaler01

    def __init__(self, *, window: int = 20) -> None:
        (self.window,) = as_windows(window, "window")
        self.n_warmup = self.window - 1
        self.core = RecipeCore("regime3", 3, self.n_warmup, volume_window=self.window)
