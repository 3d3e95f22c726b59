"""What every kernel computes, in plain float64 NumPy: the definition that tests and benches compare against.

Simple on purpose: no blocking, no tricks, one function a formula.
"""

from fastkd.reference.aggregation import (
    bulyan,
    centered_clipping,
    geometric_median,
    krum,
    krum_scores,
    mean_near_median,
    median,
    multi_krum,
    nearest_neighbor_mixing,
    sq_distances,
    sum_of_distances,
    trimmed_mean,
)
from fastkd.reference.candles import candle_features
from fastkd.reference.condensation import (
    feature_match,
    kernel,
    ridge_slopes,
)
from fastkd.reference.exits import (
    exits_heads,
    exits_loss_gradient,
    exits_teacher,
)
from fastkd.reference.losses import (
    distillation_rows,
    kl_divergence,
    log_softmax,
    softmax,
)
from fastkd.reference.networks import (
    OptimizerState,
    adam_step,
    mlp_epoch,
    mlp_forward,
    mlp_forward_pass,
    mlp_layers,
    mlp_loss_gradient,
    mlp_output_loss,
    sgd_step,
)
from fastkd.reference.roperator import (
    gradient_distance,
    gradient_match,
    r_operator,
)
from fastkd.reference.sequences import bfloat16, sequence_forward, sequence_loss_gradient, with_bfloat16_weights

__all__ = [
    "OptimizerState",
    "adam_step",
    "bfloat16",
    "bulyan",
    "candle_features",
    "centered_clipping",
    "distillation_rows",
    "exits_heads",
    "exits_loss_gradient",
    "exits_teacher",
    "feature_match",
    "geometric_median",
    "gradient_distance",
    "gradient_match",
    "kernel",
    "kl_divergence",
    "krum",
    "krum_scores",
    "log_softmax",
    "mean_near_median",
    "median",
    "mlp_epoch",
    "mlp_forward",
    "mlp_forward_pass",
    "mlp_layers",
    "mlp_loss_gradient",
    "mlp_output_loss",
    "multi_krum",
    "nearest_neighbor_mixing",
    "r_operator",
    "ridge_slopes",
    "sequence_forward",
    "sequence_loss_gradient",
    "sgd_step",
    "softmax",
    "sq_distances",
    "sum_of_distances",
    "trimmed_mean",
    "with_bfloat16_weights",
]
