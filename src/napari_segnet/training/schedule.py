"""The learning rate over a run."""

from __future__ import annotations

import math

from napari_segnet.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    config : TrainConfig
    step : int
        Steps done so far.
    progress : float
        Share of the run that is over, 0 .. 1: of the steps, or of the time where time is what is limited.

    Returns
    -------
    float
    """
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.schedule == "constant":
        factor = 1.0
    elif config.schedule == "cosine":
        factor = _cosine(progress)
    else:
        # Full speed for the first 40 %: the averaged weights already give a good answer whenever it is stopped.
        factor = _cosine((progress - 0.4) / 0.6)
    return config.learning_rate * warmup * factor


def _cosine(progress: float) -> float:
    clipped = min(max(progress, 0.0), 1.0)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * clipped))
