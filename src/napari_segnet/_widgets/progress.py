"""The course of a training as far as it is known: what the curves and the line below them show."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import Any, Self

from napari_segnet import events
from napari_segnet.run import RunFolder

_MOST_STEPS = 2000


@dataclass
class Progress:
    """Losses and scores over time.

    `steps` holds (number of the step, loss); `rows` the rows of ``history.csv``; `epoch_steps` the number of the
    last step of each epoch, which is the common horizontal axis.
    """

    steps: list[tuple[int, float]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    epoch_steps: list[int] = field(default_factory=list)
    epochs: int | None = None
    device: str = ""
    choices: dict[str, str] = field(default_factory=dict)
    seconds_left: float | None = None
    version: int = 0

    @classmethod
    def of(cls, run: RunFolder) -> Self:
        """Read the history of a run that is to go on."""
        progress = cls()
        try:
            with (run.path / "history.csv").open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    progress.rows.append({k: float(v) if v else None for k, v in row.items()})
        except (OSError, ValueError):
            progress.rows = []
        a_epoch = run.config.train.steps_per_epoch
        progress.epoch_steps = [(n + 1) * a_epoch for n in range(len(progress.rows))]
        return progress

    def begin(self, event: events.Started) -> None:
        """Take note that a run starts, or goes on at an epoch: what came after that is learned again."""
        self.rows = self.rows[: event.epoch]
        self.epoch_steps = self.epoch_steps[: event.epoch]
        last = self.epoch_steps[-1] if self.epoch_steps else 0
        self.steps = [s for s in self.steps if s[0] <= last]
        self.epochs, self.device, self.choices = event.epochs, event.device, event.choices
        self.version += 1

    def step(self, event: events.Step) -> None:
        """Take note of a step; old steps are thinned so that drawing stays quick."""
        self.steps.append((event.step, event.loss))
        if len(self.steps) > _MOST_STEPS:
            self.steps = self.steps[: -_MOST_STEPS // 2 : 2] + self.steps[-_MOST_STEPS // 2 :]
        self.seconds_left = event.seconds_left
        self.version += 1

    def epoch(self, event: events.Epoch) -> None:
        """Take note of an epoch."""
        self.rows.append(dict(event.row))
        self.epoch_steps.append(self.steps[-1][0] if self.steps else len(self.rows))
        if event.seconds_left is not None:
            self.seconds_left = event.seconds_left
        self.version += 1

    def curve(self, column: str) -> tuple[list[float], list[float]]:
        """Return steps and values of a column of the history, without the empty ones."""
        points = [
            (float(step), float(row[column]))
            for step, row in zip(self.epoch_steps, self.rows, strict=False)
            if row.get(column) is not None
        ]
        return [x for x, _ in points], [y for _, y in points]

    @property
    def best_dice(self) -> float | None:
        """The best validation Dice so far."""
        values = self.curve("val_dice")[1]
        return max(values) if values else None

    def summary(self) -> str:
        """Say how good it is."""
        if self.best_dice is not None:
            return f"Best validation Dice {self.best_dice:.3f}."
        return ""

    def line(self) -> str:
        """Say how far it is: epoch, loss, Dice, time left."""
        parts: list[str] = []
        if self.rows or self.steps:
            of = f" of {self.epochs}" if self.epochs else ""
            parts.append(f"Epoch {len(self.rows) + 1}{of}")
        if self.steps:
            parts.append(f"loss {self.steps[-1][1]:.3f}")
        dice = self.curve("val_dice")[1]
        if dice:
            parts.append(f"Dice {dice[-1]:.3f}")
        if self.seconds_left is not None:
            parts.append(f"{clock(self.seconds_left)} left")
        return " · ".join(parts)


def clock(seconds: float) -> str:
    """Return a time as 0:07, 12:30 or 1:05:00."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
