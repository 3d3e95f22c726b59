"""The recipe "ohlcv4": the shape of one candle and its change of volume."""

from __future__ import annotations

import sys

from fastkd._core._native import RecipeCore
from fastkd.features.recipe import Recipe

__all__ = ["OHLCV4"]

VOLUME_CAP = 10.0


class OHLCV4(Recipe):
    """See `FeatureSet`."""

    names = ("return", "body_ratio", "upper_shadow", "volume_change")
    n_warmup = 1

    def __init__(self, *, volume_change: str = "clip") -> None:
        if volume_change not in ("clip", "log1p", "raw"):
            raise ValueError(f"volume_change must be 'clip', 'log1p' or 'raw'; got {volume_change!r}")
        limit = sys.float_info.max if volume_change == "raw" else VOLUME_CAP  # a tiny volume may overflow the ratio
        self.core = RecipeCore("ohlcv4", 4, 1, limit=limit, log1p=volume_change == "log1p")
