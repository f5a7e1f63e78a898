"""Whether an exported network says what the model says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import times
from napari_segnet.errors import ModelFileError

TOLERANCE = 1e-3
"""Largest difference of a probability that is put down to another order of sums."""

Run = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Maps images (B, C, [Z], Y, X) to probabilities (B, K, [Z], Y, X)."""


@dataclass(frozen=True)
class Trial:
    """A batch as the exported network takes it, (B, C, [Z], Y, X), and what the model says of it, (B, K, [Z], Y, X)."""

    image: NDArray[np.float32]
    answer: NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """How far an exported network is from the model.

    Attributes
    ----------
    largest : float
        Largest difference of a probability.
    shapes : tuple of tuple of int
        The batches that were tried: B, C, [Z], Y, X.
    """

    largest: float
    shapes: tuple[tuple[int, ...], ...]

    @property
    def words(self) -> str:
        """The difference, and what was tried."""
        sides = ", ".join(dict.fromkeys(times(shape[2:]) for shape in self.shapes))
        return f"largest difference {self.largest:.1e}, tried on {sides} pixels"


def check_parity(run: Run, trials: Sequence[Trial], what: str, remedy: str) -> Parity:
    """Compare what an exported network says with what the model says.

    Parameters
    ----------
    run : callable
        The file, run by its own runtime.
    trials : sequence of Trial
        Of several sizes.
    what : str
        What is tried, for the error.
    remedy : str
        What to do if it fails.

    Raises
    ------
    ModelFileError
        If a size can't be run, or a probability differs by more than `TOLERANCE`.
    """
    largest = 0.0
    for trial in trials:
        sides = times(trial.image.shape[2:])
        try:
            found = run(trial.image)
        except Exception as error:  # a runtime may raise anything
            problem = f"{what} of this network can't be run on {sides} pixels, so it depends on the size of the image."
            raise ModelFileError(problem, remedy) from error
        if found.shape != trial.answer.shape:
            shapes = f"{times(found.shape)} values, not {times(trial.answer.shape)}"
            raise ModelFileError(f"{what} of this network gives {shapes}, for {sides} pixels.", remedy)
        difference = float(np.abs(found.astype(np.float64) - trial.answer).max())
        if not difference <= TOLERANCE:
            how = f"differs from the model by {difference:.2g} in a probability, on {sides} pixels"
            raise ModelFileError(f"{what} of this network {how}.", remedy)
        largest = max(largest, difference)
    return Parity(largest, tuple(trial.image.shape for trial in trials))
