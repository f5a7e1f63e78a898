"""Ctrl-C and a cluster's SIGTERM: the step that is going on is finished and saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def graceful(control: Any) -> Iterator[list[int]]:
    """Let Ctrl-C (and a cluster's SIGTERM) finish the step and save; a second one ends at once."""
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        control.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Stop:
    """What is asked now and then whether to stop."""

    stop = False
