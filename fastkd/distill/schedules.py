"""Temperatures that change from epoch to epoch, or from generation to generation."""

import math
from dataclasses import dataclass

from fastkd._io import register_value
from fastkd.models._hyperparameters import integer, real

KINDS = ("constant", "linear", "exponential", "cosine")


@register_value
@dataclass(frozen=True)
class TemperatureSchedule:
    """Temperature T_k of step k = 0, 1, ... (an epoch or a generation).

    ============= =======================================================================
    constant      T_k = start
    linear        from start to end in `steps` steps
    exponential   T_k = max(end, start * decay**k)
    cosine        T_k = end + (start - end) * (1 + cos(pi * k / (steps - 1))) / 2
    ============= =======================================================================

    Linear and cosine schedules stay at `end` after their last step. Starting soft and ending sharp lets the student
    see how the classes relate before it has to tell them apart.

    Parameters
    ----------
    kind : {"constant", "linear", "exponential", "cosine"}
    start, end : float
        Temperatures, finite and > 0; an exponential schedule falls, so there start >= end.
    decay : float
        Factor a step of the exponential schedule, in (0, 1].
    steps : int
        Number of steps of the linear and the cosine schedule, as a rule the student's `epochs`.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    Examples
    --------
    >>> from fastkd.distill import TemperatureSchedule
    >>> [TemperatureSchedule("exponential", start=4, end=1, decay=0.5)(k) for k in range(4)]
    [4.0, 2.0, 1.0, 1.0]
    """

    kind: str = "exponential"
    start: float = 5.0
    end: float = 1.0
    decay: float = 0.9
    steps: int = 50

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}; got {self.kind!r}")
        real("start", self.start, low=0.0, low_open=True)
        real("end", self.end, low=0.0, low_open=True)
        real("decay", self.decay, low=0.0, high=1.0, low_open=True)
        integer("steps", self.steps, low=1)
        if self.kind == "exponential" and self.start < self.end:
            raise ValueError(f"an exponential schedule falls: start must be >= end; got {self.start}, {self.end}")

    def __call__(self, step: int) -> float:
        """Temperature of a step, counted from 0."""
        integer("step", step, low=0)
        if self.kind == "constant":
            return float(self.start)
        if self.kind == "exponential":
            return float(max(self.end, self.start * self.decay**step))
        passed = min(step / (self.steps - 1), 1.0) if self.steps > 1 else 1.0
        if self.kind == "cosine":
            passed = (1.0 - math.cos(math.pi * passed)) / 2.0
        return float(self.start + (self.end - self.start) * passed)


@dataclass(frozen=True)
class PeriodicLabels:
    """Weight of the teacher by generation: `kd_weight`, and `with_labels` in every `every`-th generation.

    Generation after generation of learning from itself, a network's biases may grow. Labels that come back now and
    then, with the weight 1 - `with_labels`, pull it back to the data.

    Parameters
    ----------
    every : int
        Generations every, 2 * every, ... get the labels back.
    kd_weight, with_labels : float
        Weights of the teacher in [0, 1], with_labels <= kd_weight.

    Examples
    --------
    >>> from fastkd.distill import PeriodicLabels
    >>> [PeriodicLabels(every=3, kd_weight=1.0, with_labels=0.3)(k) for k in range(1, 7)]
    [1.0, 1.0, 0.3, 1.0, 1.0, 0.3]
    """

    every: int = 3
    kd_weight: float = 0.9
    with_labels: float = 0.3

    def __post_init__(self) -> None:
        integer("every", self.every, low=1)
        real("kd_weight", self.kd_weight, low=0.0, high=1.0)
        real("with_labels", self.with_labels, low=0.0, high=self.kd_weight)

    def __call__(self, generation: int) -> float:
        """Weight of the teacher in a generation; generation 0 has no teacher."""
        integer("generation", generation, low=0)
        return float(self.with_labels if generation and generation % self.every == 0 else self.kd_weight)


@dataclass(frozen=True)
class CosineCycles:
    """Factor on the learning rate that falls from 1 to nearly 0 in every cycle of `epochs` epochs, then starts anew.

    (1 + cos(pi * t / epochs)) / 2 at epoch t of a cycle (Loshchilov and Hutter 2017, warm restarts). For `lr_schedule`
    of the models.

    Examples
    --------
    >>> from fastkd.distill import CosineCycles
    >>> [round(CosineCycles(4)(epoch), 3) for epoch in range(5)]
    [1.0, 0.854, 0.5, 0.146, 1.0]
    """

    epochs: int

    def __post_init__(self) -> None:
        integer("epochs", self.epochs, low=1)

    def __call__(self, epoch: int) -> float:
        """Factor of an epoch, counted from 0."""
        integer("epoch", epoch, low=0)
        return 0.5 * (1.0 + math.cos(math.pi * (epoch % self.epochs) / self.epochs))
