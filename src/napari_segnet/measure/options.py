"""What is measured, and how: frozen options that the shell, Python and the viewer share."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from napari_segnet.config import Frozen, PixelSize, Task, Unlabelled

Gravity = Literal["centre", "north", "south", "west", "east", "north-west", "north-east", "south-west", "south-east"]
Degrees = Annotated[float, Field(ge=0, le=180)]
TableName = Literal["objects", "counts", "cover", "regions"]


class ObjectOptions(Frozen):
    """Which objects are measured."""

    minimum_pixels: int = Field(0, ge=0, description="Smaller objects are left out, pixels.")
    minimum_size: float = Field(0, ge=0, description="The same in units squared; cubed for volumes.")
    exclude_border: bool = Field(False, description="Leave out objects that touch the edge of the image.")
    fill_holes: bool = Field(False, description="Count unpainted pixels that an object encloses as its own.")
    connectivity: Literal["corners", "faces"] = Field(
        "corners", description="What makes pixels of a class one object: a shared corner, or a whole side."
    )


class CircleOptions(Frozen):
    """The circle of a hemispherical photograph, and the angles it stands for.

    The defaults are those of most photographs: a centred circle as large as the image allows, zenith in its centre,
    horizon at its edge.
    """

    centre: tuple[float, float] | None = Field(None, description="Row and column, pixels; none: the image's centre.")
    radius: float | None = Field(None, gt=0, description="Pixels; none: the largest circle that fits the image.")
    projection: Literal["equidistant", "equisolid", "stereographic"] = Field(
        "equidistant", description="How the lens maps the angle from the zenith to the distance from the centre."
    )
    field_of_view: float = Field(180, gt=0, lt=360, description="Angle across the whole circle, degrees.")
    zenith: tuple[Degrees, Degrees] | None = Field(
        None, description="Count only pixels between two angles from the zenith, degrees."
    )
    rings: int = Field(1, ge=1, le=90, description="Rings of equal width in angle, each with rows of its own.")
    weights: Literal["pixels", "solid-angle"] = Field(
        "pixels", description="What a fraction is of: pixels, or the part of the sky that they show."
    )

    @model_validator(mode="after")
    def _angles_go_outwards(self) -> Self:
        if self.zenith is None:
            return self
        start, stop = self.zenith
        if not start < stop <= self.field_of_view / 2:
            raise ValueError(
                f"zenith = {list(self.zenith)} has to go outwards, and not beyond {self.field_of_view / 2:g} degrees"
            )
        return self


class MeasureOptions(Frozen):
    """How label files are read and measured."""

    tables: tuple[TableName, ...] = Field(("objects", "counts", "cover"), description="What is written.")
    task: Task | None = Field(None, description="Classes, or numbered objects; none: guessed.")
    unlabelled: Unlabelled | None = Field(
        None,
        description="What 0 means: background, or pixels that don't count; none: as classes.json or the model says.",
    )
    ignore_values: tuple[int, ...] = Field((), description="Label values that don't count.")
    pixel_size: PixelSize | None = Field(None, description="Size of a pixel; none: as the files say.")
    units: str | None = Field(None, min_length=1, max_length=40, description="Unit of pixel_size, such as micrometer.")
    planes: bool = Field(False, description="Measure each plane of a stack by itself, not the volume.")
    axes: str | None = Field(None, pattern=r"^[TZCYXS]+$", description="Axes of the label files, such as ZYX.")
    objects: ObjectOptions = ObjectOptions()
    circle: CircleOptions | None = Field(None, description="Cover within a circle; none: of the whole image.")


class CutOutOptions(Frozen):
    """How objects are cut out of pictures."""

    background: str = Field(
        "transparent", description="transparent, a colour such as white or #ffcc00, or the file of a picture."
    )
    gravity: Gravity = Field("centre", description="The part of a background picture that is kept.")
    feather: float = Field(2.0, ge=0, le=500, description="Width of the soft edge, pixels.")
    edge: Literal["distance", "gaussian", "probability"] = Field(
        "distance",
        description="Where softness comes from: the distance to the edge, a blur, or the model's probability near it.",
    )
    shrink: float = Field(
        0.0, ge=-500, le=500, description="Move the edge inwards by so many pixels: against fringes. Below 0: outwards."
    )
    values: tuple[int, ...] = Field((), description="Label values that are cut out; none: all but 0.")
    fill_holes: bool = Field(False, description="Keep what objects enclose, too.")
    minimum_pixels: int = Field(0, ge=0, description="Leave smaller pieces out, pixels.")
    margin: int = Field(0, ge=0, le=10_000, description="Room around a crop of an object, pixels.")
    contrast: Literal["auto", "keep"] | tuple[float, float] = Field(
        "auto",
        description="auto: 8 bits stay, others are stretched from the 0.1 to the 99.9 percentile to 8 bits; keep: 8 or "
        "16 bits as they are; or the darkest and the brightest value.",
    )
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), max_length=3, description="One channel for greys, or those for red, green and blue, from 1 on."
    )

    @model_validator(mode="after")
    def _one_or_three_channels(self) -> Self:
        if len(self.channels) == 2:
            raise ValueError("channels: give one, or three")
        return self

    @model_validator(mode="after")
    def _range_is_no_point(self) -> Self:
        if not isinstance(self.contrast, str) and self.contrast[0] >= self.contrast[1]:
            raise ValueError(f"contrast = {list(self.contrast)} has to go from the darker to the brighter value")
        return self
