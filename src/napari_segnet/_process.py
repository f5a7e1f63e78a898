"""What a process that computes sets up before torch is imported."""

from __future__ import annotations

import os


def prepare_process() -> None:
    """Make OpenMP's threads sleep while they wait for each other, and let Apple's GPU hand over what it can't do.

    By default OpenMP's threads spin. On a machine where anything else wants a core (a viewer that draws, another
    run), a thread that has been put aside is then waited for by threads that keep the cores busy with waiting:
    steps took ten times as long on two cores with a second program running, and hardly longer on an idle machine.
    What the user has set in the environment stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
