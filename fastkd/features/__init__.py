"""From candles to the inputs and labels of a model, without looking ahead."""

from fastkd.features.barriers import triple_barrier_labels
from fastkd.features.changes import Cusum, PageHinkley
from fastkd.features.feature_stream import FeatureStream
from fastkd.features.labels import Direction, direction_labels, forward_returns
from fastkd.features.lookahead import LookAheadError, check_prefix_invariance
from fastkd.features.recipes import FeatureSet
from fastkd.features.regimes import Regime, RegimeClusters, regime_labels
from fastkd.features.scaling import MedianScaler, MinMaxScaler01, Standardizer
from fastkd.features.sequences import windows
from fastkd.features.splits import WalkForward, time_split, walk_forward

__all__ = [
    "Cusum",
    "Direction",
    "FeatureSet",
    "FeatureStream",
    "LookAheadError",
    "MedianScaler",
    "MinMaxScaler01",
    "PageHinkley",
    "Regime",
    "RegimeClusters",
    "Standardizer",
    "WalkForward",
    "check_prefix_invariance",
    "direction_labels",
    "forward_returns",
    "regime_labels",
    "time_split",
    "triple_barrier_labels",
    "walk_forward",
    "windows",
]
