"""What a run told while it learned, read from its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_segnet import events
from napari_segnet.run import RunFolder

_ENDS = {
    "completed": "all epochs done",
    "time": "the time was over",
    "early-stopping": "nothing improved any more",
    "stopped": "stopped",
}


@dataclass(frozen=True)
class Story:
    """What a run told: its rows, its best epoch, and what was said."""

    history: list[dict[str, float | None]]
    best_epoch: int | None
    seconds: float
    started: events.Started | None
    notices: list[str]
    end: str

    @property
    def best(self) -> Mapping[str, float | None]:
        """The row of the best epoch, of the last one where none was the best."""
        rows = [row for row in self.history if row.get("epoch") == self.best_epoch] or self.history[-1:]
        return rows[0] if rows else {}


def read_story(run: RunFolder) -> Story:
    """Read what happened in a run so far; whatever a crash cut short is left out."""
    told = run.events()
    epochs = [event for event in told if isinstance(event, events.Epoch)]
    best = [event.row.get("epoch") for event in epochs if event.best]
    ends = [event for event in told if isinstance(event, events.Finished | events.Failed)]
    words = ""
    if ends:
        end = ends[-1]
        words = _ENDS.get(end.reason, end.reason) if isinstance(end, events.Finished) else f"failed: {end.problem}"
    starts = [event for event in told if isinstance(event, events.Started)]
    return Story(
        history=_read_history(run.path / "history.csv"),
        best_epoch=int(best[-1]) if best and best[-1] is not None else None,
        seconds=epochs[-1].seconds if epochs else 0.0,
        started=starts[-1] if starts else None,
        notices=list(dict.fromkeys(event.text for event in told if isinstance(event, events.Notice))),
        end=words,
    )


def _read_history(path: Path) -> list[dict[str, float | None]]:
    """Read ``history.csv``; what is no number is None."""
    if not path.is_file():
        return []
    lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8", errors="replace")))
    return [{name: _float(value) for name, value in line.items() if isinstance(name, str)} for line in lines]


def _float(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
