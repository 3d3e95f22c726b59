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
from fastkd.federated.checkpoint import CheckpointError
from fastkd.federated.client import Client
from fastkd.federated.data_attacks import Backdoor, LabelFlip, Targeted
from fastkd.federated.messages import Broadcast, Failure, Update
from fastkd.federated.partition import partition
from fastkd.federated.result import FederationError, FederationResult, RoundRecord
from fastkd.federated.robust import RobustFL

__all__ = [
    "ALittleIsEnough",
    "Backdoor",
    "Broadcast",
    "CheckpointError",
    "Client",
    "Failure",
    "FederationError",
    "FederationResult",
    "InnerProductManipulation",
    "LabelFlip",
    "Mimic",
    "MinMax",
    "MinSum",
    "NonFinite",
    "RandomNoise",
    "RobustFL",
    "RoundRecord",
    "SignFlip",
    "Targeted",
    "Update",
    "partition",
]
