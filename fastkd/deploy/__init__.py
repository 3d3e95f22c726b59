"""Trained models where latency counts: predictors, a circuit breaker on one, exports to C, ONNX and hardware."""

from typing import Any

from fastkd.deploy.risk_monitor import RiskEvent, RiskMonitor
from fastkd.models.predictor import Predictor
from fastkd.models.sequence_predictor import SequencePredictor, SequenceStream, WeightsChange

# loaded at first use
_EXPORT = {"ExportError", "ExportReport", "FixedPredictor", "export_c", "export_onnx", "export_verilog"}

__all__ = [
    "ExportError",
    "ExportReport",
    "FixedPredictor",
    "Predictor",
    "RiskEvent",
    "RiskMonitor",
    "SequencePredictor",
    "SequenceStream",
    "WeightsChange",
    "export_c",
    "export_onnx",
    "export_verilog",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORT:
        from fastkd.deploy import export

        return getattr(export, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
