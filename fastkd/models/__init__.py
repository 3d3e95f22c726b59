"""Teachers and students in the scikit-learn manner: perceptrons, LSTMs, CNNs; and a wrapper for other models."""

from fastkd.models import _saving  # noqa: F401 - lets files hold these models
from fastkd.models._base import ConvergenceWarning, NotFittedError
from fastkd.models.adapters import ModelAdapter, as_model
from fastkd.models.classifier import MLPClassifier
from fastkd.models.cnn import CNNClassifier
from fastkd.models.lstm import LSTMClassifier
from fastkd.models.regressor import MLPRegressor
from fastkd.models.torch_classifier import TorchClassifier

__all__ = [
    "CNNClassifier",
    "ConvergenceWarning",
    "LSTMClassifier",
    "MLPClassifier",
    "MLPRegressor",
    "ModelAdapter",
    "NotFittedError",
    "TorchClassifier",
    "as_model",
]
