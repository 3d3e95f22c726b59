"""Teachers and students: multilayer perceptrons in the scikit-learn manner, and a wrapper for other models."""

from fastkd.models._base import ConvergenceWarning, NotFittedError
from fastkd.models.adapters import ModelAdapter, as_model
from fastkd.models.classifier import MLPClassifier
from fastkd.models.regressor import MLPRegressor

__all__ = ["ConvergenceWarning", "MLPClassifier", "MLPRegressor", "ModelAdapter", "NotFittedError", "as_model"]
