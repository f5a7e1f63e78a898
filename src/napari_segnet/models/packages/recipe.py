"""How the network of a package is fed, and what its answer means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_segnet.models.info import ModelInfo
from napari_segnet.models.packages.archive import Archive
from napari_segnet.models.packages.processing import Step

Runtime = Literal["onnx", "torchscript"]
RUNTIMES: tuple[Runtime, ...] = ("onnx", "torchscript")
"""What can run networks here, the best first: ONNX holds operators only, TorchScript is a program."""


@dataclass(frozen=True)
class Sides:
    """Lengths that an axis may have: `least`, and any number of `step` more; `least` alone where `step` is 0."""

    least: int
    step: int

    def fitting(self, length: int) -> int:
        """Return the shortest of them that holds so many pixels; the only one where there is no other."""
        if self.step == 0 or length <= self.least:
            return self.least
        return self.least + -(-(length - self.least) // self.step) * self.step


@dataclass(frozen=True)
class Recipe:
    """How a network is run.

    Attributes
    ----------
    runtime : {"onnx", "torchscript"}
    source : str
        File of the weights.
    sha256 : str or None
        Its digest.
    input_axes, output_axes : str
        In the network's order, among b, c, z, y and x.
    sides : tuple of Sides
        Of [Z], Y and X.
    single : bool
        Whether it takes one image at a time.
    dtype : str
        Type of numbers that it takes, by numpy's name.
    before, after : tuple of Step
        What is done to pixels before the network, and to its answer.
    margin : tuple of int
        Where it takes one size only: what is cut off each side of a window along [Z], Y and X, pixels.
    overlapping : bool
        Whether each channel is a probability by itself; else they are those of classes that exclude each other.
    """

    runtime: Runtime
    source: str
    sha256: str | None
    input_axes: str
    output_axes: str
    sides: tuple[Sides, ...]
    single: bool = False
    dtype: str = "float32"
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    margin: tuple[int, ...] = ()
    overlapping: bool = False


@dataclass(frozen=True)
class Foreign:
    """A model whose network another runtime runs."""

    archive: Archive
    info: ModelInfo
    recipe: Recipe


@dataclass(frozen=True)
class Attached:
    """A model file of napari-segnet in a package, by its name and its digest."""

    archive: Archive
    name: str
    sha256: str | None
