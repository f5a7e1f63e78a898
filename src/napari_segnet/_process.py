"""Threads that wait politely."""

from __future__ import annotations

import os


def wait_politely() -> None:
    """Make OpenMP's threads sleep while they wait for each other; call it before torch is imported.

    By default they spin. On a machine where anything else wants a core (a viewer that draws, another run), a
    thread that has been put aside is then waited for by threads that keep the cores busy with waiting: steps
    took ten times as long on two cores with a second program running, and hardly longer on an idle machine.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
