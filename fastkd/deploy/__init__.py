"""Trained models where latency counts: predictors and exports."""

from fastkd.deploy.predictor import Predictor
from fastkd.deploy.sequence_predictor import SequencePredictor, SequenceStream

__all__ = ["Predictor", "SequencePredictor", "SequenceStream"]
