"""Federations of clients who keep their data, and attacks on them."""

from fastkd.federated.attacks import (
    ALittleIsEnough,
    InnerProductManipulation,
    Mimic,
    MinMax,
    MinSum,
    NonFinite,
    RandomNoise,
    SignFlip,
)
from fastkd.federated.audit import MembershipAudit, membership_audit
from fastkd.federated.checkpoint import CheckpointError
from fastkd.federated.client import Client
from fastkd.federated.communication import CommunicationCost, communication_cost
from fastkd.federated.data_attacks import Backdoor, LabelFlip, Targeted
from fastkd.federated.exp_guard import ExpGuard
from fastkd.federated.fedmd import FedMD
from fastkd.federated.messages import Assignment, Broadcast, Failure, Fault, Predictions, Update
from fastkd.federated.partition import partition
from fastkd.federated.prediction_attacks import (
    ClassPrior,
    ConstantClass,
    LossMaximization,
    RandomPredictions,
    ScaledPredictions,
)
from fastkd.federated.privacy import GaussianMechanism, PrivacySpent
from fastkd.federated.result import DistillationRecord, FederationError, FederationResult, RoundRecord
from fastkd.federated.robust import RobustFL
from fastkd.federated.transport import Transport

__all__ = [
    "ALittleIsEnough",
    "Assignment",
    "Backdoor",
    "Broadcast",
    "CheckpointError",
    "ClassPrior",
    "Client",
    "CommunicationCost",
    "ConstantClass",
    "DistillationRecord",
    "ExpGuard",
    "Failure",
    "Fault",
    "FedMD",
    "FederationError",
    "FederationResult",
    "GaussianMechanism",
    "InnerProductManipulation",
    "LabelFlip",
    "LossMaximization",
    "MembershipAudit",
    "Mimic",
    "MinMax",
    "MinSum",
    "NonFinite",
    "Predictions",
    "PrivacySpent",
    "RandomNoise",
    "RandomPredictions",
    "RobustFL",
    "RoundRecord",
    "ScaledPredictions",
    "SignFlip",
    "Targeted",
    "Transport",
    "Update",
    "communication_cost",
    "membership_audit",
    "partition",
]
