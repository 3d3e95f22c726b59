"""Dataset condensation: a few rows that train a model nearly as well as all of them, and the verdict whether they do."""

from fastkd.condense.condensed import Condensed
from fastkd.condense.condensing import METHODS, condense
from fastkd.condense.operator import mlp_r_operator
from fastkd.condense.rows import parquet_blocks

__all__ = ["METHODS", "Condensed", "condense", "mlp_r_operator", "parquet_blocks"]
