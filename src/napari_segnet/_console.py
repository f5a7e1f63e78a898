"""Events and tables on a terminal, and plainly where there is none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from napari_segnet import events


class Reporter:
    """Shows a run or a prediction: a progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=1, words="", visible=False)
        self._epochs: int | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """Print a sentence."""
        self._console.print(text, markup=False)

    def show(self, event: events.Event) -> None:
        """Show one event."""
        if isinstance(event, events.Started):
            self._epochs = event.epochs
            self.note(f"Run {event.run} on {event.device}" + (f", from epoch {event.epoch + 1}" if event.epoch else ""))
            for name, words in event.choices.items():
                self.note(f"  {name}: {words}")
        elif isinstance(event, events.Notice):
            self.note(f"note: {event.text}")
        elif isinstance(event, events.Step):
            self._show_step(event)
        elif isinstance(event, events.Epoch):
            self.note(_epoch_line(event))
        elif isinstance(event, events.Progress):
            words = f"{event.done} of {event.total}"
            self._bar.update(
                self._task,
                description=event.task,
                completed=event.done,
                total=event.total,
                words=words,
                visible=True,
            )
        elif isinstance(event, events.Predicted):
            self.note(f"{event.name}: {', '.join(event.files.values())}")
        elif isinstance(event, events.Finished):
            self._show_end(event)

    def _show_step(self, event: events.Step) -> None:
        left = event.seconds_left
        total = event.seconds + left if left is not None else None
        words = f"loss {event.loss:.3f}" + (f", {_duration(left)} left" if left is not None else "")
        self._bar.update(
            self._task,
            description=f"step {event.step}",
            completed=event.seconds,
            total=total,
            words=words,
            visible=True,
        )

    def _show_end(self, event: events.Finished) -> None:
        if event.model:
            dice = event.scores.get("val_dice")
            best = f", validation Dice {dice:.4f}" if dice is not None else ""
            self.note(f"Finished ({event.reason}){best}: {event.model}")
        elif event.reason == "stopped":
            self.note("Stopped.")


def _epoch_line(event: events.Epoch) -> str:
    row = event.row
    parts = [f"epoch {row['epoch']}"]
    for name in ("loss", "val_loss", "dice", "val_dice"):
        value = row.get(name)
        if value is not None:
            parts.append(f"{name} {value:.4f}")
    if event.seconds_left is not None:
        parts.append(f"{_duration(event.seconds_left)} left")
    return "  ".join(parts) + ("  (best)" if event.best else "")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], plain: bool = False) -> None:
    """Print a table; plainly, the first column alone, one name a line."""
    if plain:
        print("\n".join(row[0] for row in rows))
        return
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 1000  # whoever reads it in a pipe wants a row a line
    Console(width=width, highlight=False, markup=False).print(table)
