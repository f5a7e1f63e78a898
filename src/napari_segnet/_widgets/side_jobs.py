"""Jobs of the docks that measure and compare: arrays are handed over, the second worker does them one by one."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject

from napari_segnet import events
from napari_segnet._widgets.client import WorkerClient
from napari_segnet._widgets.scratch import Scratch
from napari_segnet._widgets.steps import Steps
from napari_segnet.errors import SegNetError

TABLE_WORKER: tuple[str, ...] = (sys.executable, "-m", "napari_segnet.table_worker")
_SESSIONS: weakref.WeakKeyDictionary[Any, SideJobs] = weakref.WeakKeyDictionary()


@dataclass(eq=False)
class SideJob:
    """A job: what the worker is told, and who hears of its end.

    Attributes
    ----------
    command : str
        Its kind.
    prepare : callable
        Given the folder of the job and what is to be filled in for the worker; each step takes some milliseconds.
    done : callable
        Given the folder, which goes afterwards.
    failed : callable
        Given the error. Nobody is told of a job that was stopped.
    progress : callable
        Given a share between 0 and 1.
    """

    command: str
    prepare: Callable[[Path, dict[str, Any]], Iterator[Any]]
    done: Callable[[Path], None]
    failed: Callable[[SegNetError], None]
    progress: Callable[[float], None] = lambda _share: None
    folder: Path = Path()
    values: dict[str, Any] = field(default_factory=dict)


class SideJobs(QObject):
    """The second worker of one viewer, and its jobs.

    Parameters
    ----------
    command : sequence of str
        How the worker is started; the tests may put another program here.
    """

    def __init__(self, command: Sequence[str] = TABLE_WORKER) -> None:
        super().__init__()
        self.client = WorkerClient(command, self)
        self.client.received.connect(self._on_event)
        self.client.died.connect(self._on_died)
        self._steps = Steps(self)
        self._scratch = Scratch()
        self._waiting: list[SideJob] = []
        self._current: SideJob | None = None
        self._docks: set[object] = set()

    def attach(self) -> Callable[[], None]:
        """Count one more dock; returns what it calls when it is gone. The last one to go ends the worker."""
        token = object()
        self._docks.add(token)

        def detach(_gone: Any = None) -> None:
            self._docks.discard(token)
            # When the interpreter ends, Qt's part may be gone before the dock; so is the worker.
            with contextlib.suppress(RuntimeError):
                if not self._docks:
                    self.close()

        return detach

    def close(self) -> None:
        """End the worker, and forget all jobs."""
        self._steps.cancel()
        self._waiting, self._current = [], None
        self._scratch.give_up()
        self.client.close()

    def run(self, job: SideJob) -> None:
        """Put a job into the queue."""
        self._waiting.append(job)
        self._next()

    def stop(self, job: SideJob) -> None:
        """Drop a job that waits, or end it with the worker; the next job starts another one."""
        if job in self._waiting:
            self._waiting.remove(job)
        elif job is self._current:
            self._steps.cancel("prepare")
            # It loads no libraries that take long: starting anew is quicker than any question whether to stop.
            self.client.close(patience=0)
            self._end()

    def _next(self) -> None:
        if self._current is not None or not self._waiting:
            return
        job = self._current = self._waiting.pop(0)
        job.folder = self._scratch.new_folder()
        # While it loads its libraries, the arrays are written.
        self.client.start()
        self._steps.run("prepare", self._prepare(job), lambda: self._send(job), self._on_unprepared)

    @staticmethod
    def _prepare(job: SideJob) -> Iterator[Any]:
        try:
            job.folder.mkdir(parents=True)
            yield from job.prepare(job.folder, job.values)
        except OSError as error:
            raise SegNetError(
                f"{job.folder} can't be written: {error.strerror or error}.", "Make room on that disk."
            ) from error

    def _send(self, job: SideJob) -> None:
        self.client.start()
        self.client.send(job.command, out=str(job.folder), **job.values)

    def _on_unprepared(self, error: SegNetError) -> None:
        job = self._end()
        if job is not None:
            job.failed(error)
        self._next()

    def _on_event(self, event: events.Event) -> None:
        job = self._current
        if job is None or self._steps.pending("prepare"):
            return
        if isinstance(event, events.Progress):
            job.progress(event.done / max(event.total, 1))
        elif isinstance(event, events.Failed):
            self._end()
            where = f"Details are in {self.client.log}."
            bug = SegNetError(f"The worker failed: {event.problem}", where)
            job.failed(bug if event.bug else SegNetError(event.problem, event.remedy))
            self._next()
        elif isinstance(event, events.Finished):
            self._current = None
            try:
                job.done(job.folder)
            except SegNetError as error:
                job.failed(error)
            finally:
                self._remove(job)
                self._next()

    def _on_died(self, how: str) -> None:
        job = self._current
        if job is None:
            return
        self._steps.cancel("prepare")
        self._end()
        job.failed(SegNetError(how, f"Try again. Details are in {self.client.log}."))
        self._next()

    def _end(self) -> SideJob | None:
        job, self._current = self._current, None
        if job is not None:
            self._remove(job)
        return job

    def _remove(self, job: SideJob) -> None:
        self._steps.run(f"remove {job.folder.name}", self._scratch.remove_steps(job.folder))


def side_jobs_of(viewer: Any, command: Sequence[str] = TABLE_WORKER) -> SideJobs:
    """Return the jobs of a viewer, made at the first call; they go when the viewer goes."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _SESSIONS:
        _SESSIONS[viewer] = SideJobs(command)
    return _SESSIONS[viewer]
