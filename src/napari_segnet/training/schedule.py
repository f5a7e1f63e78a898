"""The learning rate over a run, by name.

A new schedule is one class of options with `factor`, and one entry in `SCHEDULES`. A schedule keeps nothing between
steps: what it says follows from the step, the share of the run that is over and the history, all of which a
checkpoint holds. So a resumed run goes on with the rates that it would have had. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from napari_segnet.config import Fraction, Frozen, TrainConfig, validated
from napari_segnet.errors import unknown_name

Row = Mapping[str, float | int | None]


@dataclass(frozen=True)
class Moment:
    """Where a run is.

    Attributes
    ----------
    step : int
        Steps done so far.
    progress : float
        Share of the run that is over, 0 .. 1: of the steps, or of the time where time is what is limited.
    epoch_steps : int
        Steps in an epoch.
    history : sequence of mapping
        A row an epoch, as in ``history.csv``.
    """

    step: int
    progress: float
    epoch_steps: int = 1
    history: Sequence[Row] = ()


@dataclass(frozen=True)
class Pace:
    """How a step is done.

    Attributes
    ----------
    rate : float
        The learning rate.
    momentum : float, optional
        Momentum, or beta1, instead of the optimizer's own.
    frozen : bool
        Whether the encoder stays as it is.
    collects : bool
        Whether stochastic weight averaging has begun.
    """

    rate: float
    momentum: float | None = None
    frozen: bool = False
    collects: bool = False


def pace(config: TrainConfig, step: int, progress: float, history: Sequence[Row] = ()) -> Pace:
    """Return how a step is to be done.

    Parameters
    ----------
    config : TrainConfig
    step : int
        Steps done so far.
    progress : float
        Share of the run that is over, 0 .. 1: of the steps, or of the time where time is what is limited.
    history : sequence of mapping
        A row an epoch so far, as in ``history.csv``.

    Raises
    ------
    ConfigError
        For a schedule or an option that doesn't exist.
    """
    schedule = schedule_spec(config.schedule).read(config.schedule_options)
    now = Moment(step, min(max(progress, 0.0), 1.0), config.steps_per_epoch, history)
    warmup = 1.0 if schedule.begins_slowly else min(1.0, (step + 1) / (config.warmup_steps + 1))
    return Pace(
        config.learning_rate * warmup * schedule.factor(now),
        schedule.momentum(now),
        frozen=progress < config.freeze_encoder,
        collects=config.averaging == "swa" and progress >= config.swa_start,
    )


def learning_rate(config: TrainConfig, step: int, progress: float, history: Sequence[Row] = ()) -> float:
    """Return the learning rate of a step; parameters as in `pace`."""
    return pace(config, step, progress, history).rate


class Schedule(Frozen):
    """Base of the schedules, whose fields are set with ``--set train.schedule_options.NAME=VALUE``."""

    begins_slowly: ClassVar[bool] = False
    """Whether it warms up in its own way, so that ``train.warmup_steps`` doesn't count."""

    def factor(self, now: Moment) -> float:
        """Return the learning rate in units of ``train.learning_rate``."""
        raise NotImplementedError

    def momentum(self, now: Moment) -> float | None:  # noqa: ARG002 - for schedules that cycle it
        """Return the momentum, None for the optimizer's own."""
        return None


class Constant(Schedule):
    """The same rate all the time."""

    def factor(self, now: Moment) -> float:  # noqa: ARG002
        """Return the factor."""
        return 1.0


