"""What a run tells: frozen events, one JSON line each.

The training loop and the predictor yield these; `run.py` appends them to ``events.jsonl``, the worker writes
them to its standard output, the command line turns them into a progress bar, the widget into a plot. This is
the only place that knows how an event is written.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from napari_segnet.errors import SegNetError


@dataclass(frozen=True)
class Event:
    """Base of all events; `kind` is its name in JSON."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class Ready(Event):
    """The worker has loaded its libraries and takes jobs.

    `device` names what ``auto`` stands for, `memory` is what can be allocated on it, bytes.
    """

    kind: ClassVar[str] = "ready"
    device: str
    pid: int
    memory: int = 0


@dataclass(frozen=True)
class Started(Event):
    """A run begins (or goes on: `epoch` > 0). `choices` says what was chosen, and why."""

    kind: ClassVar[str] = "started"
    run: str
    device: str
    epoch: int = 0
    epochs: int | None = None
    choices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Notice(Event):
    """Something to know that stops nothing, such as a halved batch."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True)
class Step(Event):
    """One optimizer step (throttled). Seconds are learning time; `seconds_left` is None where unknown."""

    kind: ClassVar[str] = "step"
    step: int
    loss: float
    seconds: float
    seconds_left: float | None = None


@dataclass(frozen=True)
class Epoch(Event):
    """An epoch is over. `row` is its row of ``history.csv``."""

    kind: ClassVar[str] = "epoch"
    row: dict[str, float | int | None]
    best: bool
    seconds: float
    seconds_left: float | None = None


@dataclass(frozen=True)
class Preview(Event):
    """An answer while learning, for one plane. Paths are ``.npy`` files: labels (Y, X), probabilities (C, Y, X)."""

    kind: ClassVar[str] = "preview"
    name: str
    labels: str
    probabilities: str
    origin: tuple[int, int]
    seconds: float
    plane: int = 0


@dataclass(frozen=True)
class Checkpoint(Event):
    """Everything needed to go on from `step` is on disk at `path`."""

    kind: ClassVar[str] = "checkpoint"
    path: str
    step: int


@dataclass(frozen=True)
class Progress(Event):
    """`done` of `total` parts of a prediction (or another long task called `task`) are ready."""

    kind: ClassVar[str] = "progress"
    task: str
    done: int
    total: int


@dataclass(frozen=True)
class Predicted(Event):
    """One image is predicted. `files` maps labels, probabilities, uncertainty to paths."""

    kind: ClassVar[str] = "predicted"
    name: str
    files: dict[str, str]


@dataclass(frozen=True)
class Augmented(Event):
    """Patches after augmentation, in a grid. Paths are ``.npy`` files: image (Y, X, 3) uint8, labels (Y, X).

    `colours` says how a label is shown: value -> ``"#rrggbb"``.
    """

    kind: ClassVar[str] = "augmented"
    image: str
    labels: str
    colours: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished(Event):
    """A job is over. `reason`: completed, stopped, early-stopping, time."""

    kind: ClassVar[str] = "finished"
    reason: str
    model: str | None = None
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed(Event):
    """A job could not be done. `bug` is true where it isn't the user's to mend; then `details` has the traceback."""

    kind: ClassVar[str] = "failed"
    problem: str
    remedy: str = ""
    bug: bool = False
    details: str = ""


KINDS: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        Ready,
        Started,
        Notice,
        Step,
        Epoch,
        Preview,
        Checkpoint,
        Progress,
        Predicted,
        Augmented,
        Finished,
        Failed,
    )
}


def to_json(event: Event) -> str:
    """Return `event` as one line of JSON, without a line break. NaN becomes null."""
    return json.dumps({"event": event.kind, **_without_nan(asdict(event))}, allow_nan=False)


def from_json(line: str) -> Event:
    """Read one line of JSON.

    Raises
    ------
    SegNetError
        If the line is not an event of this version.
    """
    try:
        values = json.loads(line)
        event = KINDS[values.pop("event")]
        known = {f.name for f in fields(event)}
        if "origin" in values:
            values["origin"] = tuple(values["origin"])
        return event(**{key: value for key, value in values.items() if key in known})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SegNetError(f"Not an event: {line[:120]!r}.") from error


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
