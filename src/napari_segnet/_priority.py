"""The worker lets everything else go first, the viewer above all; but it doesn't starve in silence."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

_NICENESS = 10
_LOOK_SECONDS = 10.0
_STARVED = 0.8
"""Share of the time that the main thread spends waiting for a core, above which it doesn't get on any more."""
_TASKS = Path("/proc/self/task")


def lower_priority() -> None:
    """Run only where nobody else wants the core (Linux), or later than others (elsewhere).

    Takes effect for all threads that are started from now on. With ``NAPARI_SEGNET_PRIORITY=low`` it is later than
    others on Linux too: on a machine that other programs keep busy the worker then gets on, and the viewer stutters.
    """
    with contextlib.suppress(OSError, psutil.Error, AttributeError):
        if sys.platform == "win32":
            psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        else:
            os.nice(_NICENESS)
    if sys.platform == "linux" and os.environ.get("NAPARI_SEGNET_PRIORITY") != "low":
        _schedule([0], os.SCHED_IDLE)


def rise_when_starved(busy: Callable[[], bool], tell: Callable[[str], None], seconds: float = _LOOK_SECONDS) -> None:
    """Watch over a process of lowest priority from a thread, until other programs leave it no time for its job.

    Behind a program that keeps all cores busy, Linux gives an idle process about a three-hundredth of the time:
    hours for a minute's work. Then it becomes an ordinary process of low priority, which gets about a tenth. Not
    every system lets a user do that (it takes RLIMIT_NICE): there the sentence says what can be done. There is
    nothing to watch on systems other than Linux, and in a process of another priority.

    Parameters
    ----------
    busy : callable
        Whether there is a job to do.
    tell : callable
        Is given a sentence, once.
    seconds : float
        Between two looks; it rises after two looks in a row at which it starved.
    """
    if sys.platform == "linux" and _waited() is not None and os.sched_getscheduler(0) == os.SCHED_IDLE:
        threading.Thread(target=_watch, args=(busy, tell, seconds), name="priority", daemon=True).start()


def _watch(busy: Callable[[], bool], tell: Callable[[str], None], seconds: float) -> None:
    hungry = 0
    while hungry < 2:
        waited, began = _waited(), time.monotonic()
        time.sleep(seconds)
        now = _waited()
        starved = now is not None and waited is not None and now - waited > _STARVED * (time.monotonic() - began)
        hungry = hungry + 1 if starved and busy() else 0
    if _schedule([int(task.name) for task in _TASKS.iterdir()], os.SCHED_OTHER):
        tell("Other programs keep this computer busy: this takes longer, and the viewer may stutter.")
    else:
        tell(
            "Other programs keep this computer busy, and this hardly gets on. Close them, or set "
            "NAPARI_SEGNET_PRIORITY=low before you start napari."
        )


def _waited() -> float | None:
    """Return how long the main thread has waited for a core, seconds; None where the kernel doesn't count it."""
    try:
        return int((_TASKS / str(os.getpid()) / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


def _schedule(threads: list[int], policy: int) -> bool:
    """Change the scheduling of threads by their numbers; returns whether the system let it happen."""
    try:
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(thread, policy, os.sched_param(0))
    except OSError:
        return False
    return True
