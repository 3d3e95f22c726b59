"""Dataset condensation: a few rows that should train a model as well as all of them, and a verdict whether they do."""

from fastkd.condense.condensed import Condensed
from fastkd.condense.condensing import METHODS, condense
from fastkd.condense.evaluating import evaluate, evaluate_walk_forward
from fastkd.condense.operator import mlp_r_operator
from fastkd.condense.regimes import condense_regimes
from fastkd.condense.report import CondenseReport
from fastkd.condense.store import CondensedStore
from fastkd.condense.streams import frame_blocks, parquet_blocks

__all__ = [
    "METHODS",
    "CondenseReport",
    "Condensed",
    "CondensedStore",
    "condense",
    "condense_regimes",
    "evaluate",
    "evaluate_walk_forward",
    "frame_blocks",
    "mlp_r_operator",
    "parquet_blocks",
]
