"""What a person can say about how annotations become labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_segnet.config import Frozen, Task, Unlabelled


class ImportOptions(Frozen):
    """How annotations of another program become label images."""

    format: str = Field("auto", description="One of the formats, or auto: found from the file.")
    task: Task | None = Field(
        None, description="semantic: values are classes; instances: each region has its own number."
    )
    unlabelled: Unlabelled = Field("background", description="What pixels outside all regions are.")
    attribute: str | None = Field(
        None, description="What attribute of regions is the class (VIA, CVAT, GeoJSON, ImageJ); none: the likeliest."
    )
    classes: tuple[str, ...] = Field(
        (), max_length=65535, description="Classes in the order of their values, from 1 on; others are left out."
    )
    ignore: tuple[str, ...] = Field((), description="Names of regions that mean: don't count here (value 255).")
    colour_map: str | None = Field(
        None, description="File that says which colour of a mask is which class; none: all colours that there are."
    )
    border: Literal["ignore", "class"] = Field(
        "ignore", description="What the border of a trimap is: 255, which doesn't count, or a class."
    )
    fill_lines: bool = Field(False, description="Lines are outlines: filled, as those that end where they began.")
    line_width: float = Field(3.0, gt=0, le=10_000, description="How wide lines are drawn, pixels.")
    point_radius: float = Field(3.0, gt=0, le=10_000, description="How large points are drawn, pixels.")
    keep_empty: bool = Field(False, description="Images without any region become labels of background alone.")
    overwrite: bool = Field(False, description="Label files that are there already are replaced.")
    rescale: bool = Field(False, description="Annotations of another size than their image are stretched to fit.")


class ExportOptions(Frozen):
    """How label images become annotations of another program."""

    format: str = Field(description="One of the formats that labels can be written in.")
    task: Task | None = Field(
        None, description="Whether values are classes or numbers of objects; none: as classes.json says, or guessed."
    )
    tolerance: float = Field(
        0.0, ge=0, le=1000, description="How far outlines may be from the edges of pixels, pixels; 0: nowhere."
    )
    outlines: Literal["polygons", "rle"] = Field(
        "polygons", description="COCO: polygons, and run lengths for objects with holes; or run lengths for all."
    )
    overwrite: bool = Field(False, description="Files that are there already are replaced.")
