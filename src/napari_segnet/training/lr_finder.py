"""The learning-rate range test: at which rates the loss falls, and from which on it explodes.

After Smith 2017, "Cyclical learning rates for training neural networks", https://arxiv.org/abs/1506.01186, section
3.3, with rates that grow by a factor instead of a summand, and with the loss instead of the accuracy.
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_segnet.devices import empty_cache, is_out_of_memory
from napari_segnet.errors import SegNetError
from napari_segnet.training.learner import Batch, Learner, NotANumberError
from napari_segnet.training.schedule import Pace

_BELOW, _ABOVE, _HIGHEST = 1e-4, 1e3, 10.0
"""The rates that are tried, in units of the configured one; and what no rate is above."""
_EXPLODED = 3.0
"""Times the lowest loss so far, smoothed, at which there is nothing more to see."""
_SMOOTHED = 5
"""Losses on each side that are averaged, the nearest most."""


@dataclass(frozen=True)
class RateCurve:
    """The loss at each rate that was tried, lowest rate first."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """The losses without most of their noise; the mean of neighbours with weights that fall to both sides."""
        window = np.bartlett(2 * _SMOOTHED + 3)[1:-1]
        whole: NDArray[np.float64] = np.convolve(self.losses, window, "same")
        return whole / np.convolve(np.ones_like(self.losses), window, "same")

    @property
    def lowest(self) -> float:
        """The rate with the lowest loss: higher ones do harm."""
        return float(self.rates[self.smoothed.argmin()])

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls quickest: the one to learn with.

        Raises
        ------
        SegNetError
            If the loss falls nowhere.
        """
        smoothed = self.smoothed
        end = int(smoothed.argmin()) + 1
        slopes = np.gradient(smoothed, np.log(self.rates))[:end]
        if slopes.min() >= 0:
            raise SegNetError(
                f"The loss falls at no learning rate from {self.rates[0]:.1e} to {self.rates[-1]:.1e}.",
                "Look at images and labels, or set train.learning_rate yourself.",
            )
        return float(self.rates[slopes.argmin()])


def range_test(learner: Learner, draw: Callable[[Learner], Batch], steps: int = 100) -> RateCurve:
    """Learn a few steps at rates from far too low to far too high, on a copy of the learner.

    Parameters
    ----------
    learner : Learner
        It stays as it is.
    draw : callable
        Gives the next batch of a learner, as `loop.draw_batch` does.
    steps : int
        Rates to try.

    Returns
    -------
    RateCurve
        It ends where the loss explodes.
    """
    tried = copy.deepcopy(learner)
    middle = learner.config.learning_rate
    rates = np.geomspace(middle * _BELOW, min(middle * _ABOVE, _HIGHEST), steps)
    losses: list[float] = []
    for rate in rates:
        try:
            losses.append(_step(tried, draw, float(rate)))
        except NotANumberError:
            break
        smoothed = RateCurve(rates[: len(losses)], np.array(losses)).smoothed
        if smoothed[-1] > _EXPLODED * smoothed.min():
            break
    if len(losses) < 2 * _SMOOTHED:
        raise SegNetError(
            f"The loss exploded at a learning rate of {rates[len(losses)]:.1e} already.",
            "Set train.precision to float32, or train.learning_rate to something far lower.",
        )
    return RateCurve(rates[: len(losses)], np.array(losses))


def _step(learner: Learner, draw: Callable[[Learner], Batch], rate: float) -> float:
    """Do a step; in parts where memory doesn't suffice for all patches at once."""
    while True:
        try:
            return learner.step(draw(learner), Pace(rate, frozen=learner.counters.frozen))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or learner.counters.batch_size == 1:
                raise
        empty_cache(learner.device)
        learner.counters.batch_size //= 2


def write_curve(curve: RateCurve, folder: Path) -> None:
    """Write ``rates.csv`` (columns rate, loss, smoothed) and ``rates.png`` into a folder.

    Raises
    ------
    SegNetError
        If they can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "rates.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("rate", "loss", "smoothed"))
            writer.writerows(zip(curve.rates.tolist(), curve.losses.tolist(), curve.smoothed.tolist(), strict=True))
        _draw(curve, folder / "rates.png")
    except OSError as error:
        raise SegNetError(f"{folder} can't be written: {error.strerror or error}.") from error


def _draw(curve: RateCurve, path: Path) -> None:
    from matplotlib.figure import Figure

    # A figure of its own, without pyplot: no window system is asked for.
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.plot(curve.rates, curve.losses, color="0.75", label="loss of each step")
    axes.plot(curve.rates, curve.smoothed, color="C0", label="smoothed")
    axes.axvline(curve.steepest, color="C1", linestyle="--", label=f"steepest descent: {curve.steepest:.1e}")
    axes.legend()
    figure.savefig(path, dpi=120)
