"""The recipe "rich": returns, volatility, volume, candle shape and time of day, and returns of other symbols."""

from __future__ import annotations

from fastkd._core._native import RecipeCore
from fastkd.features.recipe import Recipe, as_windows

__all__ = ["Rich"]


class Rich(Recipe):
    """See `FeatureSet`."""

    def __init__(
        self,
        *,
        horizons: tuple[int, ...] = (1, 3, 12, 48),
        windows: tuple[int, ...] = (12, 48),
        volume_window: int = 48,
        symbols: tuple[str, ...] = (),
    ) -> None:
        self.horizons = as_windows(horizons, "horizons")
        self.windows = as_windows(windows, "windows")
        (self.volume_window,) = as_windows(volume_window, "volume_window")
        if isinstance(symbols, str) or not all(isinstance(symbol, str) for symbol in symbols):
            raise TypeError(f"symbols must be a tuple of names such as ('ETHUSDT',); got {symbols!r}")
        self.symbols = tuple(symbols)
        if len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"symbols must differ from each other; got {symbols!r}")
        self.n_warmup = max(*self.horizons, *self.windows, self.volume_window - 1)
        kinds = ("volatility", "parkinson", "garman_klass")
        self.names = (
            *(f"return_{h}" for h in self.horizons),
            *("body", "upper_shadow", "lower_shadow"),
            *(f"{kind}_{w}" for w in self.windows for kind in kinds),
            *("volume_change", f"volume_z_{self.volume_window}", "time_sin", "time_cos"),
            *(f"{symbol}_return_{h}" for symbol in self.symbols for h in self.horizons),
        )
        lengths = {"horizons": self.horizons, "windows": self.windows, "volume_window": self.volume_window}
        self.core = RecipeCore("rich", len(self.names), self.n_warmup, n_others=len(self.symbols), **lengths)
