"""Distillation: a student that learns from a teacher, or from itself."""

from fastkd.distill._committee import Uncertainty, spread
from fastkd.distill.adaptive import AdaptiveSchedule
from fastkd.distill.born_again import BornAgain
from fastkd.distill.comparison import GenerationReport, compare_generations
from fastkd.distill.own_teacher import BeYourOwnTeacher
from fastkd.distill.schedules import CosineCycles, PeriodicLabels, TemperatureSchedule
from fastkd.distill.snapshots import SnapshotDistillation
from fastkd.distill.teacher_student import distill
from fastkd.distill.teachers import TakenAsProbabilities
from fastkd.distill.uncertainty_head import UncertaintyStudent

__all__ = [
    "AdaptiveSchedule",
    "BeYourOwnTeacher",
    "BornAgain",
    "CosineCycles",
    "GenerationReport",
    "PeriodicLabels",
    "SnapshotDistillation",
    "TakenAsProbabilities",
    "TemperatureSchedule",
    "Uncertainty",
    "UncertaintyStudent",
    "compare_generations",
    "distill",
    "spread",
]
