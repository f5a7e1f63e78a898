"""Long work of the viewer's own process in small steps between other events: no thread, nothing blocked."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_segnet.errors import SegNetError

_SECONDS_A_TURN = 0.008


class Steps(QObject):
    """Runs one generator after another; each turn of the event loop gives it some milliseconds.

    Parameters
    ----------
    parent : QObject, optional
        The owner.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs: list[tuple[str, Iterator[Any], Callable[[], None], Callable[[SegNetError], None]]] = []
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._turn)

    def run(
        self,
        name: str,
        steps: Iterator[Any],
        done: Callable[[], None] = lambda: None,
        failed: Callable[[SegNetError], None] = lambda _error: None,
    ) -> None:
        """Put a job into the queue; a waiting or running job of the same name is dropped.

        Parameters
        ----------
        name : str
        steps : iterator
            Its values don't matter; each `next` should take some milliseconds at most.
        done : callable
            Called after the last step.
        failed : callable
            Called with the `SegNetError` that a step raised. Another exception is a bug, and is raised.
        """
        self.cancel(name)
        self._jobs.append((name, steps, done, failed))
        self._timer.start()

    def cancel(self, name: str | None = None) -> None:
        """Drop the jobs of that name, or all; what they had opened is closed."""
        for job in list(self._jobs):
            if name is None or job[0] == name:
                self._drop(job)

    def pending(self, name: str) -> bool:
        """Whether a job of that name waits or runs."""
        return any(job[0] == name for job in self._jobs)

    def _drop(self, job: tuple[str, Iterator[Any], Any, Any]) -> None:
        self._jobs.remove(job)
        if isinstance(job[1], Generator):
            # A generator that is just running can't be closed; it ends when its own step returns.
            with contextlib.suppress(ValueError):
                job[1].close()

    def _turn(self) -> None:
        if not self._jobs:
            self._timer.stop()
            return
        job = self._jobs[0]
        _, steps, done, failed = job
        until = time.perf_counter() + _SECONDS_A_TURN
        try:
            while time.perf_counter() < until:
                next(steps)
                if job not in self._jobs:
                    return
        except StopIteration:
            if job in self._jobs:
                self._jobs.remove(job)
                done()
        except SegNetError as error:
            if job in self._jobs:
                self._jobs.remove(job)
            failed(error)
        except BaseException as error:
            if job in self._jobs:
                self._jobs.remove(job)
            # Whoever waits for the job must not wait for ever; what it is goes on to napari's notifications.
            failed(SegNetError(f"Something went wrong: {type(error).__name__}: {error}."))
            raise
