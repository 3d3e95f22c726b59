"""From candles to the inputs and labels of a model, without looking ahead."""

from fastkd.features.labels import Direction, direction_labels, forward_returns
from fastkd.features.recipes import FeatureSet
from fastkd.features.scaling import MinMaxScaler01, Standardizer
from fastkd.features.splits import time_split

__all__ = [
    "Direction",
    "FeatureSet",
    "MinMaxScaler01",
    "Standardizer",
    "direction_labels",
    "forward_returns",
    "time_split",
]
