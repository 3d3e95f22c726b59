"""Distillation: a student that learns from a teacher."""

from fastkd.distill.adaptive import AdaptiveSchedule
from fastkd.distill.schedules import TemperatureSchedule
from fastkd.distill.teacher_student import distill

__all__ = ["AdaptiveSchedule", "TemperatureSchedule", "distill"]
