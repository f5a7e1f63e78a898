"""The viewer's second worker: it measures, compares and checks while the first one learns. JSON lines in and out.

Commands (one JSON object a line on standard input); each has ``"out": DIR``, a folder for its answers::

    {"command": "measure", "out": DIR, "labels": {"path": P, "axes": "YX"}, ...}     `viewer_jobs.measuring.MeasureJob`
    {"command": "suggest", "out": DIR, "image": {...}, "method": NAME, ...}          `viewer_jobs.suggesting.SuggestJob`
    {"command": "cut-out", "out": DIR, "image": {...}, "labels": {...}, ...}         `viewer_jobs.cutting.CutOutJob`
    {"command": "evaluate", "out": DIR, "pairs": [{...}, ...], ...}                  `viewer_jobs.comparing.CompareJob`
    {"command": "check", "out": DIR, "pairs": [{...}, ...], "into": DIR, ...}        `viewer_jobs.checking.CheckJob`
    {"command": "write-table", "out": DIR, "table": P, "path": P}                    `viewer_jobs.tables.TableJob`
    {"command": "stop"}                         end the job that is running, say finished
    {"command": "quit"}                         the end of standard input means the same

A job ends with `Finished`, its answers lie in its folder then, or with `Failed`. It starts in a second, because it
loads no torch, and lowers its own priority, so that the viewer stays responsive.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

from napari_segnet import events
from napari_segnet._priority import lower_priority
from napari_segnet._process import prepare_process
from napari_segnet.config import validated
from napari_segnet.job_loop import JobLoop, take_standard_output

JOBS: dict[str, tuple[str, str, str]] = {
    "measure": ("measuring", "MeasureJob", "measure"),
    "suggest": ("suggesting", "SuggestJob", "suggest"),
    "cut-out": ("cutting", "CutOutJob", "cut"),
    "check": ("checking", "CheckJob", "check"),
    "evaluate": ("comparing", "CompareJob", "compare"),
    "write-table": ("tables", "TableJob", "write"),
}
"""Kind of a job -> module of `napari_segnet.viewer_jobs`, what the command says, what does it."""


@dataclass
class _Control:
    stop: bool = False


class TableWorker(JobLoop):
    """Takes jobs one after another.

    Parameters
    ----------
    commands, answers : text streams
    """

    def __init__(self, commands: TextIO, answers: TextIO) -> None:
        self._control: _Control = _Control()
        super().__init__(commands, answers, self._control, {kind: partial(self._run, kind) for kind in JOBS})

    def _run(self, kind: str, command: dict[str, Any]) -> Iterator[events.Event]:
        # Imported at the first job of its kind: pandas and scikit-image take their time.
        room, model, function = JOBS[kind]
        module = importlib.import_module(f"napari_segnet.viewer_jobs.{room}")
        job = validated(getattr(module, model), {name: value for name, value in command.items() if name != "command"})
        yield from getattr(module, function)(job, lambda: self._control.stop)


def main() -> None:
    """Run the worker on standard input and output."""
    answers = take_standard_output()
    lower_priority()
    prepare_process()
    TableWorker(sys.stdin, answers).run(events.Ready("cpu", os.getpid()))


if __name__ == "__main__":
    main()
