"""What a person can say about how annotations become labels."""

from __future__ import annotations

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
        None, description="The attribute of regions that names the class (VIA, GeoJSON); none: the likeliest."
    )
    classes: tuple[str, ...] = Field(
        (), max_length=65535, description="Classes in the order of their values, from 1 on; others are left out."
    )
    ignore: tuple[str, ...] = Field((), description="Names of regions that mean: don't count here (value 255).")
    fill_lines: bool = Field(False, description="Lines are outlines: filled, as those that end where they began.")
    line_width: float = Field(3.0, gt=0, le=10_000, description="How wide lines are drawn, pixels.")
    point_radius: float = Field(3.0, gt=0, le=10_000, description="How large points are drawn, pixels.")
    keep_empty: bool = Field(False, description="Images without any region become labels of background alone.")
    overwrite: bool = Field(False, description="Label files that are there already are replaced.")
    rescale: bool = Field(False, description="Annotations of another size than their image are stretched to fit.")
