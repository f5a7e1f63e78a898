"""What `prepare` does to images and labels: frozen, and validated before anything is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from napari_segnet.config import Frozen
from napari_segnet.errors import ConfigError

Anchor = Literal["center", "top", "bottom", "left", "right", "top-left", "top-right", "bottom-left", "bottom-right"]
SIZES: dict[str, str] = {"canopy": "256x256", "understory": "160x256"}
"""Width x height of what the two models of imageseg take (https://github.com/EcoDynIZW/imageseg)."""
_SIZE = re.compile(r"(\d{1,6})(?:x(\d{1,6}))?")
_CROP = re.compile(r"(\d{1,6})x(\d{1,6})(?:\+(\d{1,9})\+(\d{1,9}))?|(\d{1,6}):(\d{1,6})")
_LARGEST = 2**32 - 1
_Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Crop:
    """What is cut out: so many pixels, in the middle or from a corner on; or as much as has an aspect."""

    width: int
    height: int
    corner: tuple[int, int] | None = None
    aspect: bool = False


class PrepareConfig(Frozen):
    """What `napari_segnet.datasets.prepare` does, in this order: crop, resize, tile, convert, split."""

    crop: str | None = Field(
        None,
        description="What to cut out first: WIDTHxHEIGHT pixels of the middle; WIDTHxHEIGHT+X+Y from a corner on; or "
        "WIDTH:HEIGHT, as much as has this aspect.",
    )
    type: Literal["canopy", "understory"] | None = Field(
        None, description="The size that a model of imageseg takes: 256x256, or 160x256 (width x height)."
    )
    size: str | None = Field(None, description="Resize to WIDTHxHEIGHT pixels; one number: a square.")
    scale: float | None = Field(
        None, gt=0, le=16, description="Resize by a factor: 0.5 has half as many pixels a side."
    )
    aspect: Literal["crop", "stretch"] = Field(
        "crop", description="Where size has another aspect: cut off what is too much, or deform the image."
    )
    anchor: Anchor = Field("center", description="Which part is kept where something is cut off.")
    tile: str | None = Field(None, description="Cut into tiles of WIDTHxHEIGHT pixels; one number: squares.")
    overlap: int = Field(0, ge=0, le=100_000, description="Pixels that neighbouring tiles share.")
    min_labelled: _Share = Field(0.0, description="Leave tiles out whose labels are 0 but for less than this share.")
    colour: Literal["keep", "grey", "rgb"] = Field("keep", description="Make all images grey, or all RGB.")
    bits: Literal[8] | None = Field(None, description="8: scale intensities to 0 to 255, if they aren't yet of 8 bit.")
    percentiles: tuple[float, float] = Field((0.5, 99.5), description="Of each image: what becomes 0 and 255.")
    threshold: float | None = Field(
        None, description="Labels are masks or probabilities: from this value on they become 1, below it 0."
    )
    relabel: dict[int, int] = Field(default_factory=dict, description="Label values to replace: old to new.")
    format: Literal["tif", "png"] = Field("tif", description="Of all files; png: planes of 8 or 16 bit only.")
    val_fraction: _Share = Field(0.0, description="Share of the images for validation.")
    test_fraction: _Share = Field(0.0, description="Share of the images for testing.")
    group: str | None = Field(
        None, description="Regular expression: images in whose names it finds the same stay in one part."
    )
    alike: Literal["together", "anywhere"] = Field(
        "together", description="Whether images that look the same, such as copies or the next frame, stay in one part."
    )
    seed: int = Field(0, ge=0, description="Decides which image comes into which part.")
    axes: str | None = Field(None, pattern=r"^[TZCYXS]+$", description="Axes of the image files, such as ZYX.")

    @property
    def splits(self) -> bool:
        """Whether images are divided into parts."""
        return self.val_fraction > 0 or self.test_fraction > 0

    @property
    def wanted_size(self) -> tuple[int, int] | None:
        """Width and height that images are resized to; None if they aren't, or by a factor."""
        said = SIZES[self.type] if self.type else self.size
        return parse_size(said) if said else None

    @property
    def tile_size(self) -> tuple[int, int] | None:
        """Width and height of tiles; None without tiles."""
        return parse_size(self.tile) if self.tile else None

    @property
    def wanted_crop(self) -> Crop | None:
        """What is cut out first; None: nothing."""
        return parse_crop(self.crop) if self.crop else None

    @field_validator("size", "tile")
    @classmethod
    def _is_a_size(cls, said: str | None) -> str | None:
        if said is not None and parse_size(said) is None:
            raise PydanticCustomError("size", "write WIDTHxHEIGHT, such as 160x256, or one number for a square")
        return said

    @field_validator("crop")
    @classmethod
    def _is_a_crop(cls, said: str | None) -> str | None:
        if said is not None and parse_crop(said) is None:
            raise PydanticCustomError("crop", "write WIDTHxHEIGHT, WIDTHxHEIGHT+X+Y, or an aspect such as 4:3")
        return said

    @field_validator("group")
    @classmethod
    def _is_an_expression(cls, said: str | None) -> str | None:
        try:
            re.compile(said or "")
        except re.error as error:
            raise PydanticCustomError("group", "no regular expression: {why}", {"why": str(error)}) from error
        return said

    @field_validator("relabel")
    @classmethod
    def _are_labels(cls, said: dict[int, int]) -> dict[int, int]:
        wrong = [n for pair in said.items() for n in pair if not 0 <= n <= _LARGEST]
        if wrong:
            raise PydanticCustomError("relabel", "labels are whole numbers from 0 on, not {wrong}", {"wrong": wrong[0]})
        return said


def check_options(config: PrepareConfig) -> None:
    """Raise `ConfigError` if options contradict each other, or one would do nothing."""
    sizes = [name for name in ("type", "size", "scale") if getattr(config, name) is not None]
    if len(sizes) > 1:
        raise ConfigError(f"{' and '.join(sizes)} both say how large images become.", "Give one of them.")
    low, high = config.percentiles
    if not 0 <= low < high <= 100:
        raise ConfigError(f"The percentiles are {low:g} and {high:g}.", "Give two from 0 to 100, the lower one first.")
    if config.val_fraction + config.test_fraction >= 1:
        shares = f"{config.val_fraction:g} for validation and {config.test_fraction:g} for testing"
        raise ConfigError(f"{shares} leave nothing to learn from.", "Together they have to be less than 1.")
    if config.tile_size and config.overlap >= min(config.tile_size):
        raise ConfigError(f"Tiles of {config.tile} can't overlap by {config.overlap} pixels.", "Give fewer pixels.")
    cuts = config.crop is not None or (config.wanted_size is not None and config.aspect == "crop")
    needs = {
        "overlap": ("tile", config.tile is not None),
        "min_labelled": ("tile", config.tile is not None),
        "group": ("val-fraction or test-fraction", config.splits),
        "alike": ("val-fraction or test-fraction", config.splits),
        "percentiles": ("bits 8", config.bits is not None),
        "anchor": ("crop, or size with the aspect crop", cuts),
        "aspect": ("size or type", config.wanted_size is not None),
    }
    for name, (what, there) in needs.items():
        if getattr(config, name) != PrepareConfig.model_fields[name].default and not there:
            raise ConfigError(f"{name.replace('_', '-')} does nothing without {what}.", "Give both, or leave it out.")


def parse_size(said: str) -> tuple[int, int] | None:
    """Return width and height of ``"160x256"`` or ``"256"``; None for anything else."""
    found = _SIZE.fullmatch(said.strip().lower())
    width, height = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    return (width, height) if min(width, height) > 0 else None


def parse_crop(said: str) -> Crop | None:
    """Return what ``"512x512"``, ``"512x512+100+50"`` or ``"4:3"`` cut out; None for anything else."""
    found = _CROP.fullmatch(said.strip().lower())
    numbers = [int(n) for n in found.groups() if n is not None] if found else [0, 0]
    if min(numbers[:2]) < 1:
        return None
    corner = (numbers[2], numbers[3]) if len(numbers) > 2 else None
    return Crop(numbers[0], numbers[1], corner, aspect=":" in said)
