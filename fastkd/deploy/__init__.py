"""Trained models where latency counts: predictors and exports."""

from fastkd.deploy.predictor import Predictor

__all__ = ["Predictor"]