class Step(Schedule):
    """A rate that falls at once, now and then."""

    gamma: float = Field(0.1, gt=0, le=1, description="What the rate is multiplied by each time.")
    every: int | None = Field(None, ge=1, description="So many epochs apart.")
    at: tuple[Fraction, ...] | None = Field(None, description="At these shares of the run; default: 0.5 and 0.75.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.every is not None and self.at is not None:
            raise ValueError("the rate falls either every so many epochs or at shares of the run")
        return self

    def factor(self, now: Moment) -> float:
        """Return the factor."""
        if self.every is not None:
            times = now.step // (self.every * now.epoch_steps)
        else:
            times = sum(now.progress >= share for share in self.at or (0.5, 0.75))
        return self.gamma**times


class Poly(Schedule):
    """A power of the share that is left: nearly a straight line to zero."""

    power: float = Field(0.9, gt=0, le=10, description="1: a straight line.")

    def factor(self, now: Moment) -> float:
        """Return the factor."""
        return float((1 - now.progress) ** self.power)


class Cosine(Schedule):
    """Half a cosine from the full rate down."""

    lowest: Fraction = Field(0.01, description="Where it ends, in units of the full rate.")

    def factor(self, now: Moment) -> float:
        """Return the factor."""
        return _cosine(now.progress, self.lowest)


class FlatCosine(Cosine):
    """The full rate for a while, then half a cosine."""

    # The averaged weights already give a good answer whenever it is stopped.
    flat: float = Field(0.4, ge=0, lt=1, description="Share of the run at the full rate.")

    def factor(self, now: Moment) -> float:
        """Return the factor."""
        return _cosine((now.progress - self.flat) / (1 - self.flat), self.lowest)


class Cyclic(Schedule):
    """Up and down in straight lines."""

    begins_slowly: ClassVar[bool] = True
    lowest: float = Field(0.25, gt=0, le=1, description="Where each cycle begins, in units of the full rate.")
    epochs_up: float = Field(4.0, gt=0, le=100_000, description="Epochs from the lowest rate to the highest.")
    halve: bool = Field(False, description="Make each cycle half as high as the one before.")

    def factor(self, now: Moment) -> float:
        """Return the factor."""
        place = now.step / (self.epochs_up * now.epoch_steps)
        cycle = int(place // 2)
        height = max(0.0, 1 - abs(place - 2 * cycle - 1)) * (0.5**cycle if self.halve else 1.0)
        return self.lowest + (1 - self.lowest) * height


class OneCycle(Schedule):
    """Once up to the full rate and down to next to nothing; the momentum goes the other way."""

    begins_slowly: ClassVar[bool] = True
    up: float = Field(0.3, gt=0, lt=1, description="Share of the run in which the rate rises.")
    start: float = Field(0.04, gt=0, le=1, description="Where it begins, in units of the full rate.")
    end: float = Field(4e-6, gt=0, le=1, description="Where it ends, in units of the full rate.")
    shape: Literal["cosine", "linear"] = "cosine"
    cycle_momentum: bool = Field(True, description="Lower the momentum while the rate is high, if there is one.")
    low_momentum: float = Field(0.85, ge=0, lt=1)
    high_momentum: float = Field(0.95, ge=0, lt=1)

    def factor(self, now: Moment) -> float:
        """Return the factor."""
        return self._between(now.progress, self.start, 1.0, self.end)

    def momentum(self, now: Moment) -> float | None:
        """Return the momentum."""
        if not self.cycle_momentum:
            return None
        return self._between(now.progress, self.high_momentum, self.low_momentum, self.high_momentum)

    def _between(self, progress: float, first: float, middle: float, last: float) -> float:
        if progress < self.up:
            done, a, b = progress / self.up, first, middle
        else:
            done, a, b = (progress - self.up) / (1 - self.up), middle, last
        eased = done if self.shape == "linear" else 0.5 * (1 - math.cos(math.pi * done))
        return a + (b - a) * eased


class Plateau(Schedule):
    """A rate that falls when nothing gets better any more."""

    watch: Literal["val_loss", "val_dice", "loss"] = Field("val_loss", description="Column of the history.")
    gamma: float = Field(0.5, gt=0, lt=1, description="What the rate is multiplied by each time.")
    patience: int = Field(5, ge=0, le=100_000, description="Epochs without improvement that are put up with.")
    threshold: float = Field(1e-4, ge=0, lt=1, description="Relative change that counts as an improvement.")
    lowest: Fraction = Field(0.001, description="The rate falls no further, in units of the full rate.")

    def factor(self, now: Moment) -> float:
        """Return the factor."""
        # Without validation there is only the loss of the training patches to look at.
        column = self.watch if any(row.get(self.watch) is not None for row in now.history) else "loss"
        sign = 1 if column == "val_dice" else -1
        best: float | None = None
        waited, factor = 0, 1.0
        for value in (row.get(column) for row in now.history):
            if value is None:
                continue
            score = sign * value
            if best is None or score > best + self.threshold * abs(best):
                best, waited = score, 0
            else:
                waited += 1
            if waited > self.patience:
                factor, waited = max(factor * self.gamma, self.lowest), 0
        return factor


def _cosine(progress: float, lowest: float) -> float:
    clipped = min(max(progress, 0.0), 1.0)
    return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * clipped))


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule that can be chosen by name."""

    name: str
    idea: str
    paper: str
    options: type[Schedule]

    def read(self, options: Mapping[str, Any]) -> Schedule:
        """Make the schedule; raises `ConfigError` for an option that it doesn't have, or a value it can't take."""
        return validated(self.options, dict(options))


SCHEDULES: dict[str, ScheduleSpec] = {
    spec.name: spec
    for spec in (
        ScheduleSpec("flat-cosine", "The full rate for a while, then half a cosine down: the default.",
                     "Loshchilov, Hutter 2017, arXiv:1608.03983 (its cosine)", FlatCosine),
        ScheduleSpec("cosine", "Half a cosine down.", "Loshchilov, Hutter 2017, arXiv:1608.03983", Cosine),
        ScheduleSpec("constant", "The same rate all the time: for averaging, and to go on and on.", "-", Constant),
        ScheduleSpec("step", "A tenth at half the run, and again at three quarters; or every so many epochs.",
                     "He et al. 2016, arXiv:1512.03385 (its CIFAR runs)", Step),
        ScheduleSpec("poly", "Nearly a straight line to zero.",
                     "Liu, Rabinovich, Berg 2015, arXiv:1506.04579; Chen et al. 2017, arXiv:1606.00915", Poly),
        ScheduleSpec("cyclic", "Up and down in straight lines.", "Smith 2017, arXiv:1506.01186", Cyclic),
        ScheduleSpec("one-cycle", "Once up and far down, the momentum the other way: quick with high rates.",
                     "Smith, Topin 2018, arXiv:1708.07120 (two phases, as in fastai)", OneCycle),
        ScheduleSpec("reduce-on-plateau", "Half the rate whenever the validation loss stops falling.",
                     "-", Plateau),
    )
}  # fmt: skip


def schedule_spec(name: str) -> ScheduleSpec:
    """Return the entry called `name` (capitals don't matter); raises `ConfigError` with near names."""
    try:
        return SCHEDULES[name.lower()]
    except KeyError:
        raise unknown_name("schedule", name, SCHEDULES) from None
