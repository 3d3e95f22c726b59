"""Defaults of distillation that the forecaster and the commands share."""

TEMPERATURE, KD_WEIGHT = 2.0, 0.9
