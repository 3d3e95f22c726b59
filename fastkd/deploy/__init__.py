"""Trained models where latency counts: predictors, and a circuit breaker on one."""

from fastkd.deploy.predictor import Predictor
from fastkd.deploy.risk_monitor import RiskEvent, RiskMonitor
from fastkd.deploy.sequence_predictor import SequencePredictor, SequenceStream

__all__ = ["Predictor", "RiskEvent", "RiskMonitor", "SequencePredictor", "SequenceStream"]
