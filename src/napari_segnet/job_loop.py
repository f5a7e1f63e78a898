"""A process that works for the viewer: JSON lines in, JSON lines out, one job after another.

The worker that learns and predicts and the one that measures are both such a loop; each has its own kinds of jobs.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TextIO

from napari_segnet import events
from napari_segnet._priority import rise_when_starved
from napari_segnet.errors import SegNetError

Job = Callable[[dict[str, Any]], Iterator[events.Event]]


class Stoppable(Protocol):
    """What tells the running job to stop."""

    stop: bool


class JobLoop:
    """Takes jobs one after another; ``stop`` reaches the job that is running.

    Parameters
    ----------
    commands, answers : text streams
        One JSON object a line: ``{"command": KIND, ...}``, ``{"command": "stop"}`` or ``{"command": "quit"}``, which
        the end of the stream means, too. Answers are events.
    control : Stoppable
        Its `stop` is set by ``stop``, and cleared by the next job.
    kinds : mapping of str to callable
        What does a job of each kind: it is given the command, and yields events.
    """

    def __init__(self, commands: TextIO, answers: TextIO, control: Stoppable, kinds: Mapping[str, Job]) -> None:
        self._commands, self._answers, self._control, self._kinds = commands, answers, control, kinds
        self._jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._busy = False
        self._saying = threading.Lock()

    def run(self, ready: events.Ready) -> None:
        """Say that it is ready, then work until the end of the commands."""
        threading.Thread(target=self._listen, daemon=True).start()
        rise_when_starved(lambda: self._busy, lambda text: self._say(events.Notice(text)))
        self._say(ready)
        while (job := self._jobs.get()) is not None:
            self._do(job)

    def _listen(self) -> None:
        for line in self._commands:
            try:
                command = json.loads(line)
                self._take(command)
            except (ValueError, KeyError, TypeError) as error:
                self._say(events.Failed(f"Not a command: {line.strip()[:200]!r} ({error}).", bug=True))
        self._control.stop = True
        self._jobs.put(None)

    def _take(self, command: dict[str, Any]) -> None:
        kind = command["command"]
        if kind == "stop":
            self._control.stop = True
        elif kind == "quit":
            self._control.stop = True
            self._jobs.put(None)
        elif kind in self._kinds:
            self._control.stop = False
            self._jobs.put(command)
        else:
            raise ValueError(f"unknown command {kind!r}")

    def _do(self, job: dict[str, Any]) -> None:
        """Do one job; whatever goes wrong is said, and the process lives on."""
        self._busy = True
        try:
            for event in self._kinds[job["command"]](job):
                self._say(event)
        except SegNetError as error:
            self._say(events.Failed(error.problem, error.remedy))
        except Exception as error:  # a bug in one job must not take the others with it; the viewer shows it
            self._say(events.Failed(f"{type(error).__name__}: {error}", bug=True, details=traceback.format_exc()))
        finally:
            self._busy = False

    def _say(self, event: events.Event) -> None:
        try:
            with self._saying:
                self._answers.write(events.to_json(event) + "\n")
                self._answers.flush()
        except (OSError, ValueError):
            # The viewer is gone. What runs is saved and ends; the run can be taken up again.
            self._control.stop = True
            self._jobs.put(None)


def take_standard_output() -> TextIO:
    """Return the stream for answers; what libraries print to standard output goes to standard error from now on."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers
